"""One direction of telling: drafts drawn by a model from what is given, and what a model thinks of somebody else's.

A model that reads from the end draws its drafts from the end too; this file knows nothing of how two drafts meet.

Legend: B drafts side by side, T drawn units, V vocabulary, C units asked about.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fabula.endings import LETTER, WORD, kind_of
from fabula.engine import Floats, Integers, State
from fabula.sampling import FAR, Filter, choose
from fabula.storyteller import Storyteller
from fabula.tale import PATIENCE
from fabula.tokens import Tokenizer

Heard = tuple[Floats, State]
"""Log-probabilities of the next unit (B, V), and what the model remembers."""


@dataclass(frozen=True)
class Cut:
    """A place between two words up to which a draft may be used."""

    units: int
    """Drawn units up to here."""
    words: int
    text: str
    """Them, as they are read."""


@dataclass
class Draft:
    """A text as it is drawn, forwards or from its end."""

    tokenizer: Tokenizer
    backward: bool
    units: list[int] = field(default_factory=list)
    """In the order in which they were drawn."""
    words: int = 0
    """Words that have begun; of a draft from the end, that have ended."""
    cuts: list[Cut] = field(default_factory=list)
    text: str = ""
    """What it says so far, as it is read."""
    open_bytes: bytes = b""
    """Of a character that is not complete."""
    _place: Cut = Cut(0, 0, "")
    """Where the last character ended."""
    _inside: bool = False

    def piece(self, unit: int) -> tuple[str, bytes]:
        """The characters that a unit would complete, and the bytes of the one that it would begin."""
        return _pieced(self.tokenizer.spelling(unit), self.open_bytes, backward=self.backward)

    def take(self, unit: int) -> None:
        """It has come."""
        piece, rest = self.piece(unit)
        before, after = (piece[-1:], self.text[:1]) if self.backward else (self.text[-1:], piece[:1])
        if not self.open_bytes:
            self._place = Cut(len(self.units), self.words, self.text)
        if self._place.units and (not self.tokenizer.lossless or (piece and _is_gap(before, after))):
            self.cuts.append(self._place)
        for character in reversed(piece) if self.backward else piece:
            kind = kind_of(character)
            self.words += kind == WORD or (kind == LETTER and not self._inside)
            self._inside = kind == LETTER
        self.text = piece + self.text if self.backward else self.text + piece
        self.open_bytes = rest
        self.units.append(unit)


_CONTINUING = bytes(range(0x80, 0xC0))
"""Bytes that no character begins with."""


def _pieced(spelling: bytes, rest: bytes, *, backward: bool) -> tuple[str, bytes]:
    """The characters complete when a spelling joins the rest of others, and what is left of the next one."""
    if not backward:
        text, used = codecs.utf_8_decode(rest + spelling, "replace", False)
        return text, (rest + spelling)[used:]
    whole = spelling + rest
    left = len(whole) - len(whole.lstrip(_CONTINUING))
    return whole[left:].decode("utf-8", "replace"), whole[:left]


class Spelling:
    """Which units leave no character broken, one direction of a vocabulary."""

    def __init__(self, tokenizer: Tokenizer, *, backward: bool) -> None:
        self._spellings = [tokenizer.spelling(unit) for unit in range(tokenizer.end)]
        self._backward, self._masks = backward, dict[bytes, NDArray[np.bool_]]()

    def sound(self, rest: bytes) -> NDArray[np.bool_]:
        """Which units may come when these bytes of a character are there, (V,); never the end of a story."""
        if rest not in self._masks:
            fitting = (self._fits(spelling, rest) for spelling in self._spellings)
            self._masks[rest] = np.array([*fitting, False])
        return self._masks[rest]

    def _fits(self, spelling: bytes, rest: bytes) -> bool:
        edge = spelling[-1:] if self._backward else spelling[:1]
        if rest and edge < b"\x80":
            return False  # most of them
        text, left = _pieced(spelling, rest, backward=self._backward)
        # Python takes the first two bytes of half a surrogate pair for the beginning of a character.
        return "\ufffd" not in text and len(left) < 4 and not (left[:1] == b"\xed" and left[1:2] >= b"\xa0")


def _is_gap(before: str, after: str) -> bool:
    """Whether words may be set apart between two characters; the white space between them goes with the second.

    >>> _is_gap("g", " "), _is_gap("d", "o"), _is_gap(" ", " "), _is_gap("猫", "は")
    (True, False, False, True)
    """
    if not before or before.isspace() or not after or unicodedata.category(after).startswith("M"):
        return False
    return after.isspace() or kind_of(after) == WORD


class Voice:
    """A model as one that reads on; what it remembers is a state, or with a window its last units."""

    def __init__(self, teller: Storyteller) -> None:
        self.tokenizer, self.engine, self._window = teller.tokenizer, teller.engine, teller.settings.model.window

    def begin(self, ids: Sequence[int]) -> Heard:
        """What may come after a beginning, for one draft."""
        end = self.tokenizer.end
        if self._window:
            last = list(ids)[max(0, len(ids) - self._window) :]
            return self._look(np.array([[end] * (self._window - len(last)) + last]))
        told = np.array([[end, *ids]])
        return self.engine.step(told[:, -1], self.engine.read(told[:, :-1], self.engine.initial_state(1)))

    def go_on(self, units: Integers, memory: State) -> Heard:
        """What may come after one unit more of each: units (B,)."""
        if self._window:
            return self._look(np.concatenate([memory[0][:, 1:], units[:, None]], axis=1).astype(np.int64))
        return self.engine.step(units, memory)

    def _look(self, units: Integers) -> Heard:
        """Units (B, W), all that it sees."""
        state = self.engine.read(units[:, :-1], self.engine.initial_state(len(units)))
        return self.engine.step(units[:, -1], state)[0], (units.astype(np.float32),)


class Guide(Protocol):
    """What may come next in a draft; `fabula.constraints.Constraints` is one."""

    def allows(self, unit: int) -> bool:
        """Whether a unit may come next."""
        ...

    def instead(self, unit: int, scores: Floats, told: int) -> list[int]:
        """Units that come in place of the one that was drawn, mostly none."""
        ...

    def take(self, unit: int) -> None:
        """It has come."""
        ...


def draw(
    voice: Voice,
    heard: Heard,
    drafts: Sequence[Draft],
    *,
    given: Sequence[int],
    words: int,
    filters: Sequence[Filter],
    rngs: Sequence[np.random.Generator],
    guides: Sequence[Guide | None],
    first: NDArray[np.bool_] | None = None,
) -> None:
    """Go on with drafts, after units `given`, until each has one word more than `words`. No story ends on the way.

    `first` (V,) are the units that may come first, all when not given.
    """
    scores, memory = heard
    spelling = Spelling(voice.tokenizer, backward=drafts[0].backward)
    rows, going, queues = np.zeros(len(drafts), np.intp), list(range(len(drafts))), [list[int]() for _ in drafts]
    while going:
        for number, row in zip(going, rows, strict=True):
            draft, guide, queue = drafts[number], guides[number], queues[number]
            if not queue:
                may = spelling.sound(draft.open_bytes)
                may = may & first if first is not None and not draft.units else may
                left = np.where(may, scores[row], np.float32(-np.inf))
                allowed = guide.allows if guide else None
                drawn = choose(left, [*given[-FAR:], *draft.units], filters, rngs[number], allowed)
                queue += (guide.instead(drawn, left, draft.words) if guide else []) or [drawn]
            draft.take(queue.pop(0))
            if guide:
                guide.take(draft.units[-1])
        drawn_units = np.array([drafts[number].units[-1] for number in going])
        scores, memory = voice.go_on(drawn_units, tuple(part[rows] for part in memory))
        unfinished = (drafts[number] for number in going)
        still = [
            place
            for place, draft in enumerate(unfinished)
            if draft.words <= words and len(draft.units) < PATIENCE * (words + 1)
        ]
        going, rows = [going[place] for place in still], np.array(still, np.intp)


@dataclass(frozen=True)
class Reading:
    """What a model thinks of some texts, unit by unit."""

    nats: Floats
    """Of the first t units, (B, T + 1)."""
    said: Floats
    """Log-probabilities of some units after the first t of each, (B, T + 1, C)."""
    memories: list[State]
    """After the first t units, T + 1 times (B, ...)."""

    def after(self, places: Sequence[tuple[int, int]]) -> State:
        """What it remembers at some places, each a text and how many of its units were read."""
        slots = range(len(self.memories[0]))
        return tuple(np.stack([self.memories[count][slot][text] for text, count in places]) for slot in slots)


def read(voice: Voice, heard: Heard, texts: Sequence[Sequence[int]], asked: Integers) -> Reading:
    """Read some texts after the same beginning, and listen for the units `asked` (C,)."""
    scores, memory = (np.repeat(heard[0], len(texts), 0), tuple(np.repeat(part, len(texts), 0) for part in heard[1]))
    units = _padded(texts, voice.tokenizer.end)  # (B, T)
    nats, said, memories = [np.zeros(len(texts), np.float32)], [scores[:, asked]], [memory]
    for column in units.T:
        nats.append(nats[-1] - scores[np.arange(len(texts)), column])
        scores, memory = voice.go_on(column, memory)
        said.append(scores[:, asked])
        memories.append(memory)
    return Reading(np.stack(nats, 1), np.stack(said, 1), memories)


def cost(voice: Voice, memory: State, texts: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Nats of the units of each text but the first, for somebody who remembers what was before: (B,)."""
    units = _padded(texts, voice.tokenizer.end)
    lengths = np.array([len(text) for text in texts])
    total = np.zeros(len(texts), np.float64)
    for place in range(units.shape[1] - 1):
        scores, memory = voice.go_on(units[:, place], memory)
        found = -scores[np.arange(len(texts)), units[:, place + 1]]
        total += np.where(place + 1 < lengths, found, 0.0)
    return total


def _padded(texts: Sequence[Sequence[int]], end: int) -> Integers:
    units = np.full((len(texts), max(map(len, texts))), end, np.int64)
    for row, text in zip(units, texts, strict=True):
        row[: len(text)] = text
    return units
