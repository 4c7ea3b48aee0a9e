"""Processes that learn together, killed and frozen at random instants: do all begin again, and come to the same bits?

Half of them get signal 9, the other half are stopped where they are and never go on. Every training of two processes is
harmed several times; none may take longer than half a minute until all compute again, none may be left over, and what
is learned in the end is what undisturbed processes learn.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fabula import folder
from torture import workshop
from torture.runner import Answer

PROMISE = "a rank killed or frozen: all go on within 30 s from the last save, to the same bits, with no process left"
QUICK, FULL = 1, 50

PROCESSES = 2
WITHIN = 30.0
"""Seconds after which they must have saved anew."""

HARMS = 5
"""Times that one training is harmed."""

STEPS = 60_000
"""More than there is time for: the last of them are asked for when enough harm was done."""

EVERY = 10
CODE = "import sys; from fabula.cli import main; sys.exit(main())"


@dataclass
class Found:
    """What came of it."""

    harms: int = 0
    kills: int = 0
    freezes: int = 0
    slowest: float = 0.0
    """Seconds from a harm until something was saved anew."""
    hangs: int = 0
    orphans: int = 0
    different: int = 0
    failed: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """All that must not be."""
        return self.hangs + self.orphans + self.different + self.failed


def command(text: Path, out: Path, *more: str) -> list[str]:
    """The tiny training in a process of its own."""
    words = workshop.command(text, out, steps=STEPS)
    rhythm = [f"training.checkpoint_every={EVERY}", "training.evaluations=1", "training.decay=none"]
    return [sys.executable, "-c", CODE, *words, *(part for one in rhythm for part in ("--set", one)), *more]


def torture(text: Path, work: Path, harms: int, *, seed: int = 1) -> Found:
    """Harm trainings until so many harms are done, and look what each comes to."""
    found, chance, number = Found(), random.Random(seed), 0
    while found.harms < harms and found.faults < 3:
        number += 1
        _one(text, work / f"model-{number}", min(HARMS, harms - found.harms), found, chance)
    return found


def _one(
    text: Path,
    out: Path,
    harms: int,
    found: Found,
    chance: random.Random,
    *,
    more: Sequence[str] = (),
    answer: str = "",
    within: float = WITHIN,
) -> None:
    launcher = subprocess.Popen(
        [*command(text, out, *more), "--processes", str(PROCESSES), "--restarts", "1000"], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True, env=os.environ | {"FABULA_ANSWER": answer},
    )  # fmt: skip
    everybody = set[int]()
    try:
        if not _saves(out, None, launcher, 60.0):
            found.failed += 1
            found.wrong.append("it did not even begin")
            return
        for _ in range(harms):
            time.sleep(chance.uniform(0, 1.0))
            ranks = workers(launcher.pid)
            everybody |= set(ranks)
            if len(ranks) < PROCESSES:
                continue
            victim, frozen = chance.choice(ranks), found.harms % 2 == 1
            os.kill(victim, signal.SIGSTOP if frozen else signal.SIGKILL)
            found.harms += 1
            found.kills, found.freezes = found.kills + (not frozen), found.freezes + frozen
            begun, last = time.perf_counter(), folder.latest_step(out)
            if not _saves(out, last, launcher, within):
                found.hangs += 1
                found.wrong.append(f"harm {found.harms}: nothing was saved within {within:g} s")
                return
            found.slowest = max(found.slowest, round(time.perf_counter() - begun, 1))
        everybody |= set(workers(launcher.pid))
        launcher.send_signal(signal.SIGTERM)
        if launcher.wait(60) != 75:
            found.failed += 1
            found.wrong.append(f"it returned {launcher.returncode} when asked to stop")
            return
        left = [one for one in everybody if _is_alive(one)]
        found.orphans += len(left)
        found.wrong += [f"process {one} is left" for one in left]
        _compare(text, out, found)
    finally:
        for one in {launcher.pid, *everybody}:
            if _is_alive(one):
                os.kill(one, signal.SIGKILL)
        launcher.wait()


def _compare(text: Path, out: Path, found: Found) -> None:
    """The weights that were saved last are those of one process that was never disturbed."""
    saved, _ = folder.read_checkpoint(out)
    assert saved is not None
    alone = out.with_name(f"{out.name}-alone")
    words = command(text, alone, "--set", f"training.accumulate={PROCESSES}")
    words[words.index("--steps") + 1] = str(STEPS)
    stops = f"import fabula.training as t; steps = {saved.step}\n"
    stops += "def follow(run, limit=None, *, own=t._follow):\n"
    stops += "    run.stop = run.stop or (15 if run.step >= steps else 0)\n    return own(run, limit)\n"
    stops += f"t._follow = follow\n{CODE}"
    words = [stops if word == CODE else word for word in words]
    subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    right, _ = folder.read_checkpoint(alone)
    if right is None or right.step != saved.step:
        found.failed += 1
        found.wrong.append(f"the undisturbed training did not come to step {saved.step}")
        return
    same = right.tensors.keys() == saved.tensors.keys() and all(
        right.tensors[name].tobytes() == tensor.tobytes() for name, tensor in saved.tensors.items()
    )
    if not same:
        found.different += 1
        found.wrong.append(f"other bits at step {saved.step}")


def workers(launcher: int) -> list[int]:
    """The ranks that a launcher has started."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children")
    return [one for one in map(int, children.read_text().split()) if _is_rank(one)]


def _is_rank(process: int) -> bool:
    try:
        return b"\0RANK=" in Path(f"/proc/{process}/environ").read_bytes()
    except OSError:
        return False


def _is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _saves(out: Path, last: str | None, launcher: subprocess.Popen[bytes], within: float) -> bool:
    """Whether something newer than that is saved in time."""
    end = time.perf_counter() + within
    while time.perf_counter() < end and launcher.poll() is None:
        newest = folder.latest_step(out)
        if newest and newest != last and (last is None or newest > last):
            return True
        time.sleep(0.02)
    return False


def ask(count: int | None, seed: int, work: Path, workers: int) -> Answer:  # noqa: ARG001 - they are two already
    """So many harms, and both controls."""
    text, begun = workshop.tell_tales(work / "tales.txt"), time.perf_counter()
    found = torture(text, work / "plain", count or FULL, seed=seed)
    other, patient = Found(), Found(harms=1)  # the second is harmed by freezing
    _one(text, work / "a" / "model", 1, other, random.Random(3), more=("--set", "training.lr=0.0101"))
    _one(text, work / "b" / "model", 1, patient, random.Random(3), answer="3000", within=10.0)
    controls = {"another_rate": other.different > 0, "waits_for_ever": patient.hangs > 0}
    return workshop.answer("ranks", PROMISE, found.harms, found, controls, begun)
