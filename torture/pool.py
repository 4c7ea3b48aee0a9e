"""Cases in processes that are watched: for code that runs, crashes, hangs and memory. Knows no question's meaning."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

HANGS = 60.0
"""Seconds of the clock after which a process is ended; what takes too much of the processor is found out sooner."""

STARTS = 120.0
"""Seconds that a process may take until it is ready."""


@dataclass(frozen=True)
class Result:
    """What became of a case."""

    case: int
    outcome: str
    wrong: str | None
    """Why the promise is broken; None when it is kept."""
    seconds: float = 0.0
    """Of the processor."""
    megabytes: float = 0.0
    """Above what a good case took."""


def run(module: str, cases: Sequence[int], work: Path, workers: int) -> list[Result]:
    """Every case tried once, in the order of their numbers as given."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for case in cases:
        waiting.put(case)
    results: dict[int, Result] = {}
    threads = [
        threading.Thread(target=_serve, args=(module, waiting, results, work / str(number)), daemon=True)
        for number in range(min(workers, max(1, len(cases))))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results.get(case) or Result(case, "lost", "no process was left to try it") for case in cases]


def _serve(module: str, waiting: queue.SimpleQueue[int], results: dict[int, Result], work: Path) -> None:
    """Feed one process after another until no case is left; gives up when a process does not even start."""
    process: subprocess.Popen[str] | None = None
    while True:
        try:
            case = waiting.get_nowait()
        except queue.Empty:
            break
        if process is None:
            process = _start(module, work)
            if _line(process, STARTS)[0] is None:
                _end(process)
                waiting.put(case)
                return
        assert process.stdin
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(f"{case}\n")
            process.stdin.flush()
        line, over = _line(process, HANGS)
        if line is None:
            why = f"crashed (exit code {process.wait()})" if over else f"hung for {HANGS:g} s"
            results[case] = Result(case, "ended", why)
            process = _end(process)
            continue
        results[case] = Result(**json.loads(line))
    if process:
        process.communicate()


def _end(process: subprocess.Popen[str]) -> None:
    """Let go of one that is of no use any more."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _start(module: str, work: Path) -> subprocess.Popen[str]:
    work.mkdir(parents=True, exist_ok=True)
    root = Path(__file__).resolve().parents[1]
    path = os.pathsep.join([str(root), str(root / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "torture.worker", module, str(work)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "300"},
    )  # fmt: skip


def _line(process: subprocess.Popen[str], patience: float) -> tuple[str | None, bool]:
    """The next line, None when the process took too long or ended, and whether it has ended."""
    assert process.stdout
    found: list[str] = []
    reader = threading.Thread(target=lambda out: found.append(out.readline()), args=(process.stdout,), daemon=True)
    reader.start()
    reader.join(patience)
    return found[0] if found and found[0].endswith("\n") else None, bool(found)


def speak(out: IO[str], result: Result | None = None) -> None:
    """What a process says: that it is ready, or what became of a case."""
    out.write(json.dumps(result.__dict__ if result else {}) + "\n")
    out.flush()
