"""Which story is the best, by hand."""

import pytest

from fabula.ranking import WEIGHTS, rank, table
from fabula.storyteller import Telling


def told(text: str, cost: float = 1.0, copied: float = 0.0) -> Telling:
    return Telling(text, "", 9, 0.1, copied, copied, 0, nats_per_token=cost)


def test_marks_by_hand() -> None:
    stories = [told("a b c a b c.", 2.0), told("one two three four", 1.0, 0.5), told("one two three. Four", 3.0)]
    first, second, third = sorted(rank(stories), key=lambda one: one.story)
    assert first.marks == {"fluency": 0.5, "novelty": 1.0, "variety": 0.75, "ending": 1.0}
    assert second.marks == {"fluency": 1.0, "novelty": 0.5, "variety": 1.0, "ending": 0.0}
    assert third.marks == {"fluency": 0.0, "novelty": 1.0, "variety": 1.0, "ending": 0.0}
    assert first.score == pytest.approx(0.5 * 0.35 + 0.35 + 0.75 * 0.2 + 0.1)
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    assert [one.story for one in rank(stories)] == [0, 1, 2]


def test_what_is_copied_repeated_or_cut_off_loses() -> None:
    good = told("The fox went home.")
    for bad in (told("The fox went home.", copied=1.0), told("home home home home home."), told("The fox went")):
        assert rank([bad, good])[0].telling is good


def test_equal_stories_keep_their_order_and_one_alone_is_the_best() -> None:
    assert [one.story for one in rank([told("a."), told("a."), told("a.")])] == [0, 1, 2]
    assert rank([told("")])[0].story == 0


def test_the_table_shows_the_marks() -> None:
    lines = table(rank([told("The fox\nwent home."), told("x")]))
    assert lines[0].split() == ["story", "score", *WEIGHTS, "begins"]
    assert lines[1].endswith("The fox went home.")
    assert len(lines) == 3
