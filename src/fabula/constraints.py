"""What must not be written, and what must: judged by the words a unit would make; knows no network.

Words are those of the room of texts: lower case, without their marks; in scripts without spaces each character is one.
A word that a unit leaves unfinished counts as it stands, so a story is never led to where only the forbidden goes on.
"""

from __future__ import annotations

import codecs
import functools
import math
import re
import reprlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from fabula.endings import LETTER, kind_of
from fabula.errors import UsageError
from fabula.novelty import LOST, SHORTEST, Index, run_hash, word_hash
from fabula.sampling import Scores
from fabula.tokens import Tokenizer

LIKELY = math.log(0.02)
"""A required word that is likelier than this comes before it is due."""

LONGEST = 16
"""Words that a required phrase may have."""

_LETTERS = re.compile(rb"\w+")
_PLAIN = re.compile(r"\w+", re.ASCII)

Kind = tuple[tuple[int, int], bool, bytes]
"""Words that a unit begins at most, between words and in the midst of one; whether it ends in the midst of one, as far
as is known; its spelling."""

Spans = Callable[[str], Iterable[tuple[int, int, str]]]
"""Finds the words of a text: where each begins and ends, and the word as it is compared."""


class Rule(ABC):
    """What one constraint makes of the words of a story, one after another."""

    free = 0
    """So many words may come next whatever they are."""

    @abstractmethod
    def allows(self, words: Sequence[str]) -> bool:
        """Whether these may come next."""

    @abstractmethod
    def take(self, words: Sequence[str]) -> None:
        """They have come."""


class Banned(Rule):
    """No phrase of some: each is a sequence of words."""

    def __init__(self, phrases: Iterable[Sequence[str]]) -> None:
        self._phrases = {tuple(phrase) for phrase in phrases if phrase}
        self._longest = max(map(len, self._phrases), default=1)
        self._last: deque[str] = deque(maxlen=self._longest - 1)

    def allows(self, words: Sequence[str]) -> bool:
        """No phrase ends with one of these."""
        line = (*self._last, *words)
        ends = range(len(self._last) + 1, len(line) + 1)
        return not any(line[max(0, end - size) : end] in self._phrases for end in ends for size in self._sizes())

    def take(self, words: Sequence[str]) -> None:
        """Remember as many as a phrase can span."""
        self._last.extend(words)

    def _sizes(self) -> range:
        return range(1, self._longest + 1)


class CopyGuard(Rule):
    """No run of more than `most` words, three at least, that the source has too."""

    def __init__(self, index: Index, most: int) -> None:
        self._index, self._most = index, most
        self._last: list[str] = []  # as many words as may be copied
        self.free = most - SHORTEST + 1  # as many as the longest run there may be so far has left to grow

    def allows(self, words: Sequence[str]) -> bool:
        """Whether no run grows too long with these."""
        if len(words) <= self.free:
            return True
        line = [*self._last, *words]
        return all(self._run(line[:end]) <= self._most for end in range(len(self._last) + 1, len(line) + 1))

    def take(self, words: Sequence[str]) -> None:
        """They lie behind the next ones."""
        self._last = [*self._last, *words][-self._most :]
        self.free = self._most - max(self._run(self._last), SHORTEST - 1)

    def _run(self, line: Sequence[str]) -> int:
        """Words of the longest run that ends with these: not fewer than it has, and if more than `most` just as many.

        As long as the short runs that a run consists of are few, nobody need know whether they stand in one place.
        """
        length, far = SHORTEST - 1, max(0, len(line) - self._most - 1)
        starts = range(len(line) - SHORTEST, far - 1, -1)
        for start in starts:
            if not self._index.has(run_hash(map(word_hash, line[start : start + SHORTEST]))):
                return length
            length += 1
        if length <= self._most:
            return length
        trail = LOST
        for start in reversed(starts):
            trail = self._index.go_on(trail, run_hash(map(word_hash, line[start : start + SHORTEST])))
        return trail.longest


