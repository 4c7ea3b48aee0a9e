"""Regular files, opened without waiting and read within a limit: no pipe, no device. Knows no formats."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_ALWAYS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


def open_regular(path: str | Path, *, links: bool = True) -> BufferedReader:
    """A file to read bytes from; without `links` the path itself must not be one. Errors: OSError, for all else too."""
    _check(Path(path).stat(follow_symlinks=links), path)  # some devices do things when they are opened
    handle = os.open(path, _ALWAYS | (0 if links else getattr(os, "O_NOFOLLOW", 0)))
    file = os.fdopen(handle, "rb")
    try:
        _check(os.fstat(handle), path)  # it may have been exchanged since
    except OSError:
        file.close()
        raise
    return file


def read_regular(path: str | Path, limit: int, start: int = 0, *, links: bool = True) -> bytes:
    """What a file holds from byte `start` on, as long as it is now. Errors: OSError, also for more than `limit`."""
    with open_regular(path, links=links) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit:,} bytes", str(path))
        file.seek(start)
        return file.read(max(0, size - start))


def _check(facts: os.stat_result, path: str | Path) -> None:
    if not stat.S_ISREG(facts.st_mode):
        what = "a folder" if stat.S_ISDIR(facts.st_mode) else "a link, a pipe or a device"
        raise OSError(errno.EINVAL, f"{what}, not a file", str(path))
