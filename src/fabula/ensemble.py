"""Several models that write together: their predictions mixed by weight, and which of them spoke; knows no terminal.

Legend: M models, B stories side by side, V vocabulary, n units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fabula.engine import Engine, Floats, Integers, State
from fabula.errors import UnknownSymbolError, UsageError
from fabula.folder import read_index, read_model
from fabula.novelty import Index, joined
from fabula.rounding import choose as choose_precision
from fabula.storyteller import Storyteller
from fabula.text import word_spans


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
    """Engines of one vocabulary as one: p(unit) = sum of weight * p of each. Their states go side by side."""

    def __init__(self, engines: Sequence[Engine], weights: Sequence[float]) -> None:
        self._engines = list(engines)
        total = sum(weights)
        self._logs = [math.log(weight / total) for weight in weights]
        self._sizes = [len(engine.initial_state(1)) for engine in engines]

    def initial_state(self, batch: int) -> State:
        """The zero states of all."""
        return tuple(part for engine in self._engines for part in engine.initial_state(batch))

    def read(self, ids: Integers, state: State) -> State:
        """Take in some units without a word on what comes next: ids (B, T) -> the new states."""
        parts = zip(self._engines, self._parted(state), strict=True)
        return tuple(memory for engine, part in parts for memory in engine.read(ids, part))

    def step(self, ids: Integers, state: State) -> tuple[Floats, State]:
        """Take in one unit each and say what comes next: ids (B,) -> log-probabilities (B, V) and the new states."""
        found: Floats | None = None
        news: list[Floats] = []
        for engine, part, log in zip(self._engines, self._parted(state), self._logs, strict=True):
            scores, new = engine.step(ids, part)
            own = scores + np.float32(log)
            found = own if found is None else np.logaddexp(found, own)
            news += new
        assert found is not None
        return found, tuple(news)

    def shares(self, ids: Integers) -> NDArray[np.float64]:
        """Chance that each unit of a text but the first was drawn from each model's prediction: (n,) -> (M, n - 1)."""
        told = np.asarray(ids, np.int64)[None]  # (1, n)
        nats = [engine.score(told[:, :-1], told[:, 1:], engine.initial_state(1))[0][0] for engine in self._engines]
        logs = np.array(self._logs)[:, None] - np.array(nats, np.float64)  # (M, n - 1)
        chances = np.exp(logs - logs.max(axis=0))
        return chances / chances.sum(axis=0)

    def _parted(self, state: State) -> list[State]:
        ends = np.cumsum(self._sizes).tolist()
        return [state[end - size : end] for size, end in zip(self._sizes, ends, strict=True)]


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
    for voice, model in zip(voices, models, strict=True):
        name, other = (repr(str(one.folder)) for one in (voice, voices[0]))
        if model.tokenizer.to_json() != first.tokenizer.to_json():
            raise UsageError(
                f"{name} and {other} have different units and cannot be mixed: train one with --from the other"
            )
        if model.settings.model.window != first.settings.model.window:
            raise UsageError(f"{name} and {other} read windows of different lengths and cannot be mixed")
    engines = [
        Engine(
            model.settings.model, model.tokenizer.size, model.weights,
            threads=threads, int8=choose_precision(precision, model.about) == "int8",
        )
        for model in models
    ]  # fmt: skip

    def index() -> Index | None:
        found = [read_index(voice.folder) for voice in voices]
        known = [one for one in found if one is not None]
        return joined(known) if len(known) == len(found) else None

    ensemble = Ensemble(engines, [voice.weight for voice in voices])
    return Storyteller(first.settings, first.tokenizer, first.weights, engine=ensemble, index=index)


def spoken(teller: Storyteller, text: str, prompt: str = "") -> list[Spoken]:
    """Which model said each word of a text that goes on from a prompt."""
    ensemble, tokenizer = teller.engine, teller.tokenizer
    assert isinstance(ensemble, Ensemble)
    whole = prompt + text
    try:
        ids = tokenizer.encode(whole)
    except UnknownSymbolError:  # the unit `symbols` does not read what people write
        return []
    shares = ensemble.shares(np.concatenate([[tokenizer.end], ids]))  # (M, n)
    ends = np.cumsum([len(tokenizer.spelling(int(unit))) for unit in ids])  # (n,) in bytes
    found, before, begun = list[Spoken](), len(prompt), 0
    for _, end, _ in word_spans(whole):
        stop = int(ends.searchsorted(len(whole[:end].encode()), side="left")) + 1
        if end > len(prompt) and stop > begun:
            mean = shares[:, begun:stop].mean(axis=1)
            found.append(Spoken(whole[before:end], tuple(float(share) for share in mean / mean.sum())))
            before = end
        begun = max(begun, stop)
    return found
