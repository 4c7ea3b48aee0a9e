"""Stories that lie on the disk, read story by story or as one shuffled ring; memory hangs on the batch, not on them.

Legend: B lanes, N units in the whole stream, S shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, overload

import numpy as np
from numpy.typing import NDArray

from fabula.store.arrays import open_array
from fabula.store.shards import Recent, Shard, View, damaged, open_shard
from fabula.streams import Ids, Stories

PAGE = 4096
"""Units of a ring that are read at once: a lane needs the next ones soon."""

OPEN = 4
"""Shards that stay open: what is mapped counts as memory."""

ORDERED = 4 << 20
"""Stories whose order is remembered, 12 bytes each."""


@dataclass(frozen=True)
class Place:
    """Where stories lie and what is known of them without reading them."""

    folder: Path
    shards: tuple[Shard, ...]
    end: int
    """The id of the end mark: every unit lies below it."""
    digest: str
    frequencies: Path | None = None
    """File that says how often each unit occurs; they are counted where there is none."""


class Stored(Stories):
    """The kept stories of some shards."""

    held: ClassVar[bool] = False

    def __init__(self, place: Place, *, reverse: bool = False) -> None:
        self._place, self._reverse = place, reverse
        self._firsts = np.cumsum([0, *(shard.stories for shard in place.shards)])  # (S+1,)
        self._open: Recent[int, View] = Recent(OPEN)
        self.tokens = sum(shard.tokens for shard in place.shards)

    @property
    def digest(self) -> str:
        """Hash of all of them; two of the same digest teach the same."""
        return f"{self._place.digest}{'-backward' if self._reverse else ''}"

    def __len__(self) -> int:
        return int(self._firsts[-1])

    @overload
    def __getitem__(self, index: int) -> Ids: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Ids]: ...
    def __getitem__(self, index: int | slice) -> Ids | Sequence[Ids]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"stories are 0..{len(self) - 1}, got {index}")
        shard = int(np.searchsorted(self._firsts, number, "right")) - 1
        view, within = self.view(shard), number - int(self._firsts[shard])
        units = view.tokens[view.begins[within] : view.ends[within]].astype(np.int32)
        self.check(units, shard)
        return units[::-1].copy() if self._reverse else units

    def ring(self, end: int, seed: int, epoch: int) -> StoredRing:
        """All of them: the shards in an order of their own for each epoch, the stories of each shard too."""
        assert end == self._place.end, "the end mark of another tokenizer"
        return StoredRing(self, self._place, seed, epoch, reverse=self._reverse)

    def frequencies(self, end: int) -> NDArray[np.int64]:
        """How often each id 0 .. `end` occurs, one end mark a story: shape (end+1,)."""
        assert end == self._place.end, "the end mark of another tokenizer"
        if self._place.frequencies is None:
            counts = np.zeros(end + 1, np.int64)
            for story in self:
                counts += np.bincount(story, minlength=end + 1)
            counts[end] = len(self)
            return counts
        try:
            counts = np.array(open_array(self._place.frequencies, ("<i8",)))
            if len(counts) != end + 1 or (counts < 0).any() or counts.sum() != self.tokens + len(self):
                raise ValueError("its frequencies do not fit its stories")
        except (OSError, ValueError, TypeError) as error:
            raise damaged(self._place.folder, error) from None
        return counts

    def backwards(self) -> Stored:
        """The same stories, each from its end to its beginning."""
        return Stored(self._place, reverse=not self._reverse)

    def view(self, shard: int) -> View:
        """One shard, opened if it is not open. Errors: FolderError."""
        return self._open.get(shard, lambda number: open_shard(self._place.folder, self._place.shards[number]))

    def check(self, units: Ids, shard: int) -> None:
        """Errors: FolderError where there are ids that no unit has."""
        if len(units) and int(units.view(np.uint32).max()) >= self._place.end:
            name = self._place.shards[shard].name
            raise damaged(self._place.folder, f"{name} holds ids beyond its {self._place.end:,} units")


@dataclass(frozen=True)
class _Order:
    """The stories of one shard in the order of one epoch."""

    begins: NDArray[np.int64]
    """Where each lies in the shard's units."""
    places: NDArray[np.int64]
    """Where the end mark before each stands in the shard's part of the ring, and where that part ends."""


class StoredRing:
    """The ring of one epoch; of its units only the pages that were wanted last are in memory."""

    def __init__(self, stories: Stored, place: Place, seed: int, epoch: int, *, reverse: bool) -> None:
        self._stories, self._end, self._key, self._reverse = stories, place.end, (seed, epoch), reverse
        self._order = np.random.default_rng(self._key).permutation(len(place.shards))
        lengths = np.array([shard.tokens + shard.stories for shard in place.shards], np.int64)
        self._starts = np.concatenate([[0], np.cumsum(lengths[self._order])])  # (S+1,)
        largest = max((shard.stories for shard in place.shards), default=1)
        self._orders: Recent[int, _Order] = Recent(max(1, min(len(place.shards), ORDERED // max(largest, 1))))
        self._pages: Recent[int, Ids] = Recent(4)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def take(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The units at some places 0 .. N-1, row by row of places that go on: (B, n) -> (B, n)."""
        rows, count = places.shape
        taken = np.empty((rows, count), np.int64)
        self._pages.most = max(self._pages.most, 2 * rows)
        for row, first in enumerate(places[:, 0].tolist() if count else ()):
            place, done = first, 0
            while done < count:
                number, within = divmod(place, PAGE)
                part = self._pages.get(number, self._read)[within : within + count - done]
                taken[row, done : done + len(part)] = part
                done += len(part)
                place = (place + len(part)) % len(self)
        return taken

    def _read(self, page: int) -> Ids:
        """The units of one page."""
        place, last = page * PAGE, min((page + 1) * PAGE, len(self))
        parts = []
        while place < last:
            turn = int(np.searchsorted(self._starts, place, "right")) - 1
            start, stop = self._starts[turn : turn + 2].tolist()
            parts.append(self._read_shard(int(self._order[turn]), place - start, min(last, stop) - start))
            place = min(last, stop)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _read_shard(self, shard: int, first: int, last: int) -> Ids:
        """The units `first` .. `last` of one shard's part of the ring."""
        view, order = self._stories.view(shard), self._orders.get(shard, self._shuffle)
        units, marks = np.zeros(last - first, np.int32), list[int]()
        story = int(np.searchsorted(order.places, first, "right")) - 1
        stop = int(np.searchsorted(order.places, last, "left"))
        begins, places = order.begins[story:stop].tolist(), order.places[story : stop + 1].tolist()
        for begin, place, after in zip(begins, places, places[1:], strict=False):
            head = place + 1  # the end mark stands before it
            if place >= first:
                marks.append(place - first)
            left, right = max(first, head), min(last, after)
            if self._reverse:
                part = view.tokens[begin + after - right : begin + after - left][::-1]
            else:
                part = view.tokens[begin + left - head : begin + right - head]
            units[left - first : right - first] = part
        self._stories.check(units, shard)
        units[marks] = self._end
        return units

    def _shuffle(self, shard: int) -> _Order:
        view = self._stories.view(shard)
        order = np.random.default_rng((*self._key, shard)).permutation(len(view.begins))
        begins, ends = view.begins[order], view.ends[order]
        return _Order(begins, np.concatenate([[0], np.cumsum(ends - begins + 1)]))
