"""How well a network foretells some stories: bits per byte, perplexity, accuracy; knows no text and no network inside.

Legend: B lanes or rows, T time, N predictions, W window, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fabula.errors import TextError

Ids = NDArray[np.int32]
Integers = NDArray[np.int64]
Costs = NDArray[np.float32] | NDArray[np.float64]
"""Nats of each prediction in the order of the stories, each story's end mark after its units: shape (N,)."""
S = TypeVar("S")

LANES = 64
"""Most lanes that a stream is cut into."""

LANE = 1024
"""Fewest predictions in a lane: a stream of less than two lanes is read in one."""

WARM_UP = 256
"""Units that a lane reads before its first prediction, in place of all that came before."""

STEPS = 128
"""Most moments judged in one call."""

_NUMBERS = 1 << 22
"""Scores of all units computed in one call, which bounds its memory for every vocabulary."""

_SPANS = 1 << 16
"""Units read in one call of windows."""


class Scorer(Protocol[S]):
    """A network that can be measured; its state is its own affair."""

    def initial_state(self, batch: int) -> S:
        """The state before the first unit."""
        ...

    def score(
        self, ids: NDArray[np.int64], targets: NDArray[np.int64], state: S
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], S]:
        """Read ids (B, T), judge the last K moments by targets (B, K): nats (B, K), hits (B, K), state."""
        ...


class Helpers(Protocol):
    """Several processes, each of which judges its share of the predictions."""

    rank: int
    size: int

    def added(self, values: NDArray[Any]) -> NDArray[Any]:
        """Arrays of all of them, added up."""
        ...


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Size of the stories' text: UTF-8 bytes, characters, words."""

    bytes: int
    chars: int
    words: int


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What some predictions cost.

    The cost of the end marks is in the nats, but they have no bytes, characters or words: all figures lie on the safe
    side of those that leave the ends of the stories out.
    """

    nats: float
    """Cost of all predictions, the stories' end marks included."""
    tokens: int
    """Predictions, the stories' end marks included."""
    bytes: int
    chars: int
    words: int

    @property
    def bits_per_byte(self) -> float:
        """The one number to compare units and languages by."""
        return self.nats / math.log(2) / self.bytes

    @property
    def nats_per_char(self) -> float:
        """Nats for each character, as published for Shakespeare."""
        return self.nats / self.chars

    @property
    def perplexity(self) -> float:
        """Perplexity of a unit."""
        return _exp(self.nats / self.tokens)

    @property
    def perplexity_per_word(self) -> float:
        """Perplexity of a word, whatever the unit."""
        return _exp(self.nats / max(self.words, 1))


@dataclass(frozen=True, kw_only=True)
class Helped(Figures):
    """The same predictions made with help that a network alone does not have, and so counted apart."""

    how: Mapping[str, float]
    """The numbers that the help was given with."""

    def to_json(self) -> dict[str, float | None]:
        """One of the objects that `fabula evaluate --json` prints inside its own."""
        figures = {
            "bits_per_byte": self.bits_per_byte,
            "perplexity": _finite(self.perplexity),
            "perplexity_per_word": _finite(self.perplexity_per_word),
        }
        return {**figures, **self.how}


