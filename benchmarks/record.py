"""What every benchmark shares: runs as whole processes, facts of the machine, one JSON file a question."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from fabula.diagnosis import diagnose

RESULTS = Path(__file__).parent / "results"
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Real texts beside the checkout; they are not part of the project."""


def timed(command: list[str]) -> tuple[float, str]:
    """Seconds of a whole process, and its stdout."""
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        sys.exit(f"{' '.join(command)} returned {done.returncode}: {done.stderr.strip()[-400:]}")
    return seconds, done.stdout


def fabula(*arguments: str) -> list[str]:
    """A command line of the installed program."""
    return [sys.executable, "-m", "fabula", *arguments]


def median(values: list[float]) -> float:
    """Median, rounded for a table."""
    return round(statistics.median(values), 4)


def _plain(argument: str) -> str:
    """An argument as anybody may read it: where this machine keeps its files says nothing."""
    if Path(argument).name.startswith("python"):
        return "PYTHON"
    return "FOLDER" if Path(argument).is_absolute() else argument


def read(question: str) -> dict[str, Any]:
    """The figures of results/QUESTION.json."""
    return json.loads((RESULTS / f"{question}.json").read_text(encoding="utf-8"))["figures"]


def processor() -> str:
    """What this machine computes with: texts that `--keep` keeps were perhaps learned on another."""
    return str(diagnose()["machine"]["processor"])


def write(question: str, figures: object) -> None:
    """Write results/QUESTION.json with the command, the machine and the versions, and print the figures."""
    facts = diagnose()
    record = {
        "command": " ".join(["python", "benchmarks/" + Path(sys.argv[0]).name, *map(_plain, sys.argv[1:])]),
        "date": time.strftime("%Y-%m-%d"),
        "machine": {name: facts["machine"][name] for name in ("processor", "cores")},
        "versions": {"python": platform.python_version(), "torch": metadata.version("torch"), **facts["core"]},
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{question}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1, ensure_ascii=False))
