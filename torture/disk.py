"""On a disk of every size from none to enough: is the training ever killed by it, or an old model lost?

The folder of the training lies on a file system in memory of just that size (root only), beside an old model that the
training is to replace. Without root no file may be longer than so many bytes instead, and it is said.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fabula import folder
from fabula.errors import FabulaError
from torture import workshop
from torture.runner import Answer

PROMISE = "no size of the disk kills a training or costs the old model, and with more room it comes to the same bits"
QUICK, FULL = 10, 100

REFUSED = 1
"""Returned, with one line, where the finished model itself finds no room."""

PAGE = 4096

LEAST = 4 * PAGE
"""Longest file at least where files are limited: what the training says goes into one too."""


@dataclass
class Found:
    """What came of the disks."""

    disks: int = 0
    written: int = 0
    """Disks on which the training ended with a model of the same bits."""
    refused: int = 0
    """Disks on which it learned to the end, and said in one line that the model has no room."""
    killed: int = 0
    """Trainings that ended otherwise."""
    unreadable: int = 0
    """Disks on which neither the old model nor the new one could be read."""
    different: int = 0
    """Models that were not the same bits, at once or when the training went on after more room was made."""
    wrong: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """All that must not be."""
        return self.killed + self.unreadable + self.different


class Disk:
    """A place of so many bytes beyond what the old model takes."""

    def __init__(self, place: Path, old: Path, room: int, *, mounts: bool) -> None:
        self.place, self.out, self._mounts = place, place / "model", mounts
        place.mkdir(exist_ok=True)
        self._old, self._room = old, room if mounts else max(room, LEAST)

    def __enter__(self) -> Disk:
        if self._mounts:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(self.place)], check=True)
        shutil.copytree(self._old, self.out)
        if self._mounts:
            taken = sum(PAGE * (1 + -(-entry.stat().st_size // PAGE)) for entry in self.place.rglob("*"))
            self._resize(taken + self._room)
        return self

    def __exit__(self, *_: object) -> None:
        if self._mounts:
            subprocess.run(["umount", str(self.place)], check=True)
        shutil.rmtree(self.place)

    def limit(self) -> None:
        """In the process of the training."""
        if not self._mounts:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._room, self._room))

    def make_room(self) -> None:
        """Enough for everything."""
        if self._mounts:
            self._resize(64 << 20)

    def _resize(self, size: int) -> None:
        options = f"remount,size={max(size, PAGE)}"
        subprocess.run(["mount", "-o", options, str(self.place)], check=True)


def torture(text: Path, place: Path, sizes: int, *, mounts: bool, sabotage: workshop.Sabotage | None = None) -> Found:
    """Train on disks of evenly growing sizes."""
    found, said = Found(), place / "said"
    place.mkdir(exist_ok=True)
    expected, _ = workshop.undisturbed(text, place / "model")
    enough = 3 * sum(entry.stat().st_size for entry in (place / "model").rglob("*") if entry.is_file())
    old = place / "old" / "model"
    old.parent.mkdir()
    workshop.undisturbed(text, old, steps=workshop.EVERY, seed=2)
    for entry in ("checkpoints", "report.html"):
        with suppress(NotADirectoryError):
            shutil.rmtree(old / entry)
    for number in range(sizes):
        with Disk(place / "disk", old, enough * number // max(sizes - 1, 1), mounts=mounts) as small:

            def begin(*, resume: bool = False, small: Disk = small, limited: bool = True) -> int:
                def prepare() -> None:
                    if limited:
                        small.limit()
                    if sabotage:
                        sabotage()

                return workshop.end(workshop.begin(workshop.command(text, small.out, resume=resume), said, prepare))[0]

            if sabotage and found.faults:
                continue
            found.disks += 1
            code, words = begin(), said.read_text(errors="replace")
            try:
                folder.read_model(small.out)
            except FabulaError as error:
                found.unreadable += 1
                found.wrong.append(str(error))
            if code not in {0, REFUSED} or "Traceback" in words:
                found.killed += 1
                found.wrong.append(f"{code}: {words[-400:]}")
                continue
            found.written, found.refused = found.written + (code == 0), found.refused + (code == REFUSED)
            if code:
                small.make_room()
                resume = folder.latest_step(small.out) is not None
                code = begin(resume=resume, limited=False)
            if code or workshop.bits(small.out)["network"] != expected["network"]:
                found.different += 1
                found.wrong.append(f"{code} on a disk of {number}: {said.read_text(errors='replace')[-400:]}")
    return found


def give_up() -> None:
    """Control: a save that fails ends the training."""
    plain = folder.write_checkpoint

    def write_checkpoint(path: Path, checkpoint: folder.Checkpoint) -> None:
        try:
            plain(path, checkpoint)
        except OSError as error:
            raise RuntimeError("no room") from error

    folder.write_checkpoint = write_checkpoint


def throw_away_first() -> None:
    """Control: the old model makes room before the new one is there."""
    plain = folder.claim

    def claim(path: Path, *, force: bool) -> None:
        plain(path, force=force)
        (path / folder.MANIFEST).unlink(missing_ok=True)

    folder.claim = claim


def ask(count: int | None, seed: int, work: Path, workers: int) -> Answer:  # noqa: ARG001 - one after another
    """Disks of so many sizes, and both controls."""
    mounts = workshop.can_mount(work / "mount")
    text, begun = workshop.tell_tales(work / "tales.txt"), time.perf_counter()
    found = torture(text, work / "work", count or FULL, mounts=mounts)
    controls = {
        control.__name__: torture(text, work / control.__name__, 6, mounts=mounts, sabotage=control).faults > 0
        for control in (give_up, throw_away_first)
    }
    how = "file systems in memory" if mounts else "no root here: files of at most so many bytes"
    return workshop.answer("disk", PROMISE, found.disks, found, controls, begun, how=how)
