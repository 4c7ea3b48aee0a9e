"""The stories of one block as ids on the disk, and the same opened again; knows no text and no order of stories."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from fabula.errors import FolderError
from fabula.store.arrays import open_array
from fabula.store.names import KINDS, array

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

TOKENS = ("<u2", "<i4")
STARTS = ("<i8",)
KEPT = ("<i4",)


@dataclass(frozen=True)
class Shard:
    """What a manifest says of one."""

    name: str
    stories: int
    """Those that are kept."""
    tokens: int
    """Units of those, end marks not counted."""


@dataclass(frozen=True)
class View:
    """One that is open: story k is `tokens[begins[k] : ends[k]]`."""

    tokens: NDArray[np.uint16] | NDArray[np.int32]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]


def open_shard(folder: Path, shard: Shard) -> View:
    """Its kept stories, as maps of memory. Errors: FolderError where they are not what the manifest says."""
    try:
        tokens, starts, kept = (
            open_array(folder / array(shard.name, kind), dtypes)
            for kind, dtypes in zip(KINDS, (TOKENS, STARTS, KEPT), strict=True)
        )
        if not _fit(tokens, starts, kept, shard):
            raise ValueError(f"{shard.name} does not fit together")
    except (OSError, ValueError, TypeError) as error:
        raise damaged(folder, error) from None
    return View(tokens, starts[kept], starts[kept + 1])


def _fit(tokens: NDArray[np.uint16], starts: NDArray[np.int64], kept: NDArray[np.int32], shard: Shard) -> bool:
    """Whether every story lies inside, and there are as many as the manifest says."""
    if len(kept) != shard.stories:
        return False
    if not len(kept):
        return shard.tokens == 0
    if int(kept[0]) < 0 or int(kept[-1]) >= len(starts) - 1 or not (np.diff(kept) > 0).all():
        return False
    lengths = np.diff(starts)
    inside = starts[0] == 0 and starts[-1] == len(tokens) and (lengths > 0).all()
    return bool(inside) and int(lengths[kept].sum()) == shard.tokens


def damaged(folder: Path, error: Exception | str) -> FolderError:
    """One line for a store that cannot be used."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    reason = "".join(c if c.isprintable() else "\ufffd" for c in said[:100])
    return FolderError(f"the store {str(folder)!r} is damaged ({reason}): fabula store makes it anew")


class Recent(Generic[K, T]):
    """The few things that were wanted last, so that they are not made again; may be used by several threads."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: OrderedDict[K, T] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K, make: Callable[[K], T]) -> T:
        """What belongs to a key."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make(key)
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)
        return made