@dataclass(frozen=True, kw_only=True)
class Measure(Figures):
    """What a measurement found."""

    correct: int
    """Predictions whose likeliest unit was the right one."""
    costs: Costs = field(default_factory=lambda: np.empty(0, np.float32), repr=False, compare=False)
    helped: Mapping[str, Helped] = field(default_factory=dict, hash=False)
    """What was asked for besides, by name."""

    @property
    def accuracy(self) -> float:
        """Share of the predictions that were right."""
        return self.correct / self.tokens

    def with_help(self, name: str, costs: Costs, how: Mapping[str, float]) -> Measure:
        """The same measurement with what its predictions cost when they are helped."""
        found = Helped(
            nats=float(costs.sum(dtype=np.float64)), tokens=self.tokens, bytes=self.bytes, chars=self.chars,
            words=self.words, how=how,
        )  # fmt: skip
        return replace(self, helped={**self.helped, name: found})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measure:
        """A measurement as a model folder holds it; characters and words come out to the nearest."""
        nats = data["bits_per_byte"] * math.log(2) * data["bytes"]
        word = data["perplexity_per_word"]
        return cls(
            nats=nats, tokens=data["tokens"], bytes=data["bytes"], correct=round(data["accuracy"] * data["tokens"]),
            chars=round(nats / data["nats_per_char"]), words=round(nats / math.log(word)) if word else 0,
        )  # fmt: skip

    def to_json(self) -> dict[str, float | int | dict[str, float | None] | None]:
        """What `fabula evaluate --json` prints; a perplexity beyond all bounds is null."""
        return {
            "bits_per_byte": self.bits_per_byte,
            "nats_per_char": self.nats_per_char,
            "perplexity": _finite(self.perplexity),
            "perplexity_per_word": _finite(self.perplexity_per_word),
            "accuracy": self.accuracy,
            "tokens": self.tokens,
            "bytes": self.bytes,
            **{name: helped.to_json() for name, helped in self.helped.items()},
        }


def measure(
    scorer: Scorer[S],
    streams: Sequence[Ids],
    end: int,
    counts: Counts,
    *,
    window: int = 0,
    helpers: Helpers | None = None,
) -> Measure:
    """Measure a network on stories (ids without end marks); a function of the stories alone, and repeatable.

    Without a window the stories are one stream `end s1 end s2 ... end`, and every unit after the first is foretold with
    the state carried all the way. A long stream is cut into lanes that are read side by side, each warmed up with the
    `WARM_UP` units before it; a short one is read in one lane. With a window every unit is foretold from the `window`
    units before it, with end marks in place of what came before the story.

    With `helpers` all of them must call it, and all get the same.

    Errors: TextError when there is no text.
    """
    if not streams or not counts.bytes:
        raise TextError("expected a text to measure on, but there is none: give a file that is not empty")
    nats, correct, tokens = 0.0, 0, sum(len(stream) + 1 for stream in streams)
    costs = np.zeros(tokens, np.float32)
    share = (helpers.rank, helpers.size) if helpers else (0, 1)
    judged = _windows(scorer, streams, end, window, share) if window else _carried(scorer, streams, end, share)
    for places, found, hits in judged:
        nats += float(found.sum(dtype=np.float64))
        correct += int(hits.sum())
        costs[places] = found
    if helpers and helpers.size > 1:
        costs, (nats, correct) = helpers.added(costs), helpers.added(np.array([nats, correct], np.float64)).tolist()
        correct = round(correct)
    return Measure(
        nats=nats, tokens=tokens, correct=correct, costs=costs, bytes=counts.bytes, chars=counts.chars,
        words=counts.words,
    )  # fmt: skip


