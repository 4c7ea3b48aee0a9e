"""Which stories of a store are held out: those with the lowest hashes, as far as the share goes; knows no text.

So a story stays on its side when others come, as in `text.splitting`, and of many gigabytes only some megabytes are
held out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabula.store.arrays import open_array
from fabula.store.copies import marks_of
from fabula.store.encoding import BYTES, HASH
from fabula.store.names import FACTS, array

ENOUGH = 2 << 20
"""Bytes that are held out at most, about: more is not measured any better."""

LONGEST = 3
"""A story that takes so many times the share stays on the side of learning."""

_ROOM = 4
"""Of how many times the share hashes are looked at first."""

Sides = Mapping[int, list[int]]
"""Numbers of the stories that are held out, by the number of their shard."""


def share_of(wished: float, total: int) -> float:
    """The share of so many bytes that is held out."""
    return min(wished, ENOUGH / max(total, 1))


def choose(folder: Path, shards: Sequence[tuple[str, int]], share: float, total: int) -> Sides:
    """The stories to be held out, about `share` of `total` bytes; nothing where nearly all are too long for that.

    `shards` are names and numbers of stories. Errors: OSError, ValueError.
    """
    target = share * total
    if target <= 0:
        return {}
    reach = share * _ROOM
    while True:
        found = sorted(_candidates(folder, shards, reach, LONGEST * target))
        if sum(size for _, _, _, size in found) >= 2 * target or reach >= 1:
            break
        reach *= 8
    if sum(size for _, _, _, size in found) < target / 2:
        return {}
    most = min(4 * target, (total + target) / 2)
    chosen: dict[int, list[int]] = {}
    size = 0
    for hashed, shard, number, length in found:
        enough = hashed >= share * 2**64 and size >= target / 2
        if enough or size + length > most:
            break
        chosen.setdefault(shard, []).append(number)
        size += length
    return {shard: sorted(numbers) for shard, numbers in chosen.items()}


def _candidates(
    folder: Path, shards: Sequence[tuple[str, int]], reach: float, longest: float
) -> Iterator[tuple[int, int, int, int]]:
    """Hash, shard, number and bytes of the stories with low hashes that are no copies and not too long."""
    first = 0
    for shard, (name, count) in enumerate(shards):
        facts: NDArray[np.uint64] = open_array(folder / array(name, FACTS), ("<u8",), ndim=2)
        low = facts[HASH] <= np.uint64(min(2**64 - 1, int(reach * 2**64)))
        for number in np.flatnonzero(low & (facts[BYTES] <= longest) & ~marks_of(folder, first, count)).tolist():
            yield int(facts[HASH][number]), shard, number, int(facts[BYTES][number])
        first += count
