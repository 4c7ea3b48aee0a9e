"""Asked to stop at random instants: does a training leave within five seconds, and go on to the same bits?

SIGINT, SIGTERM and SIGUSR1 in turn; after every fifth a second one follows at once, which leaves without saving.
"""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from fabula import folder, stopping
from torture import workshop
from torture.runner import Answer

PROMISE = "a training asked to stop is gone within five seconds, and goes on to the same bits"
QUICK, FULL = 20, 500

WITHIN = 5.0
"""Seconds in which a training must be gone."""

TWICE = 5
"""Every so many signals a second one follows."""


@dataclass
class Found:
    """What came of the signals."""

    signals: int = 0
    saved: int = 0
    """Signals after which it returned 130 or 75 as it should."""
    done: int = 0
    """Signals that came when all was written, or so late that it became so: it returned 0."""
    slowest: float = 0.0
    """Seconds from a signal to the end."""
    late: int = 0
    """Trainings that were still there after five seconds."""
    different: int = 0
    """Trainings that came to other bits than the undisturbed one."""
    failed: int = 0
    """Times that it returned something else, or that going on was refused."""
    wrong: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """All that must not be."""
        return self.late + self.different + self.failed


def torture(
    text: Path,
    out: Path,
    signals: int,
    *,
    seed: int = 1,
    sabotage: workshop.Sabotage | None = None,
    steps: int = workshop.STEPS,
    within: float = WITHIN,
) -> Found:
    """Signal trainings again and again, each gone on with until it is done; a new one then replaces the model."""
    found, chance, resume = Found(), random.Random(seed), False
    said = out.parent / "said"
    said.parent.mkdir(exist_ok=True)
    expected, takes = workshop.undisturbed(text, out)
    while (found.signals < signals or resume) and found.failed + found.late < 3:
        process = workshop.begin(workshop.command(text, out, resume=resume, steps=steps), said, sabotage)
        wanted = [0]
        if found.signals < signals:
            # Not before the command itself has begun, which a fork cannot show (see `workshop`).
            time.sleep(0.02 + chance.uniform(0, takes))
            number = stopping.SIGNALS[found.signals % len(stopping.SIGNALS)]
            found.signals += 1
            send(process, number)
            if found.signals % TWICE == 0:
                time.sleep(chance.uniform(0, 0.01))
                send(process, number)
            # A second one may come when the command has already left, and only its process is still there.
            wanted = [0, stopping.exit_code(number), *([-number] if found.signals % TWICE == 0 else [])]
        code, seconds = workshop.end(process, within if len(wanted) > 1 else 60.0)
        if len(wanted) > 1:
            found.slowest = max(found.slowest, round(seconds, 3))
            found.saved, found.done = found.saved + (code == wanted[1]), found.done + (code == 0)
        if code == -signal.SIGKILL:
            found.late += 1
            found.wrong.append(f"signal {found.signals}: still there after {within:g} s")
        elif code not in wanted:
            found.failed += 1
            found.wrong.append(f"{code}: {said.read_text(errors='replace')[-500:]}")
        elif code == 0 and workshop.bits(out) != expected:
            found.different += 1
            found.wrong.append(f"signal {found.signals}: other bits")
        if sabotage and found.faults:
            break
        resume = code not in {0, -signal.SIGKILL} and folder.latest_step(out) is not None
    return found


def send(process: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    if not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        os.kill(process, number)


def hear_nothing() -> None:
    """Control: a training that does not listen."""
    for number in stopping.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    stopping.SIGNALS = ()


def ask(count: int | None, seed: int, work: Path, workers: int) -> Answer:  # noqa: ARG001 - one after another
    """So many signals, and both controls."""
    text, begun = workshop.tell_tales(work / "tales.txt"), time.perf_counter()
    found = torture(text, work / "model", count or FULL, seed=seed)
    forgetful = torture(text, work / "b" / "model", 20, seed=3, sabotage=workshop.forget_the_carried_state)
    deaf = torture(text, work / "a" / "model", 1, seed=seed, sabotage=hear_nothing, steps=100_000, within=1.0)
    controls = {
        workshop.forget_the_carried_state.__name__: forgetful.different > 0,
        hear_nothing.__name__: deaf.late > 0,
    }
    return workshop.answer("signals", PROMISE, found.signals, found, controls, begun)
