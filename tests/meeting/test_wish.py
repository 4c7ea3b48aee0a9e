"""What is asked for: its space, its bounds, and what comes twice."""

from dataclasses import replace

import pytest

from fabula.config import SamplingConfig
from fabula.meeting.wish import Wish, space_before, wish
from fabula.tokens import build

TOKENIZER = build("words", ["the cat sat on the mat and the cat ran, so"], None)


def asked(prompt: str, end: str, **limits: object) -> Wish:
    return wish(TOKENIZER, prompt, end, words=None, how=SamplingConfig(**limits))


@pytest.mark.parametrize(
    ("end", "space"),
    [("and", " "), ("“And", " "), ("'Tis", " "), ("— so", " "), (".", ""), ("’ he said", ""), ("…", ""), ("「好」", ""),
     ("好", ""), ("。", ""), ("\tso", ""), ("'s cat", ""), ("한국", " "), ("(so)", " "), (") so", "")],
)  # fmt: skip
def test_the_space_before_an_end(end: str, space: str) -> None:
    assert space_before(end) == space


@pytest.mark.parametrize(
    ("prompt", "drops"), [("the cat ", True), ("the cat", False), ("", False), ("the cat\n", False), ("猫 ", False)]
)
def test_the_space_that_ends_a_prompt(prompt: str, drops: bool) -> None:
    assert asked(prompt, "so").drops_space is drops


def test_what_comes_twice_counts_where_the_text_has_a_part_in_it() -> None:
    units = TOKENIZER.encode
    one = asked("the cat sat the cat sat", "the cat sat on the cat sat", no_repeat=3)
    assert not one.repeats(units(" and so ran").tolist())  # prompt and end may repeat themselves
    assert one.repeats(units(" and the cat sat").tolist())
    assert one.repeats(units(" on the").tolist() + units(" cat sat").tolist())
    two = asked("the cat ran", "so the cat ran", no_repeat=3)
    assert two.repeats(units(" and the cat ran").tolist())  # the end says it again
    assert not two.repeats(units(" and, so").tolist())
    assert not asked("so", "so").repeats(units(" so so so so").tolist())


def test_chance_makes_more_drafts_and_words_make_fewer() -> None:
    one = asked("the", "so")
    assert (one.drafts, replace(one, words=1000).drafts) == (16, 4)
    assert replace(one, how=SamplingConfig(temperature=0.0)).drafts == 1
    draws = [[rng.random() for rng in replace(one, story=story).rngs(side)] for story in (0, 1) for side in (0, 1)]
    assert len({draw for row in draws for draw in row}) == 64
