"""Byte-pair encoding: joins are learned in order, by frequency, within pieces, and a prompt's first word is whole."""

import pytest

from fabula.tokens import build, from_json
from fabula.tokens.pieces import LONGEST, chunks
from fabula.tokens.subwords import _read_merges


def test_the_most_frequent_pair_is_joined_first() -> None:
    tokenizer = build("subwords", ["aaab aaab aaab b"], 259)
    assert [tokenizer.spelling(token) for token in (256, 257)] == [b"aa", b"aaab"[2:]]
    assert tokenizer.spelling(0xC3) == b"\xc3"


def test_joins_stay_within_a_word_and_a_mark() -> None:
    text = "the end. the end. the end.\n\nthe end. " * 50
    tokenizer = build("subwords", [text])
    assert [tokenizer.spelling(token) for token in tokenizer.encode(text)[:9].tolist()] == [
        b"the", b" end", b".", b" the", b" end", b".", b" the", b" end", b".",
    ]  # fmt: skip
    assert tokenizer.size < 512


def test_the_size_grows_with_the_text() -> None:
    words = " ".join(f"w{n:x}q{n * 7919:x}" for n in range(90_000))
    assert build("subwords", [words[:500]]).size <= 512
    assert build("subwords", [words], 700).size == 700
    assert 1_000 < build("subwords", [words]).size <= int(len(words) ** 0.5)


def test_merges_that_spell_the_same_share_an_id() -> None:
    merges = [[97, 98], [98, 99], [256, 99], [97, 257], [258, 100]]
    tokenizer = from_json({"unit": "subwords", "merges": merges})
    assert tokenizer.size == 256 + 4 + 1
    assert tokenizer.spelling(259) == b"abcd"
    assert tokenizer.encode("abcd").tolist() == [259]
    assert tokenizer.to_json()["merges"] == merges
    assert _read_merges(tokenizer._model) == [tuple(pair) for pair in merges]


@pytest.mark.parametrize(("prompt", "text"), [("mice ran ", " mice ran"), ("The mice", "The mice"), ("I", "I")])
def test_a_prompt_takes_the_spelling_that_is_known(prompt: str, text: str) -> None:
    tokenizer = build("subwords", ["The mice ran.\n" * 20])
    assert tokenizer.decode(tokenizer.encode_prompt(prompt)) == text


@pytest.mark.parametrize("unit", ["words", "subwords"])
@pytest.mark.parametrize("letter", ["\u0301", "ก", " "])
def test_letters_without_an_end_are_cut_and_return(unit: str, letter: str) -> None:
    """The library takes quadratic time for one piece: a million accents in a row took for ever."""
    text = f"the mouse {letter * 100_000} the cat"
    assert max(map(len, chunks(text))) <= LONGEST
    tokenizer = build(unit, [text])
    assert tokenizer.decode(tokenizer.encode(text)) == text
