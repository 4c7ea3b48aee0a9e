"""Where words begin, in all scripts and units."""

from __future__ import annotations

import codecs

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.table.seams import Seams, wants_space
from fabula.tokens import Tokenizer, build


def parted(tokenizer: Tokenizer, text: str) -> list[str]:
    return [word for word, _ in Seams(tokenizer).part(tokenizer.encode(text).tolist())]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the cat ran", ["the", " cat", " ran"]),
        ("cat, and", ["cat", ",", " and"]),
        ("“No,” he said.", ["“", "No", ",”", " he", " said", "."]),
        ("don't well-known ‘tis", ["don't", " well-known", " ‘", "tis"]),
        ("the cats’ tails", ["the", " cats’", " tails"]),
        ("one--two", ["one--", "two"]),
        ("老鼠说，猫 cat来", ["老", "鼠", "说", "，", "猫", " cat", "来"]),
        ("ที่นี่", ["ที่", "นี่"]),  # a letter with its vowel and tone
        ("かったー", ["か", "っ", "た", "ー"]),
        ("한국어 말", ["한국어", " 말"]),
        ("e\u0301te\u0301 nai\u0308f", ["e\u0301te\u0301", " nai\u0308f"]),
        ("a\n\nb", ["a", "\n\nb"]),
        ("हिन्दी में", ["हिन्दी", " में"]),
        ("👩‍🚀 went", ["👩‍🚀", " went"]),
        ("  \n", ["  \n"]),
        ("", []),
    ],
)
def test_words_of_characters(text: str, words: list[str]) -> None:
    assert parted(build("chars", [text]), text) == words


def test_bytes_part_like_characters_where_letters_are_ascii_or_spaceless() -> None:
    for text in ("the cat, and don't", "老鼠说，猫来", "caf\u00e9 au lait", "кот и пёс."):
        assert parted(build("bytes", []), text) == parted(build("chars", [text]), text)


def test_units_that_end_with_white_space_end_a_word() -> None:
    tokenizer = build("symbols", ["the cat n't , 's ."])
    assert parted(tokenizer, "the cat n't , the cat 's .") == [" the", " catn't", ",", " the", " cat's", "."]


@given(st.lists(st.integers(0, 255), max_size=40))
def test_no_unit_is_lost_whatever_the_bytes(units: list[int]) -> None:
    words = Seams(build("bytes", [])).part(units)
    assert [unit for _, own in words for unit in own] == units
    assert all(own and text for text, own in words)
    for text, own in words:
        assert text == bytes(own).decode("utf-8", "replace")


@given(st.text(max_size=30))
def test_words_joined_are_the_text(text: str) -> None:
    try:
        codecs.encode(text, "utf-8")
    except UnicodeEncodeError:
        return
    for tokenizer in (build("bytes", []), build("chars", ["the cat. 老鼠"])):
        assert "".join(parted(tokenizer, text)) == text


def test_what_may_follow_is_what_would_begin() -> None:
    tokenizer = build("words", ["the cat ran, the cats sat. “No” 老 鼠"] * 2)
    seams, ids = Seams(tokenizer), {}
    for unit in range(tokenizer.size):
        ids.setdefault(tokenizer.spelling(unit).decode("utf-8", "replace"), unit)
    first = seams.may_follow(" cat")
    assert [bool(first[ids[text]]) for text in (" ran", ",", "s", "老", " cat")] == [True, True, False, True, True]
    assert not first[tokenizer.end]
    assert seams.may_follow("").sum() == tokenizer.size - 1
    assert np.array_equal(seams.may_follow("."), seams.begins("."))


@pytest.mark.parametrize(
    ("before", "text", "wanted"),
    [
        ("fox", "ran", True), ("fox", " ran", False), ("fox", ".", False), (".", "Then", True), ("", "Once", False),
        ("fox", "“No", True), ("“", "No", False), ("狐", "说", False), ("。", "He", False), ("fox", "狐", False),
        ("fox\n", "ran", False), ("café", "est", True), ("fox", "", False), ("fox", "'s", False), ("1", "2", True),
    ],
)  # fmt: skip
def test_the_space_people_put_between(before: str, text: str, wanted: bool) -> None:
    assert wants_space(before, text) is wanted
