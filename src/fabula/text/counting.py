"""How many words a text has, in any script; knows no story, no file and no vocabulary."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fabula.text.scripts import NAMES, RANGES, UNSPACED, code_points, script_numbers

_BLOCK = 1 << 20  # characters at a time, so that a long text is not copied several times over
_WIDE_MARKS = ((0x3000, 0x3004), (0x3008, 0x3020), (0x30FB, 0x30FB), (0xFF01, 0xFF0F), (0xFF1A, 0xFF1F),
               (0xFF3B, 0xFF40), (0xFF5B, 0xFF65), (0xFE30, 0xFE4F))  # fmt: skip
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u065f\u0900-\u0dff\u200c\u200d"  # inside words, yet no letters to `re`
_SOLO, _SPACE, _OTHER = 2, 1, 0


def count_words(text: str) -> int:
    """Number of words: runs between white space; in scripts without it (Han, Kana, Thai ...) every character is one.

    The full-width punctuation of Chinese and Japanese counts as white space.

    >>> count_words("the cat , and"), count_words("吾輩は猫である。"), count_words("猫 cat。")
    (4, 7, 2)
    """
    if text.isascii():
        return len(text.split())
    total, in_word = 0, False
    for start in range(0, len(text), _BLOCK):
        kinds = _kinds()[np.minimum(code_points(text[start : start + _BLOCK]), 0x3FFFF)]
        other = kinds == _OTHER
        begins = other.copy()
        begins[1:] &= ~other[:-1]
        begins[0] &= not in_word
        total += int(np.count_nonzero(begins)) + int(np.count_nonzero(kinds == _SOLO))
        in_word = bool(other[-1])
    return total


def words_of(text: str) -> list[str]:
    """The words without their punctuation, lower case: what is compared when texts are compared.

    >>> words_of("The cat’s “Hat”, 猫です")
    ['the', 'cat', 's', 'hat', '猫', 'で', 'す']
    """
    return [word for _, _, word in word_spans(text)]


def word_spans(text: str) -> Iterator[tuple[int, int, str]]:
    """Those words with where in the text each begins and ends."""
    for found in _word_pattern().finditer(text):
        yield found.start(), found.end(), found[0].lower()


@functools.cache
def _kinds() -> NDArray[np.uint8]:
    """For every code point below 0x40000: a word of its own, white space, or part of a longer word."""
    kinds = np.zeros(0x40000, dtype=np.uint8)
    codes = np.arange(0x40000, dtype=np.uint32)
    kinds[np.isin(script_numbers(codes), [i for i, name in enumerate(NAMES) if name in UNSPACED])] = _SOLO
    kinds[[code for code in range(0x3001) if chr(code).isspace()]] = _SPACE
    for first, last in _WIDE_MARKS:
        kinds[first : last + 1] = _SPACE
    return kinds


@functools.cache
def _word_pattern() -> re.Pattern[str]:
    solo = "".join(f"{chr(first)}-{chr(last)}" for name, spans in RANGES if name in UNSPACED for first, last in spans)
    letters = rf"[^\W{solo}]"
    return re.compile(rf"[{solo}]|{letters}+(?:[{_MARKS}]+{letters}*)*")
