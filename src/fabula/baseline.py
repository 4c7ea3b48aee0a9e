"""The honest baseline: an n-gram model of the same units, fitted beside a training and judged on the same stories."""

from __future__ import annotations

import math
import threading
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fabula import config, mixture, ngram
from fabula.corpus import Corpus, prepare
from fabula.errors import FolderError, TextError, UsageError
from fabula.evaluation import Costs, Measure
from fabula.folder import STORE, read_model, read_text
from fabula.mixture import Mixture
from fabula.ngram import KneserNey
from fabula.stopping import wait
from fabula.store import is_large, is_store
from fabula.streams import Ids

ORDERS = {"chars": 8, "bytes": 8}
"""Units that an n-gram spans; 5 for units that are words or parts of words."""

MOST = 4_000_000
"""Units of training text up to which it is fitted: it takes about 60 bytes for each, and a second for a million.

Of a store only the beginning is taken, so many units of it."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What an n-gram model needs for the held-out stories, alone and mixed with the network; None where unknown."""

    baseline_bits_per_byte: float | None = None
    mixture_bits_per_byte: float | None = None
    """Each half of the predictions judged with the weight that fits the other."""
    mixture_weight: float | None = None
    """The network's weight that fits all of them, for texts to come."""


class Baseline:
    """Begins to fit at once, in a thread of its own."""

    def __init__(self, corpus: Corpus) -> None:
        self._costs: Costs | None = None
        self._corpus = corpus
        self._thread: threading.Thread | None = None
        fits = corpus.train.tokens <= MOST or not corpus.train.streams.held
        if corpus.held_out and corpus.held_out.counts.bytes and fits:
            self._thread = threading.Thread(target=self._fit, name="baseline", daemon=True)
            self._thread.start()

    def wait(self, patience: float | None = None, until: Callable[[], bool] = bool) -> None:
        """Wait for it, at most so many seconds, or until somebody wants to leave."""
        if self._thread:
            wait(self._thread, patience, until)

    def beside(
        self, network: Measure | None, patience: float | None = None, until: Callable[[], bool] = bool
    ) -> Beside:
        """Compare with what a network needs; nothing is known without held-out stories or when it came too late."""
        self.wait(patience, until)
        if network is None or self._costs is None:
            return Beside()
        bits = math.log(2) * network.bytes
        return Beside(
            baseline_bits_per_byte=float(self._costs.sum()) / bits,
            mixture_bits_per_byte=mixture.cross_fitted(network.costs, self._costs) / bits,
            mixture_weight=mixture.fit_weight(network.costs, self._costs),
        )

    @property
    def is_fitting(self) -> bool:
        """Whether it still takes its share of the processor."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def bits_per_byte(self) -> float | None:
        """Of the n-gram model; None until it is known."""
        if self._costs is None or self._corpus.held_out is None:
            return None
        return float(self._costs.sum()) / (math.log(2) * self._corpus.held_out.counts.bytes)

    def _fit(self) -> None:
        assert self._corpus.held_out
        try:
            self._costs = _fit(self._corpus).costs(self._corpus.held_out.streams)
        except MemoryError:
            return


def fit_again(path: str | Path) -> Mixture:
    """The mixture a model folder speaks of: its text is read once more, since the folder does not hold it.

    Errors: FolderError without a weight to mix with, TextError when the text is gone or is not what was learned.
    """
    model, name = read_model(path), repr(str(path))
    weight = model.about.get("mixture_weight")
    if not isinstance(weight, float) or not 0 < weight < 1:
        raise FolderError(f"{name} has no mixture: it takes held-out text and time to fit it, so train the model again")
    try:
        text = config.resolve(tomllib.loads(read_text(Path(path), "training.toml") or "missing")).text
    except (tomllib.TOMLDecodeError, UsageError):
        raise FolderError(f"{name} has no training.toml that can be read: copy the model anew") from None
    if "-" in text.paths:
        raise TextError(f"{name} learned from standard input, which is gone: the mixture needs a file to read again")
    if text.held_out_paths:  # all of the other paths was learned, and the held-out text is not needed
        text = replace(text, held_out_paths=(), held_out=0.0)
    store = Path(path) / STORE
    if is_large(text.paths) and not is_store(store):
        raise TextError(f"{name} has lost its store, without which its text is too large: train it again")
    try:
        corpus = prepare(text, tokenizer=model.tokenizer, store=store, digest=str(model.about.get("digest")))
    except TextError as error:
        raise TextError(f"cannot read again what {name} learned from: {error}") from None
    if corpus.digest != model.about.get("digest"):
        raise TextError(f"the text that {name} learned from has changed: bring it back, or leave the mixture out")
    return Mixture(_fit(corpus), weight)


def _fit(corpus: Corpus) -> KneserNey:
    tokenizer = corpus.tokenizer
    return ngram.fit(beginning(corpus), tokenizer.end, tokenizer.size, ORDERS.get(tokenizer.unit, 5))


def beginning(corpus: Corpus, most: int = MOST) -> Sequence[Ids]:
    """What it is fitted on: all, or of a store the first units."""
    streams, left = corpus.train.streams, most
    if streams.held:
        return streams
    taken: list[Ids] = []
    for story in streams:
        if left <= 0:
            break
        taken.append(story[:left])
        left -= len(story)
    return taken


def said_of(corpus: Corpus, most: int = MOST) -> tuple[str, ...]:
    """A sentence where it is fitted on a part of the text only."""
    whole = corpus.train.streams.held or corpus.train.tokens <= most
    return () if whole else (f"the n-gram model beside it knows the first {most:,} units only",)
