"""Several models that write together: their predictions mixed by weight, and which of them spoke; knows no terminal.

Models of the same units are mixed unit by unit, others byte by byte: each is looked at through bytes.

Legend: M models, B stories side by side, V vocabulary, n units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fabula.byteview import ByteView
from fabula.engine import Engine, Floats, Integers, State
from fabula.errors import UnknownSymbolError, UsageError
from fabula.folder import Model, read_index, read_model
from fabula.novelty import Index, joined
from fabula.rounding import choose as choose_precision
from fabula.storyteller import Storyteller
from fabula.text import word_spans
from fabula.tokens import build

TURN = 0.2
"""Chance at every byte that the next speaker is drawn anew: a turn is about as long as a word."""


class Voice(NamedTuple):
    """A model and what it counts."""

    folder: Path
    weight: float


@dataclass(frozen=True)
class Spoken:
    """A word of a story, and how much of it each model said."""

    word: str
    """As the story spells it, with the marks and spaces before it."""
    shares: tuple[float, ...]
    """Chance, given the word, that each model's prediction was the one it was drawn from; they add up to one."""


class Ensemble:
    """Networks of one vocabulary as one: p(unit) = sum of chance * p of each. Their states go side by side.

    The chance that a network speaks is its weight. With a `turn` below 1 that holds only for the first unit: then the
    one that spoke speaks on, but for a chance `turn` at every unit that the speaker is drawn anew. Who spoke is told by
    how well each foretold what came (Herbster and Warmuth 1998). So one seldom ends a word that another began.
    """

    def __init__(self, engines: Sequence[Engine | ByteView], weights: Sequence[float], *, turn: float = 1.0) -> None:
        self._engines, self._turn = list(engines), turn
        self._weights = np.array(weights) / sum(weights)  # (M,)
        self._sizes = [len(engine.initial_state(1)) for engine in engines]

    def initial_state(self, batch: int) -> State:
        """The zero states of all."""
        return (*self._silence(batch), *(part for engine in self._engines for part in engine.initial_state(batch)))

    def read(self, ids: Integers, state: State) -> State:
        """Take in some units without a word on what comes next: ids (B, T) -> the new states; any may speak then."""
        if not ids.shape[1]:
            return state
        parts = zip(self._engines, self._parted(state), strict=True)
        return (*self._silence(len(ids)), *(memory for engine, part in parts for memory in engine.read(ids, part)))

    def step(self, ids: Integers, state: State) -> tuple[Floats, State]:
        """Take in one unit each and say what comes next: ids (B,) -> log-probabilities (B, V) and the new states."""
        steps = [engine.step(ids, part) for engine, part in zip(self._engines, self._parted(state), strict=True)]
        chances = np.tile(self._weights, (len(ids), 1))  # (B, M)
        if self._turn < 1:
            before, said = state[:2]
            heard = said[np.arange(len(ids)), :, ids % said.shape[2]].astype(np.float64)  # (B, M)
            chances = self._next(before * np.exp(heard - heard.max(axis=1, keepdims=True)))
        found: Floats | None = None
        for (scores, _), log in zip(steps, np.log(chances).astype(np.float32).T, strict=True):
            own = scores + log[:, None]  # (B, V)
            found = own if found is None else np.logaddexp(found, own)
        assert found is not None
        news: list[NDArray[Any]] = [memory for _, new in steps for memory in new]
        if self._turn < 1:
            news = [chances, np.stack([scores for scores, _ in steps], axis=1), *news]  # (B, M), (B, M, V)
        return found, tuple(news)

    def shares(self, ids: Integers, given: int = 1) -> NDArray[np.float64]:
        """Chance that each model said each unit of a text but those given: (n,) -> (M, n - given)."""
        told = np.asarray(ids, np.int64)[None]  # (1, n)
        judged = told[:, :-1], told[:, given:]
        nats = np.array([one.score(*judged, one.initial_state(1))[0][0] for one in self._engines], np.float64)
        heard = np.exp(nats.min(axis=0, initial=np.inf) - nats)  # (M, n - given)
        shares, chances = np.empty_like(heard), self._weights
        for unit, likely in enumerate(heard.T):  # by what came before it and by itself ...
            shares[:, unit] = chances * likely / (chances @ likely)
            chances = self._next(shares[:, unit])
        after = np.ones(len(heard))
        for unit in range(heard.shape[1] - 1, -1, -1):  # ... and by what came after it
            shares[:, unit] *= after / (shares[:, unit] @ after)
            after = after * heard[:, unit]
            after = (1 - self._turn) * after + self._turn * (self._weights @ after)
            after /= after.max()
        return shares

    def _next(self, spoke: NDArray[np.float64]) -> NDArray[np.float64]:
        """How likely each speaks next, by how likely each spoke: (..., M), the latter up to a factor."""
        return (1 - self._turn) * spoke / spoke.sum(axis=-1, keepdims=True) + self._turn * self._weights

    def _silence(self, batch: int) -> State:
        """Before anything was said: the chances (B, M) of each to speak, and what each said of all units (B, M, 1)."""
        if self._turn == 1:
            return ()
        chances: NDArray[Any] = np.tile(self._weights, (batch, 1))
        return chances, np.zeros((batch, len(self._weights), 1), np.float32)

    def _parted(self, state: State) -> list[State]:
        own = state[len(self._silence(0)) :]
        ends = np.cumsum(self._sizes).tolist()
        return [own[end - size : end] for size, end in zip(self._sizes, ends, strict=True)]


