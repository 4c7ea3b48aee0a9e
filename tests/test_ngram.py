"""The n-gram baseline against a plain textbook one, on random stories, at the edges, and on real text."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fabula import tokens
from fabula.errors import UsageError
from fabula.ngram import fit
from fabula.streams import join

V, END = 6, 5
Gram = tuple[int, ...]
STORY = st.lists(st.integers(0, END - 1), max_size=30)
ORDER = st.integers(1, 5)


def ids(*units: int) -> NDArray[np.int32]:
    return np.array(units, np.int32)


class Textbook:
    """Chen & Goodman written down as they say it, with dictionaries of tuples."""

    def __init__(self, told: list[list[int]], order: int) -> None:
        raw: list[Counter[Gram]] = [Counter() for _ in range(order + 2)]
        for story in told:
            marked = (END, *story, END)
            for last in range(1, len(marked)):
                for length in range(1, min(order, last + 1) + 1):
                    raw[length][marked[last + 1 - length : last + 1]] += 1
        self.counts: list[dict[Gram, int]] = [{} for _ in range(order + 1)]
        for length in range(1, order + 1):
            before = Counter(longer[1:] for longer in raw[length + 1])  # different units seen before each gram
            for gram, count in raw[length].items():
                opens_story = length > 1 and gram[0] == END
                self.counts[length][gram] = count if length == order or opens_story else before[gram]
        self.discounts = [self.discount(list(counts.values())) for counts in self.counts]

    @staticmethod
    def discount(counts: list[int]) -> list[float]:
        n1, n2, n3, n4 = (counts.count(k) for k in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2) if n1 else 0
        found = [
            1 - 2 * y * n2 / n1 if n1 else 0,
            2 - 3 * y * n3 / n2 if n2 else 0,
            3 - 4 * y * n4 / n3 if n3 else 0,
        ]
        return [0.0] + [d if 0 < d < k else k / 2 for k, d in enumerate(found, 1)]

    def chance(self, context: Gram, unit: int) -> float:
        length = len(context) + 1
        lower = self.chance(context[1:], unit) if context else 1 / V
        counts = {gram[-1]: count for gram, count in self.counts[length].items() if gram[:-1] == context}
        if not counts:
            return lower
        discount = {other: self.discounts[length][min(count, 3)] for other, count in counts.items()}
        own = counts[unit] - discount[unit] if unit in counts else 0
        return (own + sum(discount.values()) * lower) / sum(counts.values())


def repeated(told: list[list[int]], times: int) -> list[list[int]]:
    """Some stories told again and again, so that all kinds of counts come up."""
    return told + [told[n % len(told)] for n in range(times)] if told else told


@given(told=st.lists(STORY, max_size=8), times=st.integers(0, 20), asked=STORY, order=ORDER)
def test_every_chance_is_the_textbooks(told: list[list[int]], times: int, asked: list[int], order: int) -> None:
    told = repeated(told, times)
    book, model = Textbook(told, order), fit([ids(*story) for story in told], END, V, order)
    marked = (END, *asked, END)
    wanted = [book.chance(marked[max(0, n - order + 1) : n], marked[n]) for n in range(1, len(marked))]
    np.testing.assert_allclose(model.log_probabilities(ids(*asked)), np.log(wanted), rtol=0, atol=1e-9)


@given(told=st.lists(STORY, max_size=8), times=st.integers(0, 20), asked=STORY, order=ORDER)
def test_distributions_are_whole_and_tell_the_same(
    told: list[list[int]], times: int, asked: list[int], order: int
) -> None:
    model = fit([ids(*story) for story in repeated(told, times)], END, V, order)
    marked, logs = [END, *asked, END], model.log_probabilities(ids(*asked))
    for last, expected in enumerate(logs, 1):
        chances = model.distribution(ids(*marked[:last]))
        assert chances.dtype == np.float32
        assert chances.shape == (V,)
        assert chances.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
        assert math.log(chances[marked[last]]) == pytest.approx(expected, abs=1e-6)


@given(told=st.lists(STORY, min_size=1, max_size=5), asked=st.lists(STORY, min_size=1, max_size=5), order=ORDER)
def test_nothing_is_foretold_from_another_story(told: list[list[int]], asked: list[list[int]], order: int) -> None:
    model = fit([ids(*story) for story in told], END, V, order)
    together = join([ids(*story) for story in asked], END)[1:]
    alone = [model.log_probabilities(ids(*story)) for story in asked]
    np.testing.assert_allclose(model.log_probabilities(together), np.concatenate(alone), rtol=0, atol=1e-12)
    joined = fit([join([ids(*story) for story in told], END)[1:]], END, V, order)
    assert (joined.log_probabilities(together) == model.log_probabilities(together)).all()


def test_a_continuation_by_hand() -> None:
    # `1` comes three times, but only ever after `0`: without a context it is the rarer one, as San before Francisco.
    told = [ids(0, 1), ids(0, 1), ids(0, 1), ids(2, 0), ids(3, 0)]
    model = fit(told, END, V, order=2)
    # Before 0 come 5, 2 and 3; before 5 come 1 and 0; before 1, 2 and 3 comes only one unit each. So n1 = 3,
    # n2 = n3 = 1 and n4 = 0: Y = 3/5, D1 = 1 - 2 Y / 3 = 3/5, D2 = 2 - 3 Y = 1/5, and D3 falls back to 3/2.
    left = 3 * 0.6 + 0.2 + 1.5
    assert model.units == pytest.approx(
        [(own + left / V) / 8 for own in (3 - 1.5, 1 - 0.6, 1 - 0.6, 1 - 0.6, 0, 2 - 0.2)]
    )


@pytest.mark.parametrize("order", [1, 2, 3, 5, 9])
@pytest.mark.parametrize(
    "told",
    [
        [],
        [[]],
        [[], []],
        [[3]],
        [[3], [3], [3]],
        [[2] * 50],
        [[0], [1], [2], [3], [4]],
        [[0, 1, 2, 3, 4]],
        [[0, 1, 2, 3, 4]] * 2,
        [[0, 1]] * 7,
    ],
    ids=str,
)
def test_small_and_even_texts(told: list[list[int]], order: int) -> None:
    model = fit([ids(*story) for story in told], END, V, order)
    assert np.isfinite(model.log_probabilities(ids(4, 4, 0, 3, 2, 2, 2, 1))).all()
    for context in (ids(), ids(END), ids(2, 2, 2), ids(END, 0, 1), ids(4, 0), ids(0, END)):
        chances = model.distribution(context)
        assert chances.min() > 0
        assert chances.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    for table in model.tables:  # discounts neither take all of a gram nor nothing of a context
        assert (table.own[:-1] > 0).all()
        assert (table.rest > 0).all()


def test_without_stories_all_units_are_alike() -> None:
    assert fit([], END, V).distribution(ids(END)) == pytest.approx([1 / V] * V)


def test_a_context_is_cut_where_its_story_begins_and_where_it_is_too_long() -> None:
    model = fit([ids(0, 1, 2), ids(0, 1, 2, 3), ids(2, 3, 0)], END, V, order=3)
    assert (model.distribution(ids(0, 1, END, 0)) == model.distribution(ids(END, 0))).all()
    assert (model.distribution(ids(4, 4, 0, 1)) == model.distribution(ids(0, 1))).all()
    assert (model.distribution(ids()) == model.units.astype(np.float32)).all()


def test_long_grams_of_a_large_vocabulary_do_not_collide() -> None:
    large = 170_000  # to the fifth power it is far beyond 64 bits
    rng = np.random.default_rng(1)
    told = rng.integers(0, large - 1, 5000).astype(np.int32)
    model = fit([told], large - 1, large)
    assert [len(table.keys) for table in model.tables] == pytest.approx([5001, 5000, 4999, 4998], abs=2)
    # What was seen once costs little from the second unit on, what was not costs a blind guess.
    assert model.log_probabilities(told)[4:].mean() > -2
    assert model.log_probabilities(rng.permutation(told))[4:].mean() < -8
    assert model.distribution(told[-3:]).argmax() == large - 1


def test_mistakes_are_told() -> None:
    with pytest.raises(UsageError, match="at least 1, got 0"):
        fit([], END, V, 0)
    for strange in (-1, V):
        with pytest.raises(UsageError, match=rf"0\.\.5, got \[{strange}\]"):
            fit([ids(1, strange)], END, V)
        with pytest.raises(UsageError, match="ids must lie in"):
            fit([], END, V).log_probabilities(ids(strange))
        with pytest.raises(UsageError, match="ids must lie in"):
            fit([], END, V).distribution(ids(strange))


@pytest.mark.parametrize(
    ("library", "unit", "bound"),
    [
        ("tales", "words", 4.50),  # measured: 6.266, 4.695, 4.506, 4.469 nats a word
        ("shakespeare", "chars", 1.58),  # measured: 3.348, 2.484, 2.039, 1.562 nats a character
    ],
)
def test_longer_contexts_foretell_real_text_better(shared_data: Path, library: str, unit: str, bound: float) -> None:
    told, kept = (
        (shared_data / library / name).read_text(encoding="utf-8").split("\n\n" if library == "tales" else "\0")[:4000]
        for name in ("train.txt", "valid.txt")
    )
    units = tokens.build(unit, told)
    encoded, asked = units.encode_many(told), join(units.encode_many(kept), units.end)[1:]
    models = [fit(encoded, units.end, units.size, order) for order in (1, 2, 3, 5)]
    costs = [-model.log_probabilities(asked).mean().item() for model in models]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < bound < costs[0] - 1.5, costs
