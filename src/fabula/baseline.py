"""The honest baseline: an n-gram model of the same units, fitted beside a training and judged on the same stories."""

from __future__ import annotations

import math
import threading

from fabula import ngram
from fabula.corpus import Corpus
from fabula.streams import join

ORDERS = {"chars": 8, "bytes": 8}
"""Units that an n-gram spans; 5 for units that are words or parts of words."""

MOST = 4_000_000
"""Units of training text up to which it is fitted: it takes about 60 bytes for each, and a second for a million."""


class Baseline:
    """Begins to fit at once, in a thread of its own."""

    def __init__(self, corpus: Corpus) -> None:
        self._bits: float | None = None
        self._corpus = corpus
        self._thread: threading.Thread | None = None
        if corpus.held_out and corpus.held_out.counts.bytes and corpus.train.tokens <= MOST:
            self._thread = threading.Thread(target=self._fit, name="baseline", daemon=True)
            self._thread.start()

    def bits_per_byte(self, patience: float | None = None) -> float | None:
        """Of the held-out stories; None without such, for a text too long, or when not ready after so many seconds."""
        if self._thread:
            self._thread.join(patience)
        return self._bits

    def _fit(self) -> None:
        corpus, tokenizer = self._corpus, self._corpus.tokenizer
        assert corpus.held_out
        try:
            model = ngram.fit(corpus.train.streams, tokenizer.end, tokenizer.size, ORDERS.get(tokenizer.unit, 5))
            nats = -model.log_probabilities(join(corpus.held_out.streams, tokenizer.end)[1:]).sum()
        except MemoryError:
            return
        self._bits = float(nats) / math.log(2) / corpus.held_out.counts.bytes
