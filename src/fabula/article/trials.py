"""What a tip is made of: runs side by side, what came of them, and the table; knows none of the tips."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fabula.article.experiment import Plan
from fabula.article.material import Material
from fabula.article.workers import Job, Record

Words = dict[str, str]
"""The same said in English (`en`) and Chinese (`zh`)."""


def say(en: str, zh: str) -> Words:
    """A text in both languages."""
    return {"en": en, "zh": zh}


@dataclass(frozen=True)
class Table:
    """A tip carried out."""

    name: str
    title: Words
    sentence: Words
    columns: tuple[Words, ...]
    rows: tuple[tuple[Words | str, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`, the notebook and the page."""
        return {
            "name": self.name, "title": self.title, "sentence": self.sentence, "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
        }  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What the user asked a tip with."""

    plan: Plan
    material: Material
    seeds: int = 3
    vectors: str | None = None
    """A file of word vectors."""


@dataclass(frozen=True)
class Row:
    """Runs that differ by their seed alone."""

    label: Words
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Result:
    """A row with its records, as many as jobs."""

    row: Row
    records: tuple[Record, ...]

    @property
    def mean(self) -> float:
        """Accuracy over the seeds."""
        return statistics.fmean(record.accuracy for record in self.records)

    @property
    def accuracy(self) -> str:
        """Mean and deviation, in percent."""
        return spread([record.accuracy for record in self.records])

    @property
    def loss(self) -> str:
        """Mean, in nats."""
        return f"{statistics.fmean(record.loss for record in self.records):.3f}"

    @property
    def ceiling(self) -> str:
        """What this window of this text can tell at most."""
        job = self.row.jobs[0]
        if job.plan.carry:
            return "100 %"
        window = job.plan.window
        return " ".join(f"{100 * c['share']:.1f} %" for c in job.material.ceilings(range(window, window + 1)))


Column = tuple[Words, Callable[[Result], str]]
"""A heading, and what stands below it."""

CEILING: Column = (say("ceiling", "上限"), lambda r: r.ceiling)
ACCURACY: Column = (say("accuracy", "准确率"), lambda r: r.accuracy)
LOSS: Column = (say("loss", "损失"), lambda r: r.loss)


@dataclass(frozen=True)
class Tip:
    """A question to the network: which runs answer it, and how the answer reads."""

    title: Words
    about: Words
    """What it compares, for the list of tips."""
    rows: Callable[[Question], Iterable[Row]]
    answer: Callable[[Sequence[Result]], Words]
    columns: tuple[Column, ...] = ()
    """Columns of its own, before accuracy and loss."""

    def table(self, name: str, results: Sequence[Result]) -> Table:
        """The runs as a table."""
        columns = (*self.columns, ACCURACY, LOSS)
        heads = (say("", ""), *(head for head, _ in columns))
        body = tuple((result.row.label, *(cell(result) for _, cell in columns)) for result in results)
        return Table(name, self.title, self.answer(results), heads, body)


def spread(shares: Sequence[float]) -> str:
    """Mean and sample deviation of shares, in percent.

    >>> spread([0.9, 0.92]), spread([0.9])
    ('91.0 % ± 1.4', '90.0 %')
    """
    mean = f"{100 * statistics.fmean(shares):.1f} %"
    return f"{mean} ± {100 * statistics.stdev(shares):.1f}" if len(shares) > 1 else mean
