"""Where a text that is being written ends: counts its words, sees its sentences, holds back what may have to go.

Knows no model and no units.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

BEYOND = 100
"""Most words told beyond those asked for, to reach the end of a sentence."""

UNTIL = {"sentence": BEYOND, "paragraph": 500, "story": 20_000}
"""What a text may go on to, and the most words that it is given for that beyond those asked for."""

LETTER, WORD = 1, 2
"""Kinds of character: part of a longer word, a word by itself; 0 is neither."""
_OPENING = "「『（《〈【〔［｛"
_SENTENCE = re.compile(
    r"""[.!?\u2026\u061f\u06d4\u0964\u0965\u104b\u17d4\u3002\uff01\uff0e\uff1f\uff61]["'”’»)\]」』】）》〉]*\s*$"""
    r"|[\u0e00-\u0eff]\s+$"  # Thai and Lao end a sentence with a space
    r"|\n\s*\n\s*$"
)
"""A text that ends where a sentence, a paragraph or a story does."""
_PARAGRAPH = re.compile(r"\n\s*\n\s*$")


class Ending:
    """Where a text ends: after its words, at the end of a sentence, before a stop text. Never in white space.

    `until` is one of `UNTIL`, or None to end with the last word.

    Words are those of `count_words`: runs between white space, and single characters in scripts without spaces.
    What may yet turn out to lie behind the end is held back, so that nothing shown has to be taken back.
    """

    def __init__(self, words: int, stops: Sequence[str], *, until: str | None) -> None:
        self.words, self.over = words, False
        self._stops, self._until = stops, until
        self._text = ""  # what is held back, after the last characters shown
        self._shown = self._seen = 0  # how much of it was shown, and how much was looked at
        self._count, self._inside = 0, False

    @property
    def count(self) -> int:
        """Words that have begun."""
        return self._count

    @property
    def most(self) -> int:
        """Words after which it ends in any case."""
        return self.words + (UNTIL[self._until] if self._until else BEYOND)

    @property
    def full(self) -> bool:
        """True when all words asked for have begun."""
        return self._count >= self.words

    def feed(self, text: str) -> str:
        """Take in more text; what may be shown of it and of what was held back."""
        self._text += text
        limit = self._last_word()
        self.over = limit >= 0
        limit = limit if self.over else len(self._text)
        places = [(self._text.find(stop, self._shown, limit), len(stop)) for stop in self._stops]
        if found := [(place + size, place) for place, size in places if place >= 0]:
            self.over, limit = True, min(found)[1]  # of the text that is complete first, however the pieces fall
        self._text = self._text[:limit]
        if self.over:
            return self.rest()
        begun = (n for stop in self._stops for n in range(1, len(stop)) if self._text.endswith(stop[:n]))
        return self._show(len(self._text) - max(begun, default=0))

    def rest(self) -> str:
        """What is left when the story itself has ended."""
        return self._show(len(self._text))

    def _show(self, limit: int) -> str:
        """The text up to `limit`, without the white space that ends it; remembers what a sentence's end is told by."""
        limit = len(self._text[:limit].rstrip())
        text = self._text[self._shown : limit]
        gone = max(0, min(limit, self._seen) - 16)
        self._text, self._shown, self._seen = self._text[gone:], limit - gone, self._seen - gone
        return text

    def _last_word(self) -> int:
        """Place in the text where the first word too many begins, -1 while there is none."""
        for place in range(self._seen, len(self._text)):
            character = self._text[place]
            kind = kind_of(character)
            begins = kind == WORD or (kind == LETTER and not self._inside)
            if (begins or character in _OPENING) and self.full and self._may_end(place):
                return place
            self._count += begins
            self._inside = kind == LETTER
        self._seen = len(self._text)
        return -1

    def _may_end(self, place: int) -> bool:
        """Whether the text may end before the word that begins here."""
        if self._until is None or self._count >= self.words + UNTIL[self._until]:
            return True
        if self._until == "story":
            return False  # its own end comes first
        pattern = _SENTENCE if self._until == "sentence" else _PARAGRAPH
        return pattern.search(self._text[:place]) is not None


def ends_sentence(text: str) -> bool:
    """Whether a text ends where a sentence does.

    >>> ends_sentence("He said “no.” "), ends_sentence("He said"), ends_sentence("老鼠走了。")
    (True, False, True)
    """
    return _SENTENCE.search(text) is not None


@functools.lru_cache(maxsize=4096)
def kind_of(character: str) -> int:
    """Part of a longer word (1), a word by itself (2), or between words (0)."""
    if character.isascii():
        return int(not character.isspace())
    from fabula.text import count_words  # noqa: PLC0415 - the room of texts takes a while to open, and few need it

    return count_words(character * 2)
