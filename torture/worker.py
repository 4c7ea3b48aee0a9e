"""One watched process: tries the cases it is told on stdin and measures each; knows no question by heart."""

from __future__ import annotations

import importlib
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from fabula import keeping
from torture import guard
from torture.pool import Result, speak


def main() -> None:
    """Prepare once, then one line a case; what the cases themselves print goes nowhere."""
    module: Any = importlib.import_module(f"torture.{sys.argv[1]}")
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    bench = module.Bench(Path(sys.argv[2]))
    guard.watch([Path(sys.argv[2]), *filter(None, [keeping.folder()])])
    for _ in range(2):  # everything that is loaded on first use has been, and the memory is that of a good case
        bench.warm_up()
    usual = _peak()
    speak(out)
    for line in sys.stdin:
        speak(out, _tried(bench, int(line), usual))


def _tried(bench: Any, case: int, usual: float) -> Result:
    bench.prepare(case)
    guard.calm()
    _forget_peak()
    usual = max(usual, _peak())  # what earlier cases have left is not this one's
    began = time.process_time()
    wrong = None
    try:
        with guard.armed():
            outcome = bench.attempt(case)
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        outcome = "traceback"
        place = traceback.extract_tb(error.__traceback__)[-1]
        wrong = f"{type(error).__name__}: {str(error)[:100]} ({Path(place.filename).name}:{place.lineno})"
    except BaseException as error:  # noqa: BLE001 - a panic of a library in Rust is one
        outcome, wrong = "traceback", f"{type(error).__name__}: {str(error)[:100]}"
    seconds, above = time.process_time() - began, _peak() - usual
    if guard.seen():
        wrong = f"did what data must not do: {guard.seen()[0]}"
    elif not wrong:
        wrong = bench.judge(case, outcome)
    if not wrong and seconds > bench.seconds(case):
        wrong = f"took {seconds:.1f} s of the processor"
    if not wrong and above > bench.megabytes(case):
        wrong = f"took {above:.0f} MB more than a good case"
    return Result(case, outcome, wrong, round(seconds, 3), round(max(0.0, above), 1))


def _forget_peak() -> None:
    """Begin to measure the most memory anew."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak() -> float:
    """Megabytes of memory at the most since `_forget_peak`, 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0.0


if __name__ == "__main__":
    main()
