"""What must not be written, and what must: judged by the words a unit would make; knows no network.

What is called for every unit is written out plainly: between two steps of a network little of a program is left near
the processor, and a comprehension or a `map` is one thing more to be fetched again (docs/log.md).

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
from fabula.novelty import LOST, SHORTEST, Index, run_hash
from fabula.sampling import Scores
from fabula.tokens import Tokenizer

LIKELY = math.log(0.02)
"""A required word that is likelier than this comes before it is due."""

LONGEST = 16
"""Words that a required phrase may have."""

_LETTERS = re.compile(rb"\w+")
_plain_words = re.compile(r"\w+", re.ASCII).findall
_decoded = codecs.utf_8_decode

UNKNOWN = 255
"""Words that a unit begins if nobody has looked yet, or if there are very many."""

Spans = Callable[[str], Iterable[tuple[int, int, str]]]
"""Finds the words of a text: where each begins and ends, and the word as it is compared."""


class Rule(ABC):
    """What one constraint makes of the words of a story, one after another."""

    free = 0
    """So many words may come next whatever they are."""

    @abstractmethod
    def allows(self, words: list[str]) -> bool:
        """Whether these may come next."""

    @abstractmethod
    def take(self, words: list[str]) -> None:
        """They have come."""


class Banned(Rule):
    """No phrase of some: each is a sequence of words."""

    def __init__(self, phrases: Iterable[Sequence[str]]) -> None:
        self._phrases = {tuple(phrase) for phrase in phrases if phrase}
        self._longest = max(map(len, self._phrases), default=1)
        self._last: deque[str] = deque(maxlen=self._longest - 1)

    def allows(self, words: list[str]) -> bool:
        """No phrase ends with one of these."""
        line = (*self._last, *words)
        ends = range(len(self._last) + 1, len(line) + 1)
        return not any(line[max(0, end - size) : end] in self._phrases for end in ends for size in self._sizes())

    def take(self, words: list[str]) -> None:
        """Remember as many as a phrase can span."""
        self._last.extend(words)

    def _sizes(self) -> range:
        return range(1, self._longest + 1)


class CopyGuard(Rule):
    """No run of more than `most` words, three at least, that the source has too."""

    def __init__(self, index: Index, most: int) -> None:
        self._index, self._most = index, most
        self._last: list[str] = []  # as many words as may be copied
        self._found: tuple[list[str], int] = [], SHORTEST - 1  # for words that are allowed are mostly taken then
        self.free = most - SHORTEST + 1  # as many as the longest run there may be so far has left to grow

    def allows(self, words: list[str]) -> bool:
        """Whether no run grows too long with these."""
        line, safe = self._last + words, len(self._last) + self.free
        while safe < len(line):  # no run is too long that ends with one of so many
            run = self._run(line[:safe])
            if run >= self._most:
                safe += 1
                run = self._run(line[:safe])
                if run > self._most:
                    return False
            safe += self._most - run
        return True

    def take(self, words: list[str]) -> None:
        """They lie behind the next ones."""
        line = self._last + words
        run = self._run(line)
        self._last, self.free = line[-self._most :], self._most - run if run < self._most else 0

    def _run(self, line: list[str]) -> int:
        """Words of the longest run that ends with these: not fewer than it has, and if more than `most` just as many.

        As long as the short runs that a run consists of are few, nobody need know whether they stand in one place.
        """
        known, run = self._found
        if line != known:
            run = self._find(line)
            self._found = line, run
        return run

    def _find(self, line: list[str]) -> int:
        if len(line) < SHORTEST or not self._index.has(run_hash(line[-SHORTEST:])):
            return SHORTEST - 1  # as nearly always
        length, far = SHORTEST, max(0, len(line) - self._most - 1)
        for start in range(len(line) - SHORTEST - 1, far - 1, -1):
            if not self._index.has(run_hash(line[start : start + SHORTEST])):
                return length
            length += 1
        if length <= self._most:
            return length
        trail = LOST
        for start in range(far, len(line) - SHORTEST + 1):
            trail = self._index.go_on(trail, run_hash(line[start : start + SHORTEST]))
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

    def take(self, words: list[str]) -> None:
        """Words that have come, perhaps the required ones."""
        self._pending = self._without(words)
        self._last.extend(words)

    def due(
        self, scores: Scores, told: int, *, after: list[str], now: bool, fits: Callable[[list[str]], bool]
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
        self._tokenizer, self._rules, self._required, self._spans = tokenizer, tuple(rules), required, spans
        self._told = self._rules if required is None else (*self._rules, required)  # who is told of words
        self.requires = required is not None
        """Whether words must come, or had to."""
        self._letters = frozenset(letters.casefold())
        self._needs_all = bool(letters) or self.requires  # these look at every unit
        self._bytes, self._word = b"", ""  # of a character, and of a word, that are not complete
        self._closed = False  # a required word is said, and must not grow into another
        # What was found about the unit that was asked about last: mostly it is the one that comes.
        self._looked: tuple[int, tuple[str, bytes, list[str], str]] | None = None
        # Units of which the rules have not been told: of so few words that none can break a rule.
        self._waiting, self._free = list[int](), 0
        self._openings = _openings(tokenizer)
        self._begins = self._openings.words[False]

    @property
    def owes_words(self) -> bool:
        """Whether a required word has not come yet."""
        return self._required is not None and self._required.is_pending

    def allows(self, unit: int) -> bool:
        """Whether a unit may come next; the end of a story always may."""
        begun = self._begins[unit]
        if begun <= self._free or (begun == UNKNOWN and self._learn(unit) <= self._free):
            return True
        piece, _, words, unfinished = self._look(unit)
        if self._letters and not self._letters.isdisjoint(piece.casefold()):
            return False
        if self._closed and any(end > len(self._word) > start for start, end, _ in self._spans(self._word + piece)):
            return False
        words = [*words, unfinished.lower()] if unfinished else words
        if words:
            for rule in self._rules:
                if not rule.allows(words):
                    return False
        return True

    def instead(self, unit: int, scores: Scores, told: int) -> list[int]:
        """Units of a required word that come in place of the one that was drawn, mostly none.

        `scores` (V,) are the log-probabilities, `told` the words so far.
        """
        if self._required is None or self._bytes:
            return []
        piece = self._look(unit)[0]
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
        begun = self._begins[unit]
        if begun <= self._free:
            self._free -= begun
            self._begins = self._openings.after[unit]
            self._looked = None
            self._waiting.append(unit)
            return
        _, self._bytes, come, self._word = self._look(unit)
        self._looked = None
        self._waiting.clear()
        if self._required is not None:
            self._closed = self._required.is_said(self._word.lower())
        if unit == self._tokenizer.end and self._word:
            come, self._word = [*come, self._word.lower()], ""
        if come:
            for rule in self._told:
                rule.take(come)
        self._set_free()

    def _set_free(self) -> None:
        """How many words may come whatever they are; of one that has begun nobody knows yet what it will be."""
        free = UNKNOWN - 1 if self._rules else 0
        for rule in self._rules:
            free = min(free, rule.free)
        self._free = -1 if self._needs_all else free - bool(self._word)
        self._begins = self._openings.words[self._word[-1:].isascii() and self._word[-1:].isalnum()]

    def _learn(self, unit: int) -> int:
        """The words that a unit begins, found out for all stories to come."""
        spelled = b"" if unit == self._tokenizer.end else self._tokenizer.spelling(unit)
        self._openings.learn(unit, spelled)
        return self._begins[unit]

    def _look(self, unit: int) -> tuple[str, bytes, list[str], str]:
        """What a unit makes of the story, together with what waits, of which only now the last word is known to be
        over: the characters, the bytes of one that is not complete, the words, the one that is not."""
        looked = self._looked
        if looked is None or looked[0] != unit:
            spelled = self._bytes + self._tokenizer.spelled((*self._waiting, unit))
            piece, used = _decoded(spelled, "replace", False)
            words, word = self._words(piece)
            looked = self._looked = unit, (piece, spelled[used:], words, word)
        return looked[1]

    def _words(self, piece: str) -> tuple[list[str], str]:
        """The words that are complete after a piece of text, and what may yet grow."""
        text = self._word + piece
        if text.isascii():  # which need no search for marks and for scripts without spaces: a third of the time
            plain = _plain_words(text.lower())
            return plain, plain.pop() if text[-1:].isalnum() or text[-1:] == "_" else ""
        found = list(self._spans(text))
        if not found or found[-1][1] < len(text):
            return [word for _, _, word in found], ""
        return [word for _, _, word in found[:-1]], text[found[-1][0] :]


class _Openings:
    """Words that each unit of a tokenizer begins at most, a byte each: a story asks twice about each of its units."""

    def __init__(self, size: int) -> None:
        self.words = tuple(bytearray([UNKNOWN]) * size for _ in range(2))
        """Of every unit, between words and in the midst of one."""
        self.after = [self.words[False]] * size
        """Of these the one for what follows a unit, as far as is known."""

    def learn(self, unit: int, spelled: bytes) -> None:
        """What a unit spells; one without a spelling must be looked at always."""
        between = inside = len(spelled) or UNKNOWN  # a word has one character at least
        if spelled.isascii() and spelled:
            words = _LETTERS.findall(spelled)
            between = len(words)
            inside = between - spelled.startswith(tuple(words[:1]))
            self.after[unit] = self.words[spelled.endswith(tuple(words[-1:]))]
        self.words[False][unit], self.words[True][unit] = min(between, UNKNOWN), min(inside, UNKNOWN)


@functools.lru_cache(maxsize=16)
def _openings(tokenizer: Tokenizer) -> _Openings:
    """One for all stories."""
    return _Openings(tokenizer.size)
