"""Which stories are copies of earlier ones, by their hashes; memory hangs on no number of stories.

The hashes are gone through once for each range of their first bits, so that those of one range fit into memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabula.store.arrays import open_array
from fabula.store.encoding import HASH
from fabula.store.names import COPIES, FACTS, array

AT_ONCE = 1 << 20
"""Hashes of one range, about: 30 bytes each."""


def ranges(stories: int) -> int:
    """How many ranges the hashes of so many stories are cut into."""
    return max(1, -(-stories // AT_ONCE))


def find_copies(folder: str, shards: Sequence[str], part: int, parts: int) -> int:
    """Mark the copies whose hashes lie in one range; how many there are. Errors: OSError, ValueError."""
    low, high = ((2**64 * number // parts) for number in (part, part + 1))
    hashes: list[NDArray[np.uint64]] = []
    numbers: list[NDArray[np.int64]] = []
    first = 0
    for shard in shards:
        own = np.array(open_array(Path(folder) / array(shard, FACTS), ("<u8",), ndim=2)[HASH])
        inside = np.flatnonzero((own >= np.uint64(low)) & (own <= np.uint64(high - 1)))
        hashes.append(own[inside])
        numbers.append(inside + first)
        first += len(own)
    together, places = np.concatenate(hashes), np.concatenate(numbers)
    order = np.argsort(together, kind="stable")  # of those that are alike the first comes first
    later = np.flatnonzero(together[order][1:] == together[order][:-1]) + 1
    copies = places[order[later]]
    if len(copies):
        marks = np.lib.format.open_memmap(Path(folder) / COPIES, "r+")
        marks[copies] = 1
        marks.flush()
    return len(copies)


def make_marks(folder: Path, stories: int) -> None:
    """One mark a story, all of them clear."""
    marks = np.lib.format.open_memmap(folder / COPIES, "w+", np.uint8, (stories,))
    marks.flush()


def marks_of(folder: Path, first: int, count: int) -> NDArray[np.bool_]:
    """The marks of the stories of one shard, whose first has this number among all."""
    return np.array(open_array(folder / COPIES, ("|u1",))[first : first + count], bool)
