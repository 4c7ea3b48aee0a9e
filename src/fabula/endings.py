"""Where a text that is being written ends: counts its words, sees its sentences, holds back what may have to go.

Knows no model and no units.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

BEYOND = 100
"""Most words told beyond those asked for, to reach the end of a sentence."""

UNTIL = {"word": 0, "sentence": BEYOND, "paragraph": 500, "story": 20_000}
"""What a text may go on to, and the most words that it is given for that beyond those asked for."""

AROUND, AT_MOST = 20, 60
"""Words before and after those asked for in which the nearest end of a sentence is sought, at least and at most."""

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

    `until` is one of `UNTIL`, or None for the end of a sentence that lies nearest to the words asked for, before or
    after; without one within a third of them (`AROUND` to `AT_MOST`) the text ends with its last word.

    Words are those of `count_words`: runs between white space, and single characters in scripts without spaces.
    What may yet turn out to lie behind the end is held back, so that nothing shown has to be taken back.
    """

    def __init__(self, words: int, stops: Sequence[str], *, until: str | None) -> None:
        self.words, self.over = words, False
        self.may_be_early = True
        """Set from outside: whether it may end before all words are told, at an end of a sentence near them."""
        self.behind: str | None = None
        """What came behind the stop text that ended it."""
        self._stops, self._until = stops, until
        self._text = ""  # what is held back, after the last characters shown
        self._shown = self._seen = 0  # how much of it was shown, and how much was looked at
        self._count, self._inside = 0, False
        self._around = 0 if until else min(max(AROUND, words // 3), AT_MOST)
        self._early: tuple[int, int] | None = None
        """Count of words and place of the last end of a sentence that the text may end at, not all words being told."""
        self._cut = -1
        """Place where the first word too many begins, should no end be near."""

    @property
    def count(self) -> int:
        """Words that have begun."""
        return self._count

    @property
    def most(self) -> int:
        """Words after which it ends in any case."""
        return self.words + (UNTIL[self._until] or BEYOND if self._until else self._around)

    @property
    def full(self) -> bool:
        """True when all words asked for have begun."""
        return self._count >= self.words

    def feed(self, text: str) -> str:
        """Take in more text; what may be shown of it and of what was held back."""
        self._text += text
        seen, end = self._last_word()
        self.over = end >= 0
        places = [(self._text.find(stop, self._shown, seen), len(stop)) for stop in self._stops]
        if found := [(place + size, place) for place, size in places if place >= 0]:
            after, end = min(found)  # of the text that is complete first, however the pieces fall
            self.over, self.behind = True, self._text[after:]
        self._text = self._text[:end] if self.over else self._text
        if self.over:
            return self.rest()
        begun = (n for stop in self._stops for n in range(1, len(stop)) if self._text.endswith(stop[:n]))
        return self._show(min(len(self._text) - max(begun, default=0), self._held() or len(self._text)))

    def rest(self, *, broken: bool = False) -> str:
        """What is left when the story itself has ended, or, `broken` off, when no more will come."""
        return self._show((broken and self._held()) or len(self._text))

    def _held(self) -> int:
        """Where the text ends should the next end of a sentence be too far away, 0 if that is not known yet."""
        return self._early[1] if self._early else max(self._cut, 0)

    def _show(self, limit: int) -> str:
        """The text up to `limit`, without the white space that ends it; remembers what a sentence's end is told by."""
        limit = len(self._text[:limit].rstrip())
        text = self._text[self._shown : limit]
        gone = max(0, min(limit, self._seen) - 16)
        self._early = self._early and (self._early[0], self._early[1] - gone)
        self._cut = max(-1, self._cut - gone)
        self._text, self._shown, self._seen = self._text[gone:], limit - gone, self._seen - gone
        return text

    def _last_word(self) -> tuple[int, int]:
        """How far the text was read to find where it ends, and that place, -1 while it is not known."""
        for place in range(self._seen, len(self._text)):
            character = self._text[place]
            kind = kind_of(character)
            begins = kind == WORD or (kind == LETTER and not self._inside)
            if (begins or character in _OPENING) and (end := self._end_before(place, begins=begins)) >= 0:
                return place, end
            self._count += begins
            self._inside = kind == LETTER
        self._seen = len(self._text)
        return self._seen, -1

    def _end_before(self, place: int, *, begins: bool) -> int:
        """Where the text ends if it does so before the word, or the mark before a word, here; -1 if it goes on."""
        if self._until is None:
            return self._nearest(place, begins=begins)
        if not self.full:
            return -1
        over = self._count >= self.words + UNTIL[self._until]
        if self._until != "story" and not over:  # a story's own end comes first
            over = (_SENTENCE if self._until == "sentence" else _PARAGRAPH).search(self._text[:place]) is not None
        return place if over else -1

    def _nearest(self, place: int, *, begins: bool) -> int:
        """The same where the nearest end of a sentence is sought: it may lie behind."""
        beyond = self._count - self.words
        if beyond < -self._around:
            return -1
        ends = self._count > 0 and _SENTENCE.search(self._text[:place]) is not None
        if beyond < 0:
            self._early = (self._count, place) if ends and self.may_be_early else self._early
            return -1
        self._cut = place if self._cut < 0 else self._cut
        ahead = beyond + (begins and not ends)  # the next end lies no nearer than that
        if self._early and self.words - self._early[0] <= ahead:
            return self._early[1]
        if ends:
            return place
        return self._held() if ahead > self._around else -1


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
