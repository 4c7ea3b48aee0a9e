"""The index of what a training learns from, made beside it: by it every story can say what it copied."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fabula.corpus import Corpus
from fabula.novelty import Index
from fabula.stopping import wait
from fabula.text import words_of

MOST = 50_000_000
"""Units of training text up to which it is indexed: 12 bytes for each word, five times as much while it is made."""


class Source:
    """Begins to index at once, in a thread of its own."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._index: Index | None = None
        self._thread = threading.Thread(target=self._make, name="source", daemon=True)
        if corpus.train.tokens <= MOST:
            self._thread.start()

    @property
    def is_indexing(self) -> bool:
        """Whether it is still being made."""
        return self._thread.is_alive()

    def index(self, patience: float | None = None, until: Callable[[], bool] = bool) -> Index | None:
        """The index, waited for if need be; None for a text that is too long, or when it came too late."""
        if self._thread.ident is not None:
            wait(self._thread, patience, until)
        return self._index

    def _make(self) -> None:
        tokenizer = self._corpus.tokenizer
        try:
            self._index = Index.of(words_of(tokenizer.decode(stream)) for stream in self._corpus.train.streams)
        except MemoryError:
            return