def seconds_for(scorer: Scorer[S], tokens: int, end: int, *, window: int = 0) -> float:
    """Seconds that `measure` will take for so many predictions, by the time of its second call."""
    if window:
        batch, steps, lead = max(1, min(_NUMBERS // (end + 1), _SPANS // window, tokens)), 1, 0
    else:
        batch = max(1, min(LANES, tokens // LANE))
        steps, lead = min(STEPS, _NUMBERS // (batch * (end + 1)) or 1, tokens), WARM_UP * batch
    ids = np.zeros((batch, window or steps), np.int64)
    taken = []
    for _ in range(2):
        begun = time.perf_counter()
        scorer.score(ids, ids[:, :steps], scorer.initial_state(batch))
        taken.append(time.perf_counter() - begun)
    return taken[-1] * (tokens + lead) / (batch * steps)


def segments(streams: Sequence[Ids], end: int, *, length: int, window: int = 0) -> Iterator[tuple[Integers, Integers]]:
    """All predictions in the order of the stories, `length` at a time: units to read and targets.

    Without a window (1, T) each, of the one stream `end s1 end s2 ... end`, to be read with the state carried. With one
    (B, W) and (B, 1), to be read from the zero state; end marks stand in place of what came before a story.
    """
    lead = np.full(window or 1, end, np.int32)
    parts = [part for story in streams for part in (lead, story)]
    stream = np.concatenate([*parts, lead[:1]]).astype(np.int64)
    if not window:
        for first in range(0, len(stream) - 1, length):
            last = min(first + length, len(stream) - 1)
            yield stream[None, first:last], stream[None, first + 1 : last + 1]
        return
    lengths = np.array([len(story) for story in streams])
    starts = np.cumsum(lengths + window) - lengths
    targets = np.concatenate([np.arange(s, s + n + 1) for s, n in zip(starts, lengths, strict=True)])  # (N,)
    for first in range(0, len(targets), length):
        some = targets[first : first + length, None]  # (B, 1)
        yield stream[some + np.arange(-window, 0)], stream[some]


Judged = Iterator[tuple[Integers, NDArray[np.float32], NDArray[np.bool_]]]
"""Numbers of some predictions, their nats and hits, all of one shape; every prediction comes once."""


def _carried(scorer: Scorer[S], streams: Sequence[Ids], end: int, share: tuple[int, int]) -> Judged:
    """Judge the whole stream with carried state; of several shares of the lanes one."""
    rank, size = share
    mark = np.array([end], np.int32)
    stream = np.concatenate([mark, *(part for story in streams for part in (story, mark))]).astype(np.int64)  # (N+1,)
    total = len(stream) - 1
    lanes = min(LANES, total // LANE)
    if rank == 0:
        # The first predictions have nothing before them to warm up with: they are judged apart, from the zero state.
        yield from _judge(scorer, stream[None] if lanes < 2 else stream[None, : WARM_UP + 1], 0, end)
    if lanes < 2:
        return
    length = -(-(total - WARM_UP) // lanes)
    stream = np.append(stream, np.full(WARM_UP + lanes * length - total, end))
    starts = length * np.arange(lanes)[rank::size, None]  # (B, 1)
    if not len(starts):
        return
    rows = stream[starts + np.arange(WARM_UP + length + 1)]  # (B, WARM_UP + T + 1)
    for moments, nats, hits in _judge(scorer, rows, WARM_UP, end):
        places = starts + moments  # (B, T)
        real = places < total  # the last lane may run out before the others
        yield places[real], nats[real], hits[real]


def _judge(scorer: Scorer[S], rows: Integers, warm_up: int, end: int) -> Judged:
    """Judge all units of rows (B, n) but the first `warm_up + 1` of each, chunk by chunk from the zero state.

    The predictions of a row are numbered from 0, those of the warm-up included: the numbers are (1, T).
    """
    batch, count = rows.shape
    steps = max(1, min(STEPS, _NUMBERS // (batch * (end + 1))))
    state, first = scorer.initial_state(batch), 0
    for start in range(warm_up, count - 1, steps):
        stop = min(start + steps, count - 1)
        ids, targets = rows[:, first:stop], rows[:, start + 1 : stop + 1]
        nats, hits, state = scorer.score(np.ascontiguousarray(ids), np.ascontiguousarray(targets), state)
        yield np.arange(start, stop)[None], nats, hits
        first = stop


def _windows(scorer: Scorer[S], streams: Sequence[Ids], end: int, window: int, share: tuple[int, int]) -> Judged:
    """Judge every unit of every story, and its end mark, from the `window` units before it and the zero state."""
    length, done = max(1, min(_NUMBERS // (end + 1), _SPANS // window)), 0
    rank, size = share
    for number, (ids, targets) in enumerate(segments(streams, end, length=length, window=window)):
        if number % size == rank:
            nats, hits, _ = scorer.score(ids, targets, scorer.initial_state(len(ids)))
            yield np.arange(done, done + len(ids))[:, None], nats, hits
        done += len(ids)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
