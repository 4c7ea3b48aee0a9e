"""The lesson from beginning to end: the experiment with all that its numbers mean, and the tips. Prints nothing."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fabula import api
from fabula.article import board, tips, vocabulary
from fabula.article.experiment import Listener, Plan, Report, Run, run
from fabula.article.material import TOLD, Material
from fabula.article.notebook import Notebook
from fabula.article.tips import Question, Result, Table
from fabula.article.workers import Job, Record, carry_out
from fabula.errors import MissingExtraError

ARTICLE: dict[str, Any] = {
    "points": [
        {"iteration": 49_000, "loss": 0.528684, "accuracy": 0.885},
        {"iteration": 50_000, "loss": 0.415811, "accuracy": 0.912},
    ],
    "one_layer": 0.906,
    "two_layers": 0.952,
}
"""What the article prints, and what the comments of its script say of one and of two layers."""

WINDOWS = range(1, 7)
"""Windows whose ceilings are counted."""

UNITS = 48
"""Units whose gates are drawn, those that move most."""

RECIPE_SECONDS = 10
"""The most that fabula's own recipe may take; the fable takes it half a second."""


def experiment(plan: Plan, material: Material, prompts: list[str], listener: Listener | None = None) -> dict[str, Any]:
    """Carry out a plan, tell the stories, and gather what the page shows; the run itself stands under `run`.

    Errors: TextError, UsageError, UnknownSymbolError for a prompt, all before the first step.
    """
    for prompt in prompts:
        material.encode(prompt, plan.window)
    stages: list[dict[str, Any]] = []

    def listen(taken: Run, report: Report | None) -> None:
        if report:
            told = [dict(zip(("prompt", "words"), taken.tell(prompt), strict=True)) for prompt in prompts]
            stages.append({"iteration": report.iteration, "stories": told})
        if listener:
            listener(taken, report)

    taken = run(plan, material, listener=listen)
    return {
        "run": taken,
        "experiment": {
            **dataclasses.asdict(plan), "done": taken.done, "seconds": taken.seconds, "accuracy": taken.accuracy,
            "loss": taken.loss, "curve": [report.to_json() for report in taken.reports], "stages": stages,
        },
        "article": ARTICLE if material.is_fable else None,
        "stories": [story(taken, prompt) for prompt in prompts],
        "ceilings": material.ceilings(WINDOWS),
        "inside": inside(taken),
    }  # fmt: skip


def story(taken: Run, prompt: str, words: int = TOLD) -> dict[str, Any]:
    """A story and what it has from the text."""
    given, told = taken.tell(prompt, words)
    found = taken.material.copied(given, told)
    runs = [dataclasses.asdict(run) for run in found.runs]
    return {"prompt": given, "words": told, "runs": runs, "share": found.share, "longest": found.longest}


def inside(taken: Run) -> dict[str, Any]:
    """The gates and the cell of the last layer while the text passes, from where the first story begins."""
    material, window = taken.material, taken.plan.window
    first = min(material.symbols.index("had") if material.is_fable else 0, len(material.symbols) - window - 1)
    places = range(first, min(first + TOLD + 4, len(material.symbols) - window))
    readings = [taken.read(place) for place in places]
    cells = torch.stack([reading.moments[-1][-1].cell for reading in readings])  # (places, H)
    units = cells.std(0, correction=0).topk(min(UNITS, cells.shape[1])).indices.sort().values
    steps: list[dict[str, Any]] = []
    for place, reading in zip(places, readings, strict=True):
        chances = reading.scores[-1].softmax(-1).topk(min(5, len(material.vocabulary)))
        top = zip(chances.indices.tolist(), chances.values.tolist(), strict=True)
        gates = {
            name: [_rounded(getattr(moment, name)[units]) for moment in reading.moments[-1]]
            for name in ("input", "forget", "output", "candidate", "cell", "hidden")
        }
        steps.append({
            "position": place, "context": material.symbols[place : place + window],
            "true": material.symbols[place + window], "top": [[material.vocabulary[i], p] for i, p in top], **gates,
        })  # fmt: skip
    return {"units": units.tolist(), "steps": steps}


def _rounded(values: torch.Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


def recipe(material: Material, window: int) -> dict[str, Any] | None:
    """What fabula's own recipe reaches on the same symbols with the same window; None without its optional part."""
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_text(" ".join(material.symbols), encoding="utf-8")
        settings = {
            "text": {"unit": "symbols", "stories": "whole"}, "model": {"window": window},
            "training": {"time": RECIPE_SECONDS},
        }  # fmt: skip
        try:
            outcome = api.train(text, Path(folder) / "model", settings=settings)
        except MissingExtraError:
            return None
    return {"accuracy": outcome.train_accuracy, "seconds": outcome.seconds, "window": window}


def tip(
    name: str, question: Question, notebook: Notebook, progress: Callable[[int, int, int, int], None]
) -> Table | None:
    """Carry out a tip and keep its table; what was run before is not run again. None after Ctrl-C.

    `progress` hears the steps taken and to take, and the runs finished and to make.
    Errors: UsageError for an unknown name; VectorsError; MissingExtraError.
    """
    if name == "vocabulary":
        table = vocabulary.table(progress)
    elif name == "tensorboard":
        table = board.table(question, notebook.folder, progress)
    else:
        table = _compare(name, question, notebook, progress)
    if table:
        notebook.add_tip(table.to_json())
    return table


def _compare(
    name: str, question: Question, notebook: Notebook, progress: Callable[[int, int, int, int], None]
) -> Table | None:
    """The tips that are runs side by side."""
    rows = tips.jobs(name, question)
    every = [job for row in rows for job in row.jobs]
    known = {job.key: record for job in every if (record := notebook.recall(job))}
    missing = [job for job in every if job.key not in known]
    steps = sum(job.plan.iterations for job in missing)

    def finished(job: Job, record: Record) -> None:
        known[job.key] = record
        notebook.remember(job, record)

    def look(taken: int) -> None:
        progress(taken, steps, len(known), len(every))

    if missing and not carry_out(missing, finished, look):
        return None
    return tips.tabulate(name, [Result(row, tuple(known[job.key] for job in row.jobs)) for row in rows])
