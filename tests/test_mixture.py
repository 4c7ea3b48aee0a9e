"""The weight of a mixture against a grid, its cost by hand, and that no half of a text is judged by its own weight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fabula import ngram
from fabula.mixture import Mixture, cross_fitted, fit_weight, mix

V, END = 7, 6


def costs(seed: int, count: int = 40, spread: float = 2.0) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return rng.gamma(2.0, spread, count).astype(np.float32), rng.gamma(2.0, 2.0, count)


def stories() -> list[NDArray[np.int32]]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, END, length).astype(np.int32) for length in (30, 0, 8)]


def by_hand(network: NDArray[np.floating], other: NDArray[np.floating], weight: float) -> NDArray[np.float64]:
    return -np.log(weight * np.exp(-network.astype(np.float64)) + (1 - weight) * np.exp(-other))


def test_the_cost_by_hand() -> None:
    network, other = costs(1)
    for weight in (0.0, 0.3, 0.999):
        assert mix(network, other, weight) == pytest.approx(by_hand(network, other, weight))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.2, 6.0))
def test_no_weight_on_a_grid_is_better(seed: int, spread: float) -> None:
    network, other = costs(seed, spread=spread)
    best = mix(network, other, fit_weight(network, other)).sum()
    assert best <= min(by_hand(network, other, weight).sum() for weight in np.linspace(0, 1, 201)) + 1e-3


def test_a_model_that_is_always_better_gets_all_the_weight_and_never_quite() -> None:
    good, bad = np.full(9, 0.1, np.float32), np.full(9, 900.0, np.float32)
    assert 0.999 < fit_weight(good, bad.astype(np.float64) / 300) < 1
    assert 0 < fit_weight(bad, good.astype(np.float64)) < 0.001
    assert np.isfinite(mix(bad, good, 0.5)).all()


def test_each_half_is_judged_with_the_weight_of_the_other() -> None:
    network, other = costs(5, 41)
    first, second = slice(0, 20), slice(20, 41)
    expected = by_hand(network[first], other[first], fit_weight(network[second], other[second])).sum()
    expected += by_hand(network[second], other[second], fit_weight(network[first], other[first])).sum()
    assert cross_fitted(network, other) == pytest.approx(expected)
    assert expected > mix(network, other, fit_weight(network, other)).sum()  # honest figures are dearer


def test_costs_come_in_the_order_of_the_stories() -> None:
    told = stories()
    model = ngram.fit(told, END, V, 3)
    expected = np.concatenate([-model.log_probabilities(story) for story in told])
    assert model.costs(told) == pytest.approx(expected)


def test_what_is_written_with_is_what_is_measured() -> None:
    """Probabilities of all units sum to one, and that of the unit that came is the one that was judged."""
    told = stories()
    mixed = Mixture(ngram.fit(told, END, V, 3), 0.4)
    scores = np.random.default_rng(3).normal(0, 1, (len(told[0]) + 1, V))
    scores = (scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))).astype(np.float32)
    units = [*told[0].tolist(), END]
    judged = mixed.costs(-scores[np.arange(len(units)), units], told[:1])
    for place, unit in enumerate(units):
        found = mixed.log_probabilities(scores[place], [END, END, *units[:place]][-mixed.span :])
        assert np.exp(found).sum() == pytest.approx(1, rel=1e-5)
        assert -found[unit] == pytest.approx(judged[place], rel=1e-4)
