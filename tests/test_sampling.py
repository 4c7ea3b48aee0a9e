"""Every filter on four units by hand; then what must hold for all of them on any distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fabula.config import SamplingConfig
from fabula.sampling import (
    DRY_BASE,
    DRY_FREE,
    FAR,
    Filter,
    choose,
    dry,
    filters,
    min_p,
    no_repeat,
    repetition_penalty,
    temperature,
    top_k,
    top_p,
)

FOUR = np.log(np.array([0.1, 0.5, 0.15, 0.25], np.float32))


def left(keep: Filter, history: list[int] | None = None, scores: NDArray[np.float32] = FOUR) -> list[int]:
    """The units that a filter leaves in."""
    return np.flatnonzero(np.isfinite(keep(scores, history or []))).tolist()


def chances(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    found = np.exp(scores.astype(np.float64))
    return found / found.sum()


def test_temperature_by_hand() -> None:
    squares = np.array([0.01, 0.25, 0.0225, 0.0625])
    np.testing.assert_allclose(chances(temperature(0.5)(FOUR, [])), squares / squares.sum(), rtol=1e-6)
    roots = np.sqrt([0.1, 0.5, 0.15, 0.25])
    np.testing.assert_allclose(chances(temperature(2.0)(FOUR, [])), roots / roots.sum(), rtol=1e-6)


def test_temperature_zero_leaves_only_the_first_of_the_likeliest() -> None:
    assert left(temperature(0)) == [1]
    assert left(temperature(0), scores=np.log(np.array([0.2, 0.4, 0.4, 0.0001], np.float32))) == [1]


def test_tiny_temperatures_do_not_overflow() -> None:
    for value in (1e-5, 1e-6, 1e-7, 1e-300):
        found = temperature(value)(FOUR, [])
        assert found[1] == 0
        assert (found[[0, 2, 3]] < -1e4).all()


@pytest.mark.parametrize(
    ("count", "units"), [(1, [1]), (2, [1, 3]), (3, [1, 2, 3]), (4, [0, 1, 2, 3]), (99, [0, 1, 2, 3])]
)
def test_top_k_by_hand(count: int, units: list[int]) -> None:
    assert left(top_k(count)) == units


def test_top_k_keeps_ties_so_that_their_order_says_nothing() -> None:
    assert left(top_k(2), scores=np.log(np.array([0.2, 0.2, 0.2, 0.4], np.float32))) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("share", "units"),
    [
        (0.0, [1]),
        (0.4, [1]),
        (0.6, [1, 3]),
        (0.74, [1, 3]),
        (0.8, [1, 2, 3]),
        (0.95, [0, 1, 2, 3]),
        (1.0, [0, 1, 2, 3]),
    ],
)
def test_top_p_by_hand(share: float, units: list[int]) -> None:
    assert left(top_p(share)) == units


def test_top_p_takes_scores_up_to_a_constant_and_what_is_out_already() -> None:
    scores = (FOUR + np.float32(30)).copy()
    scores[1] = -np.inf  # of 0.1, 0.15 and 0.25 the last is half
    assert left(top_p(0.49), scores=scores) == [3]
    assert left(top_p(0.51), scores=scores) == [2, 3]


@pytest.mark.parametrize(
    ("share", "units"), [(0.15, [0, 1, 2, 3]), (0.25, [1, 2, 3]), (0.4, [1, 3]), (0.6, [1]), (1.0, [1])]
)
def test_min_p_by_hand(share: float, units: list[int]) -> None:
    assert left(min_p(share)) == units


def test_repetition_penalty_by_hand() -> None:
    found = np.exp(repetition_penalty(2.0)(FOUR, [1, 3, 1]))
    np.testing.assert_allclose(found, [0.1, 0.25, 0.15, 0.0625], rtol=1e-6)
    np.testing.assert_allclose(np.exp(repetition_penalty(0.5)(FOUR, [3])), [0.1, 0.5, 0.15, 0.5], rtol=1e-6)


def test_repetition_penalty_looks_back_only_so_far() -> None:
    keep = repetition_penalty(2.0, look_back=2)
    assert (keep(FOUR, [1, 0, 0, 0]) == repetition_penalty(2.0)(FOUR, [0])).all()
    assert (keep(FOUR, []) == FOUR).all()


def test_no_repeat_by_hand() -> None:
    assert left(no_repeat(3), [0, 1, 2, 3, 0, 1]) == [0, 1, 3]  # 0 1 2 came already
    assert left(no_repeat(2), [1, 3, 1, 0, 1]) == [1, 2]
    assert left(no_repeat(1), [1, 3]) == [0, 2]
    assert left(no_repeat(3), [0, 1]) == [0, 1, 2, 3]
    assert left(no_repeat(1), [0, 1, 2, 3]) == [0, 1, 2, 3]  # nothing would be left
    assert left(no_repeat(2), [0, 3, *[1, 2] * (FAR // 2), 0]) == [0, 1, 2, 3]  # too long ago


def test_dry_by_hand() -> None:
    cost = FOUR - dry(0.8)(FOUR, [0, 1, 2, 3, 0, 1, 2])  # 0 1 2 came, and then 3
    np.testing.assert_allclose(cost, [0, 0, 0, 0.8 * DRY_BASE ** (3 - DRY_FREE)], rtol=1e-5)
    cost = FOUR - dry(2.0)(FOUR, [3, 1, 2, 0, 1, 2, 3, 1, 2])  # after 1 2 came 0 and 3, after 3 1 2 came 0
    np.testing.assert_allclose(cost, [2.0 * DRY_BASE, 0, 0, 2.0], rtol=1e-5)
    for history in ([], [1], [0, 1, 2, 3], [1, 2, 0, 2]):
        assert (dry(5.0)(FOUR, history) == FOUR).all()


def test_what_is_not_allowed_is_never_drawn_and_the_rest_as_often_as_before() -> None:
    rng = np.random.default_rng(5)
    drawn = np.bincount([choose(FOUR, [], [], rng, lambda unit: unit != 1) for _ in range(20_000)], minlength=4)
    np.testing.assert_allclose(drawn / 20_000, [0.2, 0, 0.3, 0.5], atol=0.01)


def test_where_nothing_that_is_left_is_allowed_the_likeliest_that_is_comes() -> None:
    rng = np.random.default_rng(5)
    assert choose(FOUR, [], [top_k(1)], rng, lambda unit: unit != 1) == 3
    assert choose(FOUR, [], [top_k(1)], rng, lambda unit: unit == 0) == 0
    assert choose(FOUR, [], [], rng, lambda unit: False) == 1  # nothing at all: no dead end either


def test_options_become_filters_in_their_order() -> None:
    assert filters(SamplingConfig(temperature=1.0)) == []
    every = SamplingConfig(temperature=0.5, top_k=3, top_p=0.9, min_p=0.2, repetition_penalty=2.0)
    scores = FOUR
    for keep in filters(every):
        scores = keep(scores, [1])
    # Squared, 1 weighs as much as 3: .1, .25, .15, .25. At 0.5 they are .01, .0625, .0225, .0625; three are kept, all
    # three are needed for 0.9 of .1475, and all reach 0.2 of .0625.
    np.testing.assert_allclose(chances(scores), np.array([0, 0.0625, 0.0225, 0.0625]) / 0.1475, rtol=1e-5)


def test_each_option_alone_makes_its_own_filter() -> None:
    for options, units in (({"top_k": 1}, [1]), ({"top_p": 0.6}, [1, 3]), ({"min_p": 0.4}, [1, 3])):
        (keep,) = filters(SamplingConfig(temperature=1.0, **options))
        assert left(keep) == units
    (keep,) = filters(SamplingConfig(temperature=1.0, repetition_penalty=2.0))
    assert (keep(FOUR, [1]) == repetition_penalty(2.0)(FOUR, [1])).all()
    (keep,) = filters(SamplingConfig(temperature=0))
    assert left(keep) == [1]


def test_units_are_drawn_as_often_as_they_are_likely() -> None:
    rng = np.random.default_rng(5)
    drawn = np.bincount([choose(FOUR, [], [], rng) for _ in range(20_000)], minlength=4) / 20_000
    np.testing.assert_allclose(drawn, np.exp(FOUR), atol=0.01)


def test_the_same_seed_draws_the_same_units() -> None:
    keep = filters(SamplingConfig())
    first, second, other = (
        [choose(FOUR, [], keep, rng) for _ in range(50)] for rng in (np.random.default_rng(seed) for seed in (1, 1, 2))
    )
    assert first == second
    assert first != other


class Fixed:
    """A source of chance that always says the same."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


