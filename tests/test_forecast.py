"""The forecast scales with the n-gram model's figure, and its interval holds its middle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.forecast import PATIENCE, SPREAD, forecast, worth


@given(baseline=st.floats(0.1, 8), epochs=st.floats(0.01, 100), units=st.integers(1000, 10**8))
def test_it_is_a_share_of_the_baseline_with_an_interval_around(baseline: float, epochs: float, units: int) -> None:
    told, twice = forecast(baseline, epochs, units), forecast(2 * baseline, epochs, units)
    assert 0 < told.low < told.bits_per_byte < told.high
    assert twice.bits_per_byte == pytest.approx(2 * told.bits_per_byte)
    assert told.high / told.low == pytest.approx(1 + 2 * SPREAD, rel=0.1)


@given(epochs=st.floats(0.01, 1000), more=st.floats(0.01, 1000), units=st.integers(1000, 10**8))
def test_reading_again_teaches_but_less_and_less(epochs: float, more: float, units: int) -> None:
    assert worth(epochs, units) <= worth(epochs + more, units) <= (1 + PATIENCE) * units * (1 + 1e-9)
    assert worth(epochs, units) <= epochs * units * (1 + 1e-9)
