"""The walk, the reports and the stories of the article's experiment."""

import itertools

import numpy as np
import pytest
import torch

from fabula.article.experiment import Plan, Report, Run, run, walk
from fabula.article.material import fable, from_text
from fabula.errors import TextError, UsageError

SMALL = {"hidden": 24, "iterations": 1500}


@pytest.mark.parametrize("window", [1, 3, 8])
def test_the_walk_is_the_articles(window: int) -> None:
    """On by window + 1 until a window no longer fits, then from a random start of at most window + 1."""
    places = [place for place, _ in itertools.islice(walk(204, window, np.random.default_rng(0)), 2000)]
    starts = {place for before, place in itertools.pairwise([10**6, *places]) if place != before + window + 1}
    assert starts == set(range(window + 2))
    assert max(places) == 203 - window
    for before, place in itertools.pairwise(places):
        if place != before + window + 1:
            assert before + 2 * window + 1 > 203, "it began anew although a window still fitted"


def test_a_carried_walk_goes_on_where_the_window_ended() -> None:
    steps = list(itertools.islice(walk(20, 3, np.random.default_rng(0), carry=True), 50))
    for (before, _), (place, fresh) in itertools.pairwise(steps):
        assert fresh or place == before + 3
    assert sum(fresh for _, fresh in steps) > 5


def test_the_shortest_text() -> None:
    assert list(itertools.islice(walk(4, 3, np.random.default_rng(0)), 3)) == [(0, True)] * 3
    taken = run(Plan(iterations=3, hidden=4), from_text("a b c d", "short"))
    assert taken.done == 3


def test_reports_and_a_run_that_repeats() -> None:
    heard: list[Report] = []
    first = run(Plan(seed=5, **SMALL), fable(), listener=lambda _, report: heard.append(report) if report else None)
    assert [report.iteration for report in heard] == [1000, 1500]
    assert heard == first.reports
    assert len(heard[0].context) == 3
    again, other = run(Plan(seed=5, **SMALL), fable()), run(Plan(seed=6, **SMALL), fable())
    assert [r.loss for r in again.reports] == [r.loss for r in first.reports] != [r.loss for r in other.reports]
    assert again.tell("had a general") == first.tell("had a general")
    assert torch.equal(again.network.out.value, first.network.out.value)


def test_figures_are_of_the_last_thousand_and_before_learning() -> None:
    """A text of two words in turn: the next is always known, once it is."""
    taken = run(Plan(window=1, hidden=8, iterations=3000), from_text("a b " * 20, "turns"))
    assert taken.accuracy == 1.0
    assert taken.reports[0].accuracy < 1.0
    assert 0 < taken.loss < taken.reports[0].loss
    assert taken.tell("a", 3) == (["a"], ["b", "a", "b"])


def test_learned_vectors_know_the_fable_to_its_ceiling() -> None:
    vectors = torch.randn(112, 32, generator=torch.Generator().manual_seed(1))
    taken = run(Plan(hidden=128, iterations=4000), fable(), vectors=vectors, learned=True)
    assert taken.accuracy > 0.9
    prompt, told = taken.tell("had a general")
    assert fable().copied(prompt, told).share > 0.5


def test_a_carried_state_tells_what_no_window_can() -> None:
    """Which word follows `a` depends on the word before: one word alone can be right in three of four at most."""
    material = from_text("x a y a z a a " * 12, "memory")
    plan = {"window": 1, "hidden": 48, "iterations": 6000, "every": True}
    thrown, carried = run(Plan(**plan), material), run(Plan(carry=True, **plan), material)
    assert carried.accuracy > 0.95 > thrown.accuracy
    _, told = carried.tell("x", 30)
    assert "x a y a z a a x a y a z a a" in " ".join(told)


def test_ctrl_c_keeps_what_was_learned() -> None:
    def press(taken: Run, report: Report | None) -> None:
        if report:
            raise KeyboardInterrupt

    taken = run(Plan(**SMALL), fable(), listener=press)
    assert (taken.interrupted, taken.done, len(taken.reports)) == (True, 1000, 1)
    assert len(taken.tell("had a general")[1]) == 32


@pytest.mark.parametrize(
    "wrong", [{"iterations": 0}, {"window": 0}, {"layers": 0}, {"layers": 9}, {"seed": -1}, {"optimizer": "adagrad"}]
)
def test_plans_that_cannot_be(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="must be"):
        Plan(**wrong)


def test_a_text_too_short() -> None:
    with pytest.raises(TextError):
        run(Plan(), from_text("a b c", "short"))
