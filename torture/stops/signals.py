"""Asked to stop at 500 random instants: does it leave within five seconds, and go on to the same bits?

    python torture/signals.py           20 signals, about half a minute
    python torture/signals.py --full    500 signals

SIGINT, SIGTERM and SIGUSR1 in turn; after every fifth a second one follows at once, which leaves without saving.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import results
import workshop

from fabula import folder, stopping

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
            ask(process, number)
            if found.signals % TWICE == 0:
                time.sleep(chance.uniform(0, 0.01))
                ask(process, number)
            # A second one may come when the command has already left, and only its process is still there.
            wanted = [0, stopping.exit_code(number), *([-number] if found.signals % TWICE == 0 else [])]
        code, seconds = workshop.end(process, within if len(wanted) > 1 else 60.0)
        if len(wanted) > 1:
            found.slowest = max(found.slowest, round(seconds, 3))
            found.saved, found.done = found.saved + (code == wanted[1]), found.done + (code == 0)
        if code == -signal.SIGKILL:
            found.late += 1
        elif code not in wanted:
            found.failed += 1
            found.wrong.append(f"{code}: {said.read_text(errors='replace')[-500:]}")
        elif code == 0:
            found.different += workshop.bits(out) != expected
        if sabotage and found.faults:
            break
        resume = code not in {0, -signal.SIGKILL} and folder.latest_step(out) is not None
    return found


def ask(process: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    if not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        os.kill(process, number)


def hear_nothing() -> None:
    """Control: a training that does not listen."""
    for number in stopping.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    stopping.SIGNALS = ()


def main() -> int:
    """Quick or full, with both controls."""
    options = results.options(__doc__)
    signals = options.count or (500 if options.full else 20)
    with results.workplace() as place:
        text, begun = workshop.tell_tales(place / "tales.txt"), time.perf_counter()
        found = torture(text, place / "model", signals, seed=options.seed)
        seconds = round(time.perf_counter() - begun)
        rows: list[dict[str, Any]] = [
            {"what": f"{signals} signals", **vars(found), "seconds": seconds, "passed": not found.faults}
        ]
        forgetful = torture(text, place / "b" / "model", 4, seed=3, sabotage=workshop.forget_the_carried_state)
        deaf = torture(
            text, place / "a" / "model", 1, seed=options.seed, sabotage=hear_nothing, steps=100_000, within=1.0
        )
        for control, caught in ((workshop.forget_the_carried_state, forgetful.different), (hear_nothing, deaf.late)):
            rows.append({"what": f"control: {control.__name__}", "caught": caught, "passed": caught > 0})
    return results.report(
        "signals", rows, note="every training is a fork of one process that has torch", out=options.json
    )


if __name__ == "__main__":
    sys.exit(main())
