"""What is copied, by hand and against a search that tries everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.novelty import LONG, SHORTEST, Copied, Index, Run, copied

SOURCE = ["long", "ago", ",", "the", "mice", "had", "a", "general", "council", "to", "consider"]


def test_a_story_told_word_for_word() -> None:
    assert copied(SOURCE[5:], SOURCE, prompt=3) == Copied((Run(0, 6, 5),), 1.0, 6)


def test_three_words_are_no_copy() -> None:
    assert copied(["the", "mice", "had", "nothing"], SOURCE) == Copied((), 0.0, 0)


def test_the_prompt_is_not_counted_but_begins_runs() -> None:
    told = ["mouse", "the", "mice", "had", "a", "mouse"]
    assert copied(told, SOURCE, prompt=3) == Copied((Run(1, 4, 3),), pytest.approx(2 / 3), 4)


def test_the_first_of_the_longest_places() -> None:
    source = list("abcdxabcdeabcde")
    assert copied(list("abcde"), source).runs == (Run(0, 5, 5),)


def test_overlapping_runs() -> None:
    assert copied(list("abcdef"), list("abcde-cdef")).runs == (Run(0, 5, 0), Run(2, 4, 6))


@given(st.lists(st.sampled_from("abc"), max_size=30), st.lists(st.sampled_from("abc"), max_size=40), st.integers(0, 5))
def test_it_finds_what_a_search_finds(told: list[str], source: list[str], prompt: int) -> None:
    found = copied(told, source, prompt)
    inside = [False] * len(told)
    longest = 0
    for start in range(len(told)):
        for length in range(SHORTEST, len(told) - start + 1):
            if any(source[p : p + length] == told[start : start + length] for p in range(len(source))):
                inside[start : start + length] = [True] * length
                longest = max(longest, length)
    after = inside[prompt:]
    assert found.longest == longest
    assert found.share == pytest.approx(sum(after) / len(after) if after else 0.0)
    for run in found.runs:
        assert told[run.start : run.start + run.length] == source[run.place : run.place + run.length]


def test_no_run_goes_from_one_story_into_the_next() -> None:
    index = Index.of([["one", "two", "three", "four", "five"], ["six", "seven", "eight", "nine"]])
    found = index.copied(["three", "four", "five", "six", "seven", "eight", "nine"])
    assert [(run.start, run.length) for run in found.runs] == [(3, 4)]
    assert index.copied(["two", "three", "four", "five", "six", "seven", "eight"]).runs == (Run(0, 4, 1),)


def test_a_run_goes_on_only_where_the_source_does() -> None:
    """All runs of four words stand in the source, but no run of five."""
    index = Index.of([list("abcd"), list("bcde"), list("cdef")])
    assert index.copied(list("abcdef")).longest == 4


def test_the_share_in_long_runs() -> None:
    source = [str(number) for number in range(100)]
    told = [*source[:LONG], "x", *source[50 : 50 + LONG - 1], "y"]
    found = copied(told, source)
    assert found.share == pytest.approx((2 * LONG - 1) / len(told))
    assert found.long_share == pytest.approx(LONG / len(told))


@given(st.lists(st.text("abc", max_size=30), max_size=5), st.text("abc", max_size=30))
def test_an_index_of_stories_finds_what_one_of_each_finds(stories: list[str], told: str) -> None:
    whole = Index.of([list(story) for story in stories])
    assert whole.is_sound
    assert whole.copied(list(told)).longest == max((copied(told, story).longest for story in stories), default=0)


def test_an_index_of_nothing() -> None:
    assert Index.of([]).copied(["a"] * 9) == Copied((), 0.0, 0)
    assert Index.of([["a"]]).is_sound
