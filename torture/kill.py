"""Killed at random instants, half of them within two milliseconds of a save: does the model come out the same?"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fabula import disk, folder
from fabula.errors import FabulaError
from torture import workshop
from torture.runner import Answer

PROMISE = "a training killed again and again comes to the same bits, and no checkpoint or model is lost"
QUICK, FULL = 25, 1_000

NEAR = 0.002
"""Seconds after the first sign of a save within which the near half of the kills come."""

ALWAYS = 2
"""Kills that each control gets."""


@dataclass
class Found:
    """What came of the kills."""

    kills: int = 0
    near: int = 0
    """Those that came just after the first sign of a save."""
    finished: int = 0
    different: int = 0
    """Trainings that came to other bits than the undisturbed one."""
    lost: int = 0
    """Kills after which a checkpoint that had its name already was gone or damaged."""
    unreadable: int = 0
    """Kills after which neither the old model nor the new one could be read."""
    failed: int = 0
    """Times that going on was refused, or ended in an error."""
    wrong: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """All that must not be."""
        return self.different + self.lost + self.unreadable + self.failed


def steps(out: Path) -> list[int]:
    """The checkpoints that have their names."""
    return [int(step.name.removeprefix("step-")) for step in (out / "checkpoints").glob("step-[0-9]*")]


def await_save(process: int, out: Path, chance: random.Random) -> bool:
    """Wait for the first sign of one of the next saves, of a checkpoint or of the model; False when it ended first."""
    home, saves, known = out / "checkpoints", chance.randrange(5), set[str]()
    while True:
        for _ in range(20):
            drafts = {entry.name for place in (home, out) for entry in place.glob(".[sa]*")} - known
            known |= drafts
            saves -= bool(drafts)
            if saves < 0:
                return True
            time.sleep(0.0001)
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return False


def torture(text: Path, out: Path, kills: int, *, seed: int = 1, sabotage: workshop.Sabotage | None = None) -> Found:
    """Kill trainings again and again, each gone on with until it is done; a new one then replaces the model."""
    found, chance, resume = Found(), random.Random(seed), False
    out.parent.mkdir(exist_ok=True)
    expected, takes = workshop.undisturbed(text, out)
    said = out.parent / "said"
    while (found.kills < kills or resume) and found.failed < 3:
        if not resume:
            shutil.rmtree(out / "checkpoints", ignore_errors=True)
        process = workshop.begin(workshop.command(text, out, resume=resume), said, sabotage)
        near = False
        if found.kills < kills:
            if chance.random() < 0.5 or sabotage:
                near = await_save(process, out, chance)
                time.sleep(chance.uniform(0, NEAR))
            else:
                time.sleep(chance.uniform(0, takes))
            seen = max(steps(out), default=0)
            os.kill(process, signal.SIGKILL)
        else:
            seen = 0
        code, _ = workshop.end(process)
        saved, skipped = folder.read_checkpoint(out)
        step = saved.step if saved else 0
        if step < seen or skipped:
            found.lost += 1
            found.wrong.append(
                f"kill {found.kills}: the checkpoint of step {seen} is lost, {step} left; {skipped}"[:300]
            )
        if not is_readable(out):
            found.unreadable += 1
            found.wrong.append(f"kill {found.kills}: neither the old model nor the new one can be read")
        if code == -signal.SIGKILL:
            found.kills, found.near, resume = found.kills + 1, found.near + near, step > 0
        elif code == 0:
            found.finished, resume = found.finished + 1, False
            if workshop.bits(out) != expected:
                found.different += 1
                found.wrong.append(f"kill {found.kills}: other bits")
        else:
            found.failed, resume = found.failed + 1, False
            found.wrong.append(said.read_text(errors="replace")[-500:])
        if sabotage and found.faults:
            break
    return found


def is_readable(out: Path) -> bool:
    """Whether the model there is whole."""
    try:
        folder.read_model(out)
    except FabulaError:
        return False
    return True


def write_in_place() -> None:
    """Control: a checkpoint grows file by file under its own name, after the older ones have made room for it."""

    @contextmanager
    def new_folder(final: Path) -> Iterator[Path]:
        for old in final.parent.glob("step-*"):
            shutil.rmtree(old)
        final.mkdir()
        yield final

    plain = disk.write_new

    def write_new(path: Path, data: bytes) -> None:
        plain(path, data)
        if path.parent.parent.name == "checkpoints":
            (path.parent.parent / ".sign").touch()
            time.sleep(0.005)

    disk.new_folder, disk.write_new = new_folder, write_new


def ask(count: int | None, seed: int, work: Path, workers: int) -> Answer:  # noqa: ARG001 - one after another
    """So many kills, and both controls."""
    text, begun = workshop.tell_tales(work / "tales.txt"), time.perf_counter()
    found = torture(text, work / "model", count or FULL, seed=seed)
    controls = {
        control.__name__: torture(text, work / control.__name__ / "model", ALWAYS, seed=seed, sabotage=control).faults
        > 0
        for control in (workshop.forget_the_carried_state, write_in_place)
    }
    return workshop.answer("kill", PROMISE, found.kills, found, controls, begun)
