"""How well a network foretells some stories: bits per byte, perplexity, accuracy; knows no text and no network inside.

Legend: B lanes or rows, T time, N predictions, W window, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fabula.errors import TextError

Ids = NDArray[np.int32]
S = TypeVar("S")

LANES = 64
"""Most lanes that a stream is cut into."""

LANE = 1024
"""Fewest predictions in a lane: a stream of less than two lanes is read in one."""

WARM_UP = 256
"""Units that a lane reads before its first prediction, in place of all that came before."""

STEPS = 128
"""Most moments judged in one call."""

_NUMBERS = 1 << 23
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


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Size of the stories' text: UTF-8 bytes, characters, words."""

    bytes: int
    chars: int
    words: int


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a measurement found.

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
    correct: int
    """Predictions whose likeliest unit was the right one."""

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

    @property
    def accuracy(self) -> float:
        """Share of the predictions that were right."""
        return self.correct / self.tokens

    def to_json(self) -> dict[str, float | int | None]:
        """What `fabula evaluate --json` prints; a perplexity beyond all bounds is null."""
        return {
            "bits_per_byte": self.bits_per_byte,
            "nats_per_char": self.nats_per_char,
            "perplexity": _finite(self.perplexity),
            "perplexity_per_word": _finite(self.perplexity_per_word),
            "accuracy": self.accuracy,
            "tokens": self.tokens,
            "bytes": self.bytes,
        }


def measure(scorer: Scorer[S], streams: Sequence[Ids], end: int, counts: Counts, *, window: int = 0) -> Measure:
    """Measure a network on stories (ids without end marks); a function of the stories alone, and repeatable.

    Without a window the stories are one stream `end s1 end s2 ... end`, and every unit after the first is foretold with
    the state carried all the way. A long stream is cut into lanes that are read side by side, each warmed up with the
    `WARM_UP` units before it; a short one is read in one lane. With a window every unit is foretold from the `window`
    units before it, with end marks in place of what came before the story.

    Errors: TextError when there is no text.
    """
    if not streams or not counts.bytes:
        raise TextError("expected a text to measure on, but there is none: give a file that is not empty")
    nats, correct, tokens = 0.0, 0, sum(len(stream) + 1 for stream in streams)
    judged = _windows(scorer, streams, end, window) if window else _carried(scorer, streams, end)
    for costs, hits in judged:
        nats += float(costs.sum(dtype=np.float64))
        correct += int(hits.sum())
    return Measure(
        nats=nats, tokens=tokens, correct=correct, bytes=counts.bytes, chars=counts.chars, words=counts.words
    )


Judged = Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]
"""Nats and hits of some predictions; every prediction comes once."""


def _carried(scorer: Scorer[S], streams: Sequence[Ids], end: int) -> Judged:
    """Judge the whole stream with carried state."""
    mark = np.array([end], np.int32)
    stream = np.concatenate([mark, *(part for story in streams for part in (story, mark))]).astype(np.int64)  # (N+1,)
    total = len(stream) - 1
    lanes = min(LANES, total // LANE)
    if lanes < 2:
        yield from _judge(scorer, stream[None], 0, end)
        return
    # The first predictions have nothing before them to warm up with: they are judged on their own, from the zero state.
    yield from _judge(scorer, stream[None, : WARM_UP + 1], 0, end)
    total -= WARM_UP
    length = -(-total // lanes)
    stream = np.append(stream, np.full(lanes * length - total, end))
    starts = length * np.arange(lanes)[:, None]  # (B, 1)
    rows = stream[starts + np.arange(WARM_UP + length + 1)]  # (B, WARM_UP + T + 1)
    done = 0
    for nats, hits in _judge(scorer, rows, WARM_UP, end):
        real = starts + np.arange(done, done + nats.shape[1]) < total  # the last lane may run out before the others
        done += nats.shape[1]
        yield nats[real], hits[real]


def _judge(scorer: Scorer[S], rows: NDArray[np.int64], warm_up: int, end: int) -> Judged:
    """Judge all units of rows (B, n) but the first `warm_up + 1` of each, chunk by chunk from the zero state."""
    batch, count = rows.shape
    steps = max(1, min(STEPS, _NUMBERS // (batch * (end + 1))))
    state, first = scorer.initial_state(batch), 0
    for start in range(warm_up, count - 1, steps):
        stop = min(start + steps, count - 1)
        ids, targets = rows[:, first:stop], rows[:, start + 1 : stop + 1]
        nats, hits, state = scorer.score(np.ascontiguousarray(ids), np.ascontiguousarray(targets), state)
        yield nats, hits
        first = stop


def _windows(scorer: Scorer[S], streams: Sequence[Ids], end: int, window: int) -> Judged:
    """Judge every unit of every story, and its end mark, from the `window` units before it and the zero state."""
    lead = np.full(window, end, np.int32)
    parts = [part for story in streams for part in (lead, story)]
    stream = np.concatenate([*parts, lead[:1]]).astype(np.int64)
    lengths = np.array([len(story) for story in streams])
    starts = np.cumsum(lengths + window) - lengths
    places = np.concatenate([np.arange(s, s + n + 1) for s, n in zip(starts, lengths, strict=True)])  # (N,)
    size = max(1, min(_NUMBERS // (end + 1), _SPANS // window))
    for first in range(0, len(places), size):
        some = places[first : first + size, None]  # (B, 1)
        nats, hits, _ = scorer.score(
            stream[some + np.arange(-window, 0)], stream[some], scorer.initial_state(len(some))
        )
        yield nats, hits


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
