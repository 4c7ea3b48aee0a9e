"""Texts of any size as ids on the disk, shared by processes; this file is only the room's door.

Text is cut into blocks of 16 MB, each of which one process turns into a shard of memory-mapped arrays; `names` shows
the files. Memory hangs on the number of processes and not on the text.
"""

from fabula.store.building import Progress, Tell, build
from fabula.store.manifest import Store, is_store, is_unfinished, open_store, verify
from fabula.store.sources import is_large
from fabula.store.stored import Stored

__all__ = [
    "Progress",
    "Store",
    "Stored",
    "Tell",
    "build",
    "is_large",
    "is_store",
    "is_unfinished",
    "open_store",
    "verify",
]
