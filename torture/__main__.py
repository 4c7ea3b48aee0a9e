"""`python -m torture`: asks the questions and says what came of them; exit code 1 when a promise is not kept."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from torture.runner import Answer, ask, table

QUESTIONS = (
    "source",
    "characters",
    "flips",
    "mutants",
    "corpora",
    "kill",
    "signals",
    "syscalls",
    "disk",
    "ranks",
    "hosts",
)
"""Modules of this folder."""

QUICKLY = tuple(name for name in QUESTIONS if name != "hosts")
"""Those that have a short form."""


def main() -> int:
    """Ask."""
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=f"of {', '.join(QUESTIONS)}; all without")
    parser.add_argument("--quick", action="store_true", help="some minutes in place of hours")
    parser.add_argument("--count", type=int, help="so many cases of each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, help="file for the answers")
    options = parser.parse_args()
    if unknown := set(options.questions) - set(QUESTIONS):
        parser.error(f"no such question: {', '.join(sorted(unknown))}")
    answers: list[Answer] = []
    for name in options.questions or (QUICKLY if options.quick else QUESTIONS):
        # In a process of its own: what one question does to threads, signals and memory is nothing to the next.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as own:
            asked = own.submit(ask, name, options.count, options.seed, options.workers, quick=options.quick)
            answers.append(asked.result())
        print(table(answers[-1:]).partition("\n")[2] if len(answers) > 1 else table(answers), flush=True)
    if options.json:
        record = {
            "command": " ".join(["python -m torture", *sys.argv[1:]]),
            "date": time.strftime("%Y-%m-%d"),
            "python": platform.python_version(),
            "seed": options.seed,
            "answers": [answer.to_json() for answer in answers],
        }
        options.json.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0 if all(answer.kept for answer in answers) else 1


if __name__ == "__main__":
    sys.exit(main())
