"""What a text between two others must keep to, also where it touches them."""

import pytest

from fabula.config import SamplingConfig
from fabula.meeting.drafts import Draft
from fabula.meeting.rules import FromEnd, Rules, copies
from fabula.novelty import Index
from fabula.text import words_of
from fabula.tokens import build

SOURCE = "the old cat sat on the mat and the mice came home to sing a song of joy"
INDEX = Index.of([words_of(SOURCE)])


def rules(prompt: str = "Once", end: str = " they sang.", **limits: object) -> Rules:
    return Rules(SamplingConfig(**limits), prompt=prompt, end=end, index=INDEX)


@pytest.mark.parametrize(
    ("limits", "prompt", "text", "end", "holds"),
    [
        ({}, "", " anything at all", " the end", True),
        ({"ban": ("cat",)}, "the cat", " sat", " by the cat", True),  # prompt and end may say it
        ({"ban": ("cat",)}, "the", " Cat sat", " there", False),
        ({"ban": ("cat",)}, "the", " category", " there", True),
        ({"ban": ("old cat",)}, "the old", " cat sat", " there", False),  # it reaches over the first seam
        ({"ban": ("they sang",)}, "the", " cat, and they", " sang", False),  # and over the second
        ({"ban": ("cat",)}, "the c", "at sat", " there", False),  # a word begun by the prompt
        ({"ban_letters": "z"}, "zoo", " puzzle", " x", False),
        ({"ban_letters": "z"}, "zoo", " Zebra", " x", False),
        ({"ban_letters": "z"}, "zoo", " plain", " zoo", True),
        ({"require": ("cat",)}, "the cat", " sat", " the cat", False),
        ({"require": ("cat",)}, "the", " cat's", " x", True),
        ({"require": ("old cat", "dog")}, "the", " dog saw an old cat", " x", True),
        ({"require": ("old cat",)}, "the old", " cat ran", " x", False),
        ({"max_copy": 4}, "x", " the old cat sat by", " x", True),
        ({"max_copy": 4}, "x", " the old cat sat on", " x", False),
        ({"max_copy": 4}, "the old cat sat", " on it", " x", False),
        ({"max_copy": 4}, "x", " they saw the mat and the", " mice came", False),
        ({"max_copy": 4}, "the old cat sat on the mat", ", they say", " mice came home to sing a song", True),
    ],
)
def test_rules_hold(limits: dict, prompt: str, text: str, end: str, holds: bool) -> None:
    assert rules(prompt, end, **limits).hold(text) is holds


def grown(unit: str, end: str, text: str, **limits: object) -> list[bool]:
    """Whether each unit of a text may come, told from the end."""
    tokenizer = build(unit, [SOURCE, "say they sang. hotcat"], None)
    draft = Draft(tokenizer, backward=True)
    guide, said = FromEnd(rules(end=end, **limits), draft), []
    for token in tokenizer.encode(text).tolist()[::-1]:
        said.append(guide.allows(token))
        draft.take(token)
    return said[::-1]


def test_a_draft_from_the_end_is_led_around_what_is_banned() -> None:
    assert grown("words", " they", " the old cat sat", ban=("old",)) == [True, False, True, True]
    # What a letter leaves unfinished may yet become another word, so only what completes it is refused.
    assert grown("chars", " they", "a cat sat", ban=("cat",)) == [True, False, *[True] * 7]
    assert all(grown("chars", " they", "hotcat sat", ban=("cat",)))
    assert grown("words", " on the mat", " the old cat sat", max_copy=5) == [False, False, True, True]
    assert all(grown("words", " on the mat", " the old cat sat", max_copy=7))
    assert grown("chars", " x", "sat", ban_letters="a") == [True, False, True]


def test_copies_are_those_of_the_text_between() -> None:
    found = copies(INDEX, "the old cat", " sat on the mat, they say", " and sang")
    assert (found.longest, found.share, found.long_share) == (7, 4 / 6, 0.0)
    assert copies(INDEX, SOURCE, " x", " y").longest == 0
    assert copies(INDEX, "x", "", " y").share == 0