@pytest.mark.parametrize("draw", [0.0, 0.5, 1 - 2**-53])
def test_what_is_out_is_never_drawn_even_at_the_edges(draw: float) -> None:
    scores = np.array([-np.inf, -1.0, -np.inf, -2.0, -np.inf], np.float32)
    assert choose(scores, [], [], Fixed(draw)) in (1, 3)
    for size in (3, 1000, 9999):
        many = np.full(size, -np.log(size), np.float32)
        many[0] = many[-1] = -np.inf
        assert 0 < choose(many, [], [], Fixed(draw)) < size - 1


def test_a_filter_that_leaves_nothing_is_no_dead_end() -> None:
    assert choose(FOUR, [], [lambda scores, history: np.full_like(scores, -np.inf)], np.random.default_rng(1)) == 1


SCORES = st.lists(st.floats(-200, 0, width=32), min_size=1, max_size=60).map(lambda rows: np.array(rows, np.float32))
OPTIONS = st.fixed_dictionaries(
    {
        "temperature": st.floats(0, 100),
        "top_k": st.integers(0, 70),
        "top_p": st.floats(0, 1),
        "min_p": st.floats(0, 1),
        "repetition_penalty": st.floats(0.01, 100),
        "no_repeat": st.integers(0, 5),
        "dry": st.floats(0, 100),
    }
)


@given(scores=SCORES, options=OPTIONS, history=st.lists(st.integers(0, 59), max_size=80), seed=st.integers(0, 99))
@settings(max_examples=300, deadline=None)
def test_any_options_leave_something_and_change_nothing_given(
    scores: NDArray[np.float32], options: dict[str, float], history: list[int], seed: int
) -> None:
    history = [unit % len(scores) for unit in history]
    before, told = scores.copy(), list(history)
    now = scores
    for keep in filters(SamplingConfig(**options)):
        new = keep(now, history)
        assert new.dtype == np.float32
        assert new.shape == now.shape
        assert np.isfinite(new).any()
        assert not np.isnan(new).any()
        now = new
    assert (scores == before).all()
    assert history == told
    unit = choose(scores, history, filters(SamplingConfig(**options)), np.random.default_rng(seed))
    assert np.isfinite(now[unit])


@given(scores=SCORES, share=st.floats(0.001, 0.999))
@settings(max_examples=200, deadline=None)
def test_top_p_is_the_smallest_set_that_reaches_its_share(scores: NDArray[np.float32], share: float) -> None:
    units, weights = left(top_p(share), scores=scores), chances(scores)
    kept = weights[units]
    assert kept.sum() >= share - 1e-5
    assert weights.max() in kept
    assert kept[kept > kept.min() * (1 + 1e-5)].sum() < share + 1e-5  # float32 takes nearer ones for ties
