"""What the network remembers at the words of a table, so that going on from any of them costs one step.

Knows no text and no sampling. What does not fit is let go, the longest unused first, and read again when it is needed.

Legend: B rows, T time, N window, V vocabulary.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from fabula.engine import Floats, Integers, State
from fabula.storyteller import Network
from fabula.table.tree import ROOT, Table

KEPT = 64 << 20
"""Bytes of states that are kept."""

SCORES = 16
"""Words whose predictions are kept."""

APART = 32
"""Words read at once where nothing was kept; a state is kept after each such stretch."""


class Windowed:
    """A network of a fixed window as one that carries its state: the last N units are the state."""

    def __init__(self, engine: Network, window: int, end: int) -> None:
        self._engine, self._window, self._end = engine, window, end

    def initial_state(self, batch: int) -> State:
        """Nothing but end marks: (B, N)."""
        return (np.full((batch, self._window), self._end, np.float32),)

    def read(self, ids: Integers, state: State) -> State:
        """Let units (B, T) come into the window from behind."""
        units = np.concatenate([state[0], ids.astype(np.float32)], axis=1)
        return (units[:, units.shape[1] - self._window :],)

    def step(self, ids: Integers, state: State) -> tuple[Floats, State]:
        """Take in one unit each: ids (B,) -> log-probabilities (B, V), and the new windows."""
        windows = self.read(ids[:, None], state)
        units = windows[0].astype(np.int64)
        fresh = self._engine.initial_state(len(units))
        scores, _ = self._engine.step(units[:, -1], self._engine.read(units[:, :-1], fresh))
        return scores, windows


class Memory:
    """The states of a network at the words of one table."""

    def __init__(self, engine: Network, table: Table, *, end: int, window: int, kept: int = KEPT) -> None:
        self._engine: Network = Windowed(engine, window, end) if window else engine
        self._table, self._end = table, end
        fresh = self._engine.initial_state(1)
        self._most = max(APART, kept // max(1, sum(part.nbytes for part in fresh)))
        self._root = fresh
        self._states: OrderedDict[int, State] = OrderedDict()
        """Of each word, what the network remembers before the word's last unit."""
        self._scores: OrderedDict[int, tuple[Floats, State]] = OrderedDict()

    def after(self, word: int) -> tuple[Floats, State]:
        """What comes after a word: log-probabilities (V,), and the state."""
        found = self._scores.get(word)
        if found is None:
            scores, state = self.step([self._last(word)], self._before(word))
            found = self._scores[word] = scores[0], state
        self._scores.move_to_end(word)
        while len(self._scores) > SCORES:
            self._scores.popitem(last=False)
        return found

    def step(self, units: Sequence[int], state: State) -> tuple[Floats, State]:
        """Take in one unit each: (B,) -> log-probabilities (B, V), and the new state."""
        return self._engine.step(np.array(units, np.int64), state)

    def keep(self, word: int, before: State, after: tuple[Floats, State] | None = None) -> None:
        """Remember the state before a word's last unit, and what is known to come after the word."""
        if after is not None:
            self._scores[word] = after
        self._states[word] = before
        self._states.move_to_end(word)
        while len(self._states) > self._most:
            self._states.popitem(last=False)

    @property
    def size(self) -> int:
        """States that are kept."""
        return len(self._states)

    def _last(self, word: int) -> int:
        return self._table.words[word].units[-1] if word != ROOT else self._end

    def _before(self, word: int) -> State:
        """The state before a word's last unit, read anew from the nearest word whose state was kept."""
        chain: list[int] = []
        while word != ROOT and word not in self._states:
            chain.append(word)
            word = self._table.words[word].parent
        state, last = (self._states[word] if word != ROOT else self._root), self._last(word)
        if word != ROOT:
            self._states.move_to_end(word)
        chain.reverse()
        for first in range(0, len(chain), APART):
            part = chain[first : first + APART]
            units = [last, *(unit for one in part for unit in self._table.words[one].units)]
            last = units.pop()
            state = self._engine.read(np.array([units], np.int64), state)
            self.keep(part[-1], state)
        return state