class Required:
    """Words that must come: each takes the place of what would begin a new word, where it fits best or is due.

    Of n words the k-th is due when k/(n+1) of the story's words are told; before that it comes where the network finds
    it likely enough.
    """

    def __init__(self, tokenizer: Tokenizer, texts: Sequence[str], words: int, *, spans: Spans) -> None:
        self._pending = [([word for _, _, word in spans(text)], text) for text in texts]
        self._count, self._words, self._last = len(texts), words, deque[str](maxlen=LONGEST - 1)
        self._tokenizer = tokenizer
        for words_of, text in self._pending:
            if not words_of:
                raise UsageError(f"require must be a word, got {reprlib.repr(text)}")

    @property
    def is_pending(self) -> bool:
        """Whether a word has not come yet."""
        return bool(self._pending)

    def take(self, words: Sequence[str]) -> None:
        """Words that have come, perhaps the required ones."""
        self._pending = self._without(words)
        self._last.extend(words)

    def due(
        self, scores: Scores, told: int, *, after: Sequence[str], now: bool, fits: Callable[[Sequence[str]], bool]
    ) -> list[int]:
        """The units of the word that is to come after the words `after`, or none; `now` is before a story's end."""
        pending = self._without(after)
        late = now or told >= (self._count - len(pending) + 1) * self._words / (self._count + 1)
        for words, text in pending:
            spaced = " " if kind_of(text[0]) == LETTER else ""
            units = [int(unit) for unit in self._tokenizer.encode(spaced + text)]
            # A space, or part of a character, is likely whatever follows: the word then waits until it is due.
            telling = self._tokenizer.spelling(units[0]).decode("utf-8", "ignore").strip()
            if (late or (telling and scores[units[0]] >= LIKELY)) and fits([*after, *words]):
                return units
        return []

    def is_said(self, word: str) -> bool:
        """Whether a pending word would have come with this one."""
        return bool(word) and len(self._without([word])) < len(self._pending)

    def _without(self, words: Sequence[str]) -> list[tuple[list[str], str]]:
        """What is still pending when these words have come."""
        line, ends = [*self._last, *words], range(len(self._last) + 1, len(self._last) + len(words) + 1)
        return [(own, text) for own, text in self._pending if not any(line[:end][-len(own) :] == own for end in ends)]


