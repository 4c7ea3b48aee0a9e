"""Where a word ends and the next begins, by the units that spell them; knows no network and no tree.

A word is a run of letters with the white space before it, its apostrophes and hyphens inside; where words have no
spaces between them it is one character with its combining marks, or the unit that spells several. Punctuation is a word
apart.

Legend: V vocabulary.
"""

from __future__ import annotations

import codecs
import functools
import unicodedata
from collections.abc import Iterable
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from fabula.endings import WORD, kind_of
from fabula.tokens import Tokenizer

Mask = NDArray[np.bool_]
"""One entry a unit, (V,)."""

JOINERS = frozenset("'’-‐‑")
"""What stands inside of words."""

OPENING = frozenset("“‘([{«")
"""Marks that people write without a space behind."""


class Kind(IntEnum):
    """What a unit begins with."""

    SPACE, LETTER, SOLO, MARK, JOINER, COMBINING, PARTIAL = range(7)


class After(IntEnum):
    """What a word has come to; BLANK has nothing to see yet, SPACED has and ends with white space."""

    BLANK, LETTER, JOINED, SOLO, MARK, SPACED = range(6)


_BEGINS = {
    After.BLANK: (),
    After.LETTER: (Kind.SPACE, Kind.SOLO, Kind.MARK),
    After.JOINED: (Kind.SPACE, Kind.SOLO, Kind.MARK),
    After.SOLO: (Kind.SPACE, Kind.LETTER, Kind.SOLO, Kind.MARK, Kind.JOINER, Kind.PARTIAL),
    After.MARK: (Kind.SPACE, Kind.LETTER, Kind.SOLO, Kind.PARTIAL),
    After.SPACED: (Kind.LETTER, Kind.SOLO, Kind.MARK, Kind.JOINER, Kind.PARTIAL),
}
"""With what a new word begins. The first byte of a character may be of anything: after letters it goes on with them."""


class Seams:
    """The seams between the words of one vocabulary."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        kinds = np.array([_kind_of_unit(tokenizer.spelling(unit)) for unit in range(tokenizer.size)])
        self._begins = {after: np.isin(kinds, begins) for after, begins in _BEGINS.items()}
        for mask in self._begins.values():
            mask[tokenizer.end] = False
        self._any = np.ones(tokenizer.size, np.bool_)
        self._any[tokenizer.end] = False

    def begins(self, word: str) -> Mask:
        """Which units begin a new word after one that has come so far; the end of a story is none of them."""
        return self._begins[state_of(word)]

    def may_follow(self, word: str) -> Mask:
        """Which units the next word may begin with after a word that is complete, "" before the first."""
        after = state_of(word)
        return self._any if after is After.BLANK else self._begins[after]

    def spell(self, text: str, rest: bytes, unit: int) -> tuple[str, bytes]:
        """A word with one unit more: its text, and the bytes of a character that is not complete."""
        whole = rest + self._tokenizer.spelling(unit)
        more, used = codecs.utf_8_decode(whole, "replace", False)
        return text + more, whole[used:]

    def part(self, units: Iterable[int]) -> list[tuple[str, tuple[int, ...]]]:
        """The words that some units spell, each with its units."""
        words: list[tuple[str, tuple[int, ...]]] = []
        text, rest, own = "", b"", list[int]()
        for unit in units:
            if own and not rest and self.begins(text)[unit]:
                words.append((text, tuple(own)))
                text, own = "", list[int]()
            text, rest = self.spell(text, rest, unit)
            own.append(unit)
        return [*words, (text + rest.decode("utf-8", "replace"), tuple(own))] if own else words


def state_of(word: str) -> After:
    """What a word has come to.

    >>> [state_of(word).name for word in (" ", " don", " don’", "!”", "猫", "\\n")]
    ['BLANK', 'LETTER', 'JOINED', 'MARK', 'SOLO', 'BLANK']
    """
    seen = word.rstrip()
    if not seen:
        return After.BLANK
    if len(seen) < len(word):
        return After.SPACED
    bare = seen.rstrip("".join(JOINERS)) if len(seen) > 1 else seen
    if len(bare) == len(seen) - 1 and _last(bare) is Kind.LETTER:
        return After.JOINED
    last = _last(seen)
    return After.SOLO if last is Kind.SOLO else After.LETTER if last is Kind.LETTER else After.MARK


def wants_space(before: str, text: str) -> bool:
    """Whether people put a space between two parts of a text: before a word or an opening mark, where words have them.

    >>> [wants_space(*pair) for pair in (("fox", "ran"), ("fox", ", and"), ("fox.", "“No"), ("“", "No"), ("狐", "说"))]
    [True, False, True, False, False]
    """
    if not before or not text or before[-1].isspace() or before[-1] in OPENING:
        return False
    begins = kind_of_character(text[0]) is Kind.LETTER or text[0] in OPENING
    return begins and _last(before) is not Kind.SOLO and not _is_wide_mark(before[-1])


def _is_wide_mark(character: str) -> bool:
    """Whether a character is punctuation that brings its own space, as in Chinese."""
    return unicodedata.category(character)[0] == "P" and unicodedata.east_asian_width(character) in "WF"


def _last(text: str) -> Kind:
    """Kind of the last character that is more than a combining mark."""
    kinds = (kind_of_character(character) for character in reversed(text))
    return next((kind for kind in kinds if kind is not Kind.COMBINING), Kind.MARK)


@functools.lru_cache(maxsize=1 << 14)
def kind_of_character(character: str) -> Kind:
    """What a character is to a word."""
    if character.isspace():
        return Kind.SPACE
    if character in JOINERS:
        return Kind.JOINER
    if character.isalnum() or character == "_":
        return Kind.SOLO if kind_of(character) == WORD else Kind.LETTER
    return Kind.COMBINING if unicodedata.category(character) in {"Mn", "Mc", "Me", "Cf"} else Kind.MARK


def _kind_of_unit(spelling: bytes) -> Kind:
    text, _ = codecs.utf_8_decode(spelling, "replace", False)
    return kind_of_character(text[0]) if text else Kind.PARTIAL
