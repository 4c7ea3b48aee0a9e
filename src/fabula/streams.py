"""Token streams into lanes and windows, each batch a pure function of (seed, step); knows no text and no network.

Legend: B lanes, T time, W window, N units in the whole stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Batch = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Inputs (B, T) and targets (B, T), or (B, 1) for windows."""


class Feed(Protocol):
    """Endless batches, numbered from 0; the same number always gives the same batch."""

    carried: bool
    """True when batch n+1 goes on where batch n ended, lane by lane."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one reading of the whole text."""
        ...

    def batch(self, step: int) -> Batch:
        """The batch of one step."""
        ...


def join(stories: Sequence[Ids], end: int, order: Sequence[int] | NDArray[np.int64] | None = None) -> Ids:
    """One stream `end s1 end s2 ... ` of the stories in some order, shape (N,).

    >>> join([np.array([5, 6], np.int32), np.array([7], np.int32)], end=9).tolist()
    [9, 5, 6, 9, 7]
    """
    mark = np.array([end], np.int32)
    chosen = range(len(stories)) if order is None else order
    return np.concatenate([part for index in chosen for part in (mark, stories[index])])


class Lanes:
    """Stories shuffled anew each epoch, cut into B lanes that are read side by side in steps of T.

    The stream is a ring, so no unit is lost at a lane's end. A lane goes on into its neighbour's part in the next
    epoch: a single text is read on and on without a break, and the state carried along stays true.
    """

    carried = True

    def __init__(self, stories: Sequence[Ids], end: int, *, batch: int, length: int, seed: int) -> None:
        self._stories, self._end, self._seed = stories, end, seed
        total = sum(len(story) + 1 for story in stories)  # N
        self.lanes = min(batch, total)
        self.length = length
        self._lane = -(-total // self.lanes)
        self._ring: tuple[int, Ids] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one reading of the whole text."""
        return -(-self._lane // self.length)

    def batch(self, step: int) -> Batch:
        """Inputs and targets (B, T) of one step; the last step of an epoch may be shorter."""
        epoch, place = divmod(step, self.steps_per_epoch)
        ring = self._epoch(epoch)
        first = place * self.length
        moments = np.arange(first, min(first + self.length, self._lane) + 1)  # (T+1,)
        lanes = (np.arange(self.lanes) + epoch) % self.lanes
        starts = lanes * len(ring) // self.lanes  # (B,)
        units = ring[(starts[:, None] + moments) % len(ring)].astype(np.int64)  # (B, T+1)
        return units[:, :-1], units[:, 1:]

    def _epoch(self, epoch: int) -> Ids:
        """The stream of one epoch; the latest is kept."""
        if self._ring is None or self._ring[0] != epoch:
            order = np.random.default_rng((self._seed, epoch)).permutation(len(self._stories))
            self._ring = (epoch, join(self._stories, self._end, order))
        return self._ring[1]


class Windows:
    """The article's way: every unit with the W units before it, in an order shuffled anew each epoch.

    A story's first units are preceded by end marks; no window looks across the beginning of its story.
    """

    carried = False

    def __init__(self, stories: Sequence[Ids], end: int, *, window: int, batch: int, seed: int) -> None:
        self._window, self._seed = window, seed
        lead = np.full(window, end, np.int32)
        self._stream = np.concatenate([part for story in stories for part in (lead, story)] + [lead[:1]])
        lengths = np.array([len(story) for story in stories])
        starts = np.cumsum(lengths + window) - lengths
        # Targets are all units of a story and the end mark after it.
        self._targets = np.concatenate([np.arange(s, s + n + 1) for s, n in zip(starts, lengths, strict=True)])
        self._batch = min(batch, len(self._targets))
        self._order: tuple[int, NDArray[np.int64]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one reading of the whole text."""
        return -(-len(self._targets) // self._batch)

    def batch(self, step: int) -> Batch:
        """Inputs (B, W) and targets (B, 1) of one step."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            shuffled = np.random.default_rng((self._seed, epoch)).permutation(self._targets)
            self._order = (epoch, shuffled)
        targets = self._order[1][place * self._batch : (place + 1) * self._batch]  # (B,)
        inputs = self._stream[targets[:, None] + np.arange(-self._window, 0)]  # (B, W)
        return inputs.astype(np.int64), self._stream[targets, None].astype(np.int64)


def frequencies(stories: Sequence[Ids], end: int) -> NDArray[np.int64]:
    """How often each id 0 .. `end` occurs, one end mark a story: shape (end+1,).

    >>> frequencies([np.array([0, 2, 0], np.int32), np.array([2], np.int32)], end=3).tolist()
    [2, 0, 2, 2]
    """
    return np.bincount(join(stories, end), minlength=end + 1)


@dataclass(frozen=True)
class Ceiling:
    """The best any look-up of the last `window` units can do on a text: `right` of `total` predictions."""

    right: int
    total: int


def ceiling(stories: Sequence[Ids], window: int) -> Ceiling:
    """Count, over all windows that lie inside a story, how often the commonest next unit comes.

    >>> ceiling([np.array([1, 2, 1, 3, 1, 2], np.int32)], window=1)
    Ceiling(right=4, total=5)
    """
    rows = [np.lib.stride_tricks.sliding_window_view(story, window + 1) for story in stories if len(story) > window]
    if not rows:
        return Ceiling(0, 0)
    grams, counts = np.unique(np.concatenate(rows), axis=0, return_counts=True)  # (n, W+1)
    _, contexts = np.unique(grams[:, :-1], axis=0, return_inverse=True)
    best = np.zeros(contexts.max() + 1, np.int64)
    np.maximum.at(best, contexts.reshape(-1), counts)
    return Ceiling(int(best.sum()), int(counts.sum()))
