"""What every question shares: cases by number, what is wrong with each, and the answer as a line; knows no question."""

from __future__ import annotations

import importlib
import os
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torture.pool as watched

KEPT = 20
"""Failures that are written out; all are counted."""


@dataclass(frozen=True)
class Answer:
    """What came of a question."""

    question: str
    promise: str
    cases: int
    failures: tuple[str, ...]
    """One line for each case that broke the promise, with the number that makes it again."""
    controls: Mapping[str, bool]
    """Name of each deliberately broken case or loader, and whether it was caught."""
    seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether the promise held, and would have been seen not to hold."""
        return not self.failures and bool(self.controls) and all(self.controls.values())

    def to_json(self) -> dict[str, Any]:
        """For the result file."""
        return {
            "question": self.question, "promise": self.promise, "kept": self.kept, "cases": self.cases,
            "failed": len(self.failures), "failures": list(self.failures[:KEPT]), "controls": dict(self.controls),
            "seconds": round(self.seconds, 1), **self.facts,
        }  # fmt: skip


class Question(Protocol):
    """A module of this folder."""

    PROMISE: str
    QUICK: int
    """Cases of the short form, ..."""
    FULL: int | None
    """... and of the long one; None for all there are."""

    def ask(self, count: int | None, seed: int, work: Path, workers: int) -> Answer:
        """Try so many cases, and the controls."""
        ...


def ask(name: str, count: int | None, seed: int, workers: int, *, quick: bool) -> Answer:
    """Ask the question of this name, with a folder for its work that goes afterwards."""
    question: Any = importlib.import_module(f"torture.{name}")
    cases = count or (question.QUICK if quick else question.FULL)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # many small files, none of them kept
    with tempfile.TemporaryDirectory(prefix="torture-", dir=memory) as work:
        return question.ask(cases, seed, Path(work), workers)


def in_processes(
    module: str, promise: str, cases: Iterable[int], controls: Mapping[str, int], work: Path, workers: int
) -> Answer:
    """An answer from cases tried in watched processes; `controls` are cases that must fail, as numbers below zero."""
    began = time.perf_counter()
    numbers = [*controls.values(), *cases]
    results = watched.run(module, numbers, work, workers)
    wrong = {result.case: result.wrong for result in results}
    failures = tuple(f"{case}: {wrong[case]}" for case in numbers if case >= 0 and wrong[case])
    caught = {name: wrong[case] is not None for name, case in controls.items()}
    outcomes: dict[str, int] = {}
    for result in results:
        if result.case >= 0 and not result.wrong:
            outcomes[result.outcome] = outcomes.get(result.outcome, 0) + 1
    tried = [result for result in results if result.case >= 0]
    facts = {
        "outcomes": dict(sorted(outcomes.items())),
        "slowest_cpu_seconds": round(max((r.seconds for r in tried), default=0.0), 2),
        "most_megabytes_above": round(max((r.megabytes for r in tried), default=0.0)),
    }
    return Answer(module, promise, len(tried), failures, caught, time.perf_counter() - began, facts)


def table(answers: Sequence[Answer]) -> str:
    """The answers for people."""
    lines = [f"{'question':<12}{'cases':>10}{'failed':>8}{'controls caught':>17}{'seconds':>9}  promise"]
    for answer in answers:
        caught = f"{sum(answer.controls.values())} of {len(answer.controls)}"
        lines.append(
            f"{answer.question:<12}{answer.cases:>10,}{len(answer.failures):>8,}{caught:>17}{answer.seconds:>9.1f}"
            f"  {answer.promise}"
        )
        lines += [f"    {failure[:200]}" for failure in answer.failures[:KEPT]]
        lines += [f"    the control {name} was not caught" for name, seen in answer.controls.items() if not seen]
    return "\n".join(lines)
