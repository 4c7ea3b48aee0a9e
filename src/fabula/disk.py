"""Bytes on the disk so that they are there whole or not at all; knows no model and no name of a file.

Whatever is written lies under a temporary sibling first (`.name.process`), is synced, and then gets its name: a kill,
a full disk or a power cut leaves the old bytes or the new, and at most a sibling that the next one to come removes.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]


PIECE = 1 << 20
"""Bytes compared at a time with what was to be written."""


def draft_of(final: Path) -> Path:
    """Where `final` is written before it has its name."""
    return final.with_name(f".{final.name}.{os.getpid()}")


def write(path: Path, data: bytes) -> None:
    """Replace a file: its old bytes or the new ones, never a mixture. Errors: OSError, and the old ones stay."""
    draft = draft_of(path)
    try:
        write_new(draft, data)
        draft.replace(path)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    sync(path.parent)


def write_new(path: Path, data: bytes) -> None:
    """Write a file that nobody reads yet, wait for the disk, and read it back; errors: OSError."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    place, whole = 0, memoryview(data)
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            if piece != whole[place : place + len(piece)]:
                break
            place += len(piece)
    if place != len(data):
        raise OSError(errno.EIO, "it reads back otherwise than it was written")


@contextmanager
def new_folder(final: Path) -> Generator[Path]:
    """A folder to fill that becomes `final`, all at once, when all went well; otherwise nothing is left of it."""
    draft = draft_of(final)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
        sync(draft)
        draft.rename(final)
        sync(final.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove(folder: Path) -> None:
    """Remove a folder so that nobody ever meets half of it; what cannot be removed stays."""
    away = draft_of(folder)
    shutil.rmtree(away, ignore_errors=True)
    with suppress(OSError):
        folder.rename(away)
    shutil.rmtree(away, ignore_errors=True)


def append(path: Path, data: bytes) -> None:
    """Add to the end of a file, all of it or nothing; errors: OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        before = os.fstat(handle).st_size
        try:
            if os.write(handle, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with suppress(OSError):
                os.ftruncate(handle, before)
            raise
    finally:
        os.close(handle)


def length(path: Path) -> int:
    """Bytes of a file, once they are sure to be on the disk; 0 for none."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        os.fsync(handle)
        return os.fstat(handle).st_size
    finally:
        os.close(handle)


def sync(folder: Path) -> None:
    """Make renames in a folder last; a no-op where folders cannot be synced."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear_drafts(folder: Path, finals: Iterable[str] | None = None) -> None:
    """Remove the temporary siblings that a killed process has left, of all names or of some; those in use stay."""
    wanted = None if finals is None else set(finals)
    with suppress(OSError):
        for entry in list(folder.iterdir()):
            final, _, process = entry.name[1:].rpartition(".")
            ours = entry.name.startswith(".") and process.isdecimal() and (wanted is None or final in wanted)
            if not ours or _is_another(int(process)):
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                with suppress(OSError):
                    entry.unlink()


def _is_another(process: int) -> bool:
    """Whether this number is that of a process that lives, and not of this one."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


@contextmanager
def alone_in(folder: Path) -> Generator[bool]:
    """Whether nobody else has this folder for as long as we do; a kill gives it back. True where there are no locks."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        yield True
        return
    try:
        yield _lock(handle)
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
