"""Who may write to a folder: nothing of anybody else's is touched, and only one training writes to it."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fabula import disk
from fabula.errors import FolderError
from fabula.folder.names import BACKWARD, JOB, JOB_LIMIT, LOGS, OURS, STORE, is_ours
from fabula.folder.sealed import contents


def check_claim(path: Path, *, force: bool) -> None:
    """Make sure that a new run may use the folder, touching nothing; errors: FolderError when it stands in the way."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise FolderError(f"output must be a folder, but {str(path)!r} is something else: choose another with -o")
    if not path.is_dir():
        return
    foreign = sorted(entry.name for entry in path.iterdir() if not is_ours(entry.name))
    if foreign:
        raise FolderError(f"{str(path)!r} holds other files ({foreign[0]!r}): choose another folder with -o")
    if os.path.lexists(path / BACKWARD):
        check_claim(path / BACKWARD, force=True)  # it goes with the model, so it must be all ours too
    if any(entry.name != STORE for entry in path.iterdir()) and not force:
        raise FolderError(
            f"{str(path)!r} exists: --resume {str(path)!r} goes on with it, --force starts anew, -o names another"
        )


def claim(path: Path, *, force: bool, job: str | None = None) -> None:
    """Make the folder of a new run, which may belong to a `job` that is started again when a process of it ends.

    With `force` an older model stays readable until the new one is complete; its checkpoints and logs go at once, and
    so does the model that reads from the end.
    """
    check_claim(path, force=force)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"cannot make the folder {str(path)!r}: {error.strerror}") from None
    disk.sync(path.parent)
    for name in ("checkpoints", BACKWARD):
        disk.remove(path / name)
    for name in (*LOGS, "report.html"):
        (path / name).unlink(missing_ok=True)
    (path / JOB).unlink(missing_ok=True)
    if job is not None:
        disk.write(path / JOB, job.encode())


def is_of(path: Path, job: str | None) -> bool:
    """Whether the folder belongs to that job: started again, it goes on with what lies there."""
    try:
        return job is not None and contents(path / JOB, JOB_LIMIT) == job.encode()
    except (OSError, FolderError):
        return False


@contextmanager
def held(path: Path) -> Generator[None]:
    """A folder for one training alone, rid of what a killed one left half-written; errors: FolderError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"cannot make the folder {str(path)!r}: {error.strerror}") from None
    with disk.alone_in(path) as alone:
        if not alone:
            raise FolderError(f"another training is writing to {str(path)!r}: let it end, or choose another with -o")
        disk.clear_drafts(path, OURS)
        disk.clear_drafts(path / "checkpoints")
        yield
