"""Bytes that take time to make, kept in the user's cache folder for the processes to come; knows not what they mean.

To lose them costs that time and nothing else: a folder that cannot be written, bytes that are no longer what they
were, somebody who deletes them all are no errors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fabula import disk
from fabula.regular import read_regular

MOST = 256
"""Files that are kept; the oldest go first."""

LARGEST = 1 << 22
"""Bytes of the largest."""

_SEAL = hashlib.sha256().digest_size


def folder() -> Path | None:
    """Where they lie; None for a user without a home, as containers have."""
    from platformdirs import user_cache_path  # noqa: PLC0415

    try:
        path = user_cache_path("fabula", appauthor=False)
    except RuntimeError:
        return None
    return path if path.is_absolute() else None  # what older versions say in its place is "~"


def kept(name: str, make: Callable[[], bytes]) -> bytes:
    """What was made under this name, in this process or an earlier one; the name must say all that it hangs on."""
    place = folder()
    if place is None:
        return make()
    with suppress(OSError):
        data = read_regular(place / name, LARGEST, links=False)
        if data[:_SEAL] == hashlib.sha256(data[_SEAL:]).digest():
            return data[_SEAL:]
    made = make()
    with suppress(OSError):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        disk.write(place / name, hashlib.sha256(made).digest() + made)
        _thin(place)
    return made


def _thin(place: Path) -> None:
    """Remove the oldest of too many."""
    files = sorted(place.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[MOST:]:
        path.unlink(missing_ok=True)
