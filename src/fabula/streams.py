"""Token streams into lanes and windows, each batch a pure function of (seed, step); knows no text and no network.

Of several processes each has its share of every batch: with all shares side by side it is the batch of one alone.

Legend: B lanes, T time, W window, N units in the whole stream.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from fabula.errors import UsageError

Ids = NDArray[np.int32]
Batch = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Inputs (B, T) and targets (B, T), or (B, 1) for windows."""


@dataclass(frozen=True)
class Share:
    """What one of several has of every batch: part `number` of `parts` of one size, computed in so many pieces."""

    number: int = 0
    parts: int = 1
    pieces: int = 1

    @property
    def least(self) -> int:
        """Rows of the smallest batch that can be shared."""
        return self.parts * self.pieces

    def of(self, rows: int) -> slice:
        """Its rows of so many, which its parts divide."""
        each = rows // self.parts
        return slice(self.number * each, (self.number + 1) * each)

    def lanes(self, wished: int) -> int:
        """So many lanes, where they can be shared. Errors: UsageError.

        >>> Share(parts=2, pieces=2).lanes(32)
        32
        """
        if wished % self.least:
            fitting = [str(self.least * count) for count in (1, 2, 4, 8)]
            raise UsageError(
                f"{wished} lanes cannot be shared by {self.least} equal parts (processes x training.accumulate): "
                f"give --set training.batch={', '.join(fitting[:-1])} or {fitting[-1]}"
            )
        return wished


ALL = Share()


class Ring(Protocol):
    """The units of one epoch in their order, as a ring: after the last comes the first."""

    def __len__(self) -> int: ...

    def take(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The units at some places 0 .. N-1, row by row of places that go on: (B, n) -> (B, n)."""
        ...


class Stories(Sequence[Ids]):
    """Stories as ids without end marks, wherever they lie, that can be read in any order."""

    tokens: int
    """Units of all, end marks not counted."""

    held: ClassVar[bool] = True
    """Whether they take memory: all of them lie in it."""

    @abstractmethod
    def ring(self, end: int, seed: int, epoch: int) -> Ring:
        """All of them in the order of one epoch, an end mark before each."""

    @abstractmethod
    def frequencies(self, end: int) -> NDArray[np.int64]:
        """How often each id 0 .. `end` occurs, one end mark a story: shape (end+1,)."""

    @abstractmethod
    def backwards(self) -> Stories:
        """The same stories, each from its end to its beginning."""


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


class Held(Stories):
    """Stories that are held in memory.

    >>> Held([np.array([0, 2, 0], np.int32), np.array([2], np.int32)]).frequencies(end=3).tolist()
    [2, 0, 2, 2]
    """

    def __init__(self, streams: Iterable[Ids]) -> None:
        self._streams = tuple(streams)
        self.tokens = sum(len(stream) for stream in self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    @overload
    def __getitem__(self, index: int) -> Ids: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Ids]: ...
    def __getitem__(self, index: int | slice) -> Ids | Sequence[Ids]:
        return self._streams[index]

    def ring(self, end: int, seed: int, epoch: int) -> HeldRing:
        """All of them, shuffled."""
        order = np.random.default_rng((seed, epoch)).permutation(len(self))
        return HeldRing(join(self._streams, end, order))

    def frequencies(self, end: int) -> NDArray[np.int64]:
        """How often each id 0 .. `end` occurs: shape (end+1,)."""
        return np.bincount(join(self._streams, end), minlength=end + 1)

    def backwards(self) -> Held:
        """The same stories, each from its end to its beginning."""
        return Held(np.ascontiguousarray(stream[::-1]) for stream in self._streams)


class HeldRing:
    """A ring of units that are held in memory."""

    def __init__(self, units: Ids) -> None:
        self._units = units

    def __len__(self) -> int:
        return len(self._units)

    def take(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The units at some places: (B, n) -> (B, n)."""
        return self._units[places].astype(np.int64)


class Lanes:
    """Stories shuffled anew each epoch, cut into B lanes that are read side by side in steps of T.

    The stream is a ring, so no unit is lost at a lane's end. A lane goes on into its neighbour's part in the next
    epoch: a single text is read on and on without a break, and the state carried along stays true.
    """

    carried = True

    def __init__(self, stories: Stories, end: int, *, batch: int, length: int, seed: int, share: Share = ALL) -> None:
        self._stories, self._end, self._seed, self._share = stories, end, seed, share
        total = stories.tokens + len(stories)  # N
        self.lanes = share.lanes(min(batch, total))
        self.length = length
        self._lane = -(-total // self.lanes)
        self._ring: tuple[int, Ring] | None = None

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
        lanes = ((np.arange(self.lanes) + epoch) % self.lanes)[self._share.of(self.lanes)]
        starts = lanes * len(ring) // self.lanes  # (B,)
        units = ring.take((starts[:, None] + moments) % len(ring))  # (B, T+1)
        return units[:, :-1], units[:, 1:]

    def _epoch(self, epoch: int) -> Ring:
        """The stream of one epoch; the latest is kept."""
        if self._ring is None or self._ring[0] != epoch:
            self._ring = (epoch, self._stories.ring(self._end, self._seed, epoch))
        return self._ring[1]


class Windows:
    """The article's way: every unit with the W units before it, in an order shuffled anew each epoch.

    A story's first units are preceded by end marks; no window looks across the beginning of its story.
    """

    carried = False

    def __init__(
        self, stories: Sequence[Ids], end: int, *, window: int, batch: int, seed: int, share: Share = ALL
    ) -> None:
        if isinstance(stories, Stories) and not stories.held:
            raise UsageError(
                "a window needs the whole text in memory, but this lies in a store: leave model.window out"
            )
        self._window, self._seed, self._share = window, seed, share
        lead = np.full(window, end, np.int32)
        self._stream = np.concatenate([part for story in stories for part in (lead, story)] + [lead[:1]])
        lengths = np.array([len(story) for story in stories])
        starts = np.cumsum(lengths + window) - lengths
        # Targets are all units of a story and the end mark after it.
        self._targets = np.concatenate([np.arange(s, s + n + 1) for s, n in zip(starts, lengths, strict=True)])
        self._batch = share.lanes(min(batch, len(self._targets)))
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
        targets = np.resize(targets, -(-len(targets) // self._share.least) * self._share.least)  # the last may be short
        targets = targets[self._share.of(len(targets))]
        inputs = self._stream[targets[:, None] + np.arange(-self._window, 0)]  # (B, W)
        return inputs.astype(np.int64), self._stream[targets, None].astype(np.int64)


class Ahead:
    """A feed whose next batch is made while the last one is learned from: for a processor that is not this one."""

    def __init__(self, feed: Feed) -> None:
        self._feed, self.carried = feed, feed.carried
        self._beside = ThreadPoolExecutor(1, "batches")
        self._next: tuple[int, Future[Batch]] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one reading of the whole text."""
        return self._feed.steps_per_epoch

    def batch(self, step: int) -> Batch:
        """The batch of one step; that of the next is begun."""
        made = self._next[1].result() if self._next and self._next[0] == step else None
        found = made or self._beside.submit(self._feed.batch, step).result()
        self._next = step + 1, self._beside.submit(self._feed.batch, step + 1)
        return found


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