class Constraints:
    """All rules of one story, and the text that is not yet a word.

    `spans` finds the words of a text and where they begin and end (`fabula.text.word_spans`).
    """

    def __init__(
        self, tokenizer: Tokenizer, rules: Sequence[Rule], *, letters: str = "", required: Required | None, spans: Spans
    ) -> None:
        self._tokenizer, self._rules, self._required, self._spans = tokenizer, rules, required, spans
        self.requires = required is not None
        """Whether words must come, or had to."""
        self._letters = frozenset(letters.casefold())
        self._needs_all = bool(letters) or self.requires  # these look at every unit
        self._bytes, self._word = b"", ""  # of a character, and of a word, that are not complete
        self._closed = False  # a required word is said, and must not grow into another
        # What was found about the unit that was asked about last: mostly it is the one that comes.
        self._looked: tuple[int, tuple[str, bytes, list[str], str]] | None = None
        # Spellings of which the rules have not been told: of so few words that none can break a rule.
        self._waiting, self._free, self._inside = list[bytes](), 0, False
        self._kinds: dict[int, Kind] = {}

    @property
    def owes_words(self) -> bool:
        """Whether a required word has not come yet."""
        return self._required is not None and self._required.is_pending

    def allows(self, unit: int) -> bool:
        """Whether a unit may come next; the end of a story always may."""
        if self._is_free(unit):
            return True
        piece, _, words, unfinished = self._look(unit)
        if self._letters and not self._letters.isdisjoint(piece.casefold()):
            return False
        if self._closed and any(end > len(self._word) > start for start, end, _ in self._spans(self._word + piece)):
            return False
        words = [*words, unfinished.lower()] if unfinished else words
        return all(rule.allows(words) for rule in self._rules) if words else True

    def instead(self, unit: int, scores: Scores, told: int) -> list[int]:
        """Units of a required word that come in place of the one that was drawn, mostly none.

        `scores` (V,) are the log-probabilities, `told` the words so far.
        """
        if self._required is None or self._bytes:
            return []
        piece, _ = self._piece(unit)
        ends = unit == self._tokenizer.end
        if not ends and kind_of(piece[:1] or "x") == LETTER:
            return []  # in the midst of a word
        after = [self._word.lower()] if self._word else []
        return self._required.due(
            scores, told, after=after, now=ends, fits=lambda words: all(rule.allows(words) for rule in self._rules)
        )

    def begin(self, prompt: str, begun: bytes = b"") -> None:
        """The story goes on from here, `begun` being part of a character; what is told already is no fault of it."""
        self._bytes = begun
        words, self._word = self._words(prompt)
        for rule in self._rules:
            rule.take(words)
        self._set_free()

    def take(self, unit: int) -> None:
        """It has come."""
        if self._is_free(unit):
            words, ends_inside, spelled = self._kinds[unit]
            self._free -= words[self._inside]
            self._inside = ends_inside
            self._waiting.append(spelled)
            return
        _, self._bytes, words, self._word = self._look(unit)
        self._looked = None
        self._closed = self._required is not None and self._required.is_said(self._word.lower())
        if unit == self._tokenizer.end and self._word:
            words, self._word = [*words, self._word.lower()], ""
        if words:
            for rule in (*self._rules, *([self._required] if self._required else [])):
                rule.take(words)
        self._set_free()

    def _is_free(self, unit: int) -> bool:
        """Whether a unit may come whatever it says; the rules are told what has come if that is not known."""
        kind = self._kinds.get(unit)
        if kind is None:
            kind = self._kinds[unit] = _kind(b"" if unit == self._tokenizer.end else self._tokenizer.spelling(unit))
        if kind[0][self._inside] <= self._free:
            return True
        if not self._waiting:
            return False
        self._tell_rules()
        return kind[0][self._inside] <= self._free

    def _tell_rules(self) -> None:
        """Of the units that have come since they were told last."""
        spelled = self._bytes + b"".join(self._waiting)
        self._waiting.clear()
        self._looked = None
        piece, used = codecs.utf_8_decode(spelled, "replace", False)
        self._bytes = spelled[used:]
        words, self._word = self._words(piece)
        for rule in self._rules:
            rule.take(words)
        self._set_free()

    def _set_free(self) -> None:
        """How many words may come whatever they are; of one that has begun nobody knows yet what it will be."""
        self._inside = self._word[-1:].isascii() and self._word[-1:].isalnum()
        self._free = -1 if self._needs_all else min([rule.free for rule in self._rules], default=0) - bool(self._word)

    def _look(self, unit: int) -> tuple[str, bytes, list[str], str]:
        """What a unit would make of the story."""
        if self._looked is None or self._looked[0] != unit:
            piece, rest = self._piece(unit)
            self._looked = unit, (piece, rest, *self._words(piece))
        return self._looked[1]

    def _piece(self, unit: int) -> tuple[str, bytes]:
        """The characters that a unit completes, and the bytes of the one that it begins."""
        whole = self._bytes + self._tokenizer.spelling(unit)
        text, used = codecs.utf_8_decode(whole, "replace", False)
        return text, whole[used:]

    def _words(self, piece: str) -> tuple[list[str], str]:
        """The words that are complete after a piece of text, and what may yet grow."""
        text = self._word + piece
        if text.isascii():  # which need no search for marks and for scripts without spaces: a third of the time
            plain = _PLAIN.findall(text.lower())
            return plain, plain.pop() if text[-1:].isalnum() or text[-1:] == "_" else ""
        found = list(self._spans(text))
        if not found or found[-1][1] < len(text):
            return [word for _, _, word in found], ""
        return [word for _, _, word in found[:-1]], text[found[-1][0] :]


@functools.lru_cache(maxsize=1 << 16)
def _kind(spelled: bytes) -> Kind:
    """One without a spelling must be looked at always."""
    if not spelled:
        return (1 << 30, 1 << 30), False, spelled
    if not spelled.isascii():
        return (len(spelled), len(spelled)), False, spelled  # a word has one character at least
    words = _LETTERS.findall(spelled)
    begun = len(words) - spelled.startswith(tuple(words[:1]))
    return (len(words), begun), spelled.endswith(tuple(words[-1:])), spelled
