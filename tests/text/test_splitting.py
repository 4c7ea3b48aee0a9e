"""Two sides of a library."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabula.text.library import Library
from fabula.text.splitting import is_short, split
from fabula.text.stories import Story


def tale(number: int, words: int = 100) -> str:
    return " ".join(f"word{number}x{i}" for i in range(words))


def library(*texts: str) -> Library:
    return Library(tuple(Story(text, "x") for text in texts), (), "")


def test_whole_stories_by_hash() -> None:
    parts = split(library(*map(tale, range(1000))))
    assert 25 <= len(parts.held_out) <= 80
    assert len(parts.train) + len(parts.held_out) == 1000
    assert parts.how == f"kept aside: {len(parts.held_out)} of 1,000 stories"
    assert not parts.by_heart


def test_the_split_never_moves() -> None:
    few = split(library(*map(tale, range(500))))
    more = split(library(*map(tale, range(700, -1, -1))))
    assert {s.text for s in few.held_out} == {s.text for s in more.held_out} & {tale(i) for i in range(500)}
    assert [s.text.split()[0] for s in split(library(*map(tale, range(60)))).held_out] == ["word38x0", "word53x0"]


def test_copies_stay_together() -> None:
    parts = split(library(*[tale(i % 100) for i in range(300)]))
    assert not {s.text for s in parts.train} & {s.text for s in parts.held_out}
    assert len(parts.held_out) % 3 == 0


@pytest.mark.parametrize("number", [8, 12, 20, 25, 60])
def test_few_stories_still_give_some(number: int) -> None:
    for first in range(0, 2000, 100):
        parts = split(library(*(tale(first + i, 400) for i in range(number))))
        aside = sum(len(s.text) for s in parts.held_out) / sum(len(s.text) for s in [*parts.train, *parts.held_out])
        assert 0.02 <= aside <= 0.2


@pytest.mark.parametrize("ending", ["\n\n", "\n", ". ", "。", " ", ""])
def test_a_long_text_gives_up_its_end_at_a_boundary(ending: str) -> None:
    text = ("word " * 9 + "end" + ending) * 400
    parts = split(library(text))
    (train,), (held_out,) = parts.train, parts.held_out
    assert train.text + held_out.text == text
    assert len(held_out.text) / len(text) == pytest.approx(0.05, rel=0.3)
    if ending:
        assert train.text.endswith(ending)
    assert parts.how == "kept aside: the last 5 % of the text"


def test_a_text_without_any_boundary_is_cut_all_the_same() -> None:
    parts = split(library("猫" * 10_000))
    assert len(parts.held_out[0].text) == 500


def test_few_long_texts_give_up_their_ends() -> None:
    parts = split(library(tale(1, 3000), tale(2, 3000), "a short one"))
    assert parts.how == "kept aside: the last 5 % of each of 2 long texts"
    assert len(parts.train) == 3
    assert parts.train[2].text == "a short one"


def test_a_giant_among_small_ones_stays_and_gives_its_end() -> None:
    parts = split(library(tale(1, 50_000), *(tale(i, 50) for i in range(2, 12))))
    assert len(parts.train) == 11
    assert len(parts.held_out) == 1


def test_short_texts_are_learned_by_heart() -> None:
    parts = split(library(tale(0, 1999)))
    assert parts.by_heart
    assert (len(parts.train), parts.held_out) == (1, [])
    assert not split(library(tale(0, 2000))).by_heart
    assert is_short(library("猫" * 3999).stories)
    assert not is_short(library("猫" * 4000).stories)


def test_share_zero_keeps_nothing() -> None:
    parts = split(library(tale(0, 5000)), 0.0)
    assert (len(parts.train), parts.held_out, parts.by_heart) == (1, [], False)
    assert parts.how == "nothing is kept aside"


def test_a_paragraph_is_a_better_place_than_a_line_or_a_sentence() -> None:
    lines = ["The cat sat. The dog ran.\n"] * 1000
    lines[940] += "\n"
    lines[954] = "The end\n"
    parts = split(library("".join(lines)))
    assert parts.train[0].text.endswith(".\n\n")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 6000), min_size=1, max_size=30), st.sampled_from([0.01, 0.05, 0.5]))
def test_both_sides_are_never_empty_and_nothing_is_lost(lengths: list[int], share: float) -> None:
    texts = [tale(i, length) for i, length in enumerate(lengths)]
    parts = split(library(*texts), share)
    assert parts.train
    assert all(story.text for story in [*parts.train, *parts.held_out])
    assert parts.by_heart or parts.held_out
    assert sum(len(s.text) for s in [*parts.train, *parts.held_out]) == sum(map(len, texts))