def parse(specifications: Sequence[str]) -> list[Voice]:
    """Folders with their weights, as `tales:0.7`; without a weight 1. Errors: UsageError.

    >>> parse(["tales:0.7", "fables"])
    [Voice(folder=PosixPath('tales'), weight=0.7), Voice(folder=PosixPath('fables'), weight=1.0)]
    """
    voices = []
    for text in specifications:
        name, colon, number = text.rpartition(":")
        try:
            weight = float(number) if colon and name and not Path(text).exists() else None
        except ValueError:
            weight = None
        if weight is not None and not (math.isfinite(weight) and weight > 0):
            raise UsageError(f"the weight of a model must be a number above 0, got {number!r}")
        voices.append(Voice(Path(text), 1.0) if weight is None else Voice(Path(name), weight))
    return voices


def load(voices: Sequence[Voice], *, threads: int | None = None, precision: str = "auto") -> Storyteller:
    """The storyteller of several models; errors: FolderError, and UsageError where they cannot be mixed."""
    models = [read_model(voice.folder) for voice in voices]
    first = models[0]
    alike = all(model.tokenizer.to_json() == first.tokenizer.to_json() for model in models)
    for voice, model in zip(voices, models, strict=True):
        name, other = (repr(str(one.folder)) for one in (voice, voices[0]))
        if not alike and not model.tokenizer.lossless:
            raise UsageError(
                f"{name} writes {model.tokenizer.unit}, which cannot be mixed with other units: leave it out"
            )
        if not alike and model.settings.model.window:
            raise UsageError(f"{name} reads a fixed window and cannot be mixed with other units: leave it out")
        if model.settings.model.window != first.settings.model.window:
            raise UsageError(f"{name} and {other} read windows of different lengths and cannot be mixed")
    engines = [_engine(model, threads, precision, through_bytes=not alike) for model in models]

    def index() -> Index | None:
        found = [read_index(voice.folder) for voice in voices]
        known = [one for one in found if one is not None]
        return joined(known) if len(known) == len(found) else None

    ensemble = Ensemble(engines, [voice.weight for voice in voices], turn=1 if alike else TURN)
    tokenizer = first.tokenizer if alike else build("bytes", [])
    return Storyteller(first.settings, tokenizer, first.weights, engine=ensemble, index=index)


def _engine(model: Model, threads: int | None, precision: str, *, through_bytes: bool) -> Engine | ByteView:
    int8 = choose_precision(precision, model.about) == "int8"
    engine = Engine(model.settings.model, model.tokenizer.size, model.weights, threads=threads, int8=int8)
    return ByteView(engine, model.tokenizer) if through_bytes and model.tokenizer.unit != "bytes" else engine


def spoken(teller: Storyteller, text: str, prompt: str = "") -> list[Spoken]:
    """Which model said each word of a text that goes on from a prompt."""
    ensemble, tokenizer = teller.engine, teller.tokenizer
    assert isinstance(ensemble, Ensemble)
    whole = prompt + text
    try:
        ids = tokenizer.encode(whole)
    except UnknownSymbolError:  # the unit `symbols` does not read what people write
        return []
    ends = np.cumsum([len(tokenizer.spelling(int(unit))) for unit in ids])  # (n,) in bytes
    given = int(ends.searchsorted(len(prompt.encode()), side="right"))
    shares = ensemble.shares(np.concatenate([[tokenizer.end], ids]), 1 + given)  # (M, n - given)
    found, before, begun = list[Spoken](), len(prompt), given
    for _, end, _ in word_spans(whole):
        stop = int(ends.searchsorted(len(whole[:end].encode()), side="left")) + 1
        if end > len(prompt) and stop > begun:
            mean = shares[:, begun - given : stop - given].mean(axis=1)
            found.append(Spoken(whole[before:end], tuple(float(share) for share in mean / mean.sum())))
            before = end
        begun = max(begun, stop)
    return found
