"""What is copied, by hand and against a search that tries everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.novelty import SHORTEST, Copied, Run, copied

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
