"""Many runs side by side, one process a core: the article's network is too small to share one run among cores."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.sharedctypes import SynchronizedArray
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fabula.article.experiment import Plan, Report, Run, run
from fabula.article.material import Material
from fabula.machine import cores
from fabula.tokens.symbols import Symbols
from fabula.vectors import embedding_for, load_vectors, train_vectors, wanted_words
from fabula.version import __version__

WIDTH = 64
"""Numbers in a vector that is learned here."""

LOOK = 0.2
"""Seconds between two looks at how far the runs are."""


@dataclass(frozen=True)
class Job:
    """A plan, the text it reads, and what stands for a symbol."""

    plan: Plan
    material: Material
    inputs: str = "integer"
    """integer, embedding, word2vec, or a file of word vectors."""

    @property
    def key(self) -> str:
        """Two jobs with the same key give the same record."""
        file = Path(self.inputs)
        facts = (
            __version__, WIDTH, dataclasses.asdict(self.plan), self.material.symbols, self.inputs,
            file.stat().st_size if file.is_file() else 0,
        )  # fmt: skip
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Record:
    """What a run came to."""

    accuracy: float
    loss: float
    seconds: float
    curve: tuple[tuple[int, float, float], ...]
    """Iteration, loss and accuracy of every report."""

    def to_json(self) -> dict[str, Any]:
        """For the notebook."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Record:
        """As `to_json` wrote it."""
        curve = tuple((int(i), _number(loss), float(accuracy)) for i, loss, accuracy in data["curve"])
        return cls(float(data["accuracy"]), _number(data["loss"]), float(data["seconds"]), curve)


def _number(value: float | None) -> float:
    """JSON has no NaN, which a run that went astray ends with."""
    return float("nan") if value is None else float(value)


def carry_out(jobs: Sequence[Job], finished: Callable[[Job, Record], None], progress: Callable[[int], None]) -> bool:
    """Run all jobs; `finished` hears of each as it ends, `progress` of the steps taken in all. False after Ctrl-C."""
    context = get_context("spawn")
    counters = context.Array("q", len(jobs) + 1)  # steps of each job, and a flag that asks all to stop
    with ProcessPoolExecutor(min(cores(), len(jobs)), context, _begin, (counters,)) as pool:
        open_jobs: dict[Future[Record | None], Job] = {
            pool.submit(_work, number, job): job for number, job in enumerate(jobs)
        }
        try:
            while open_jobs:
                done, _ = wait(open_jobs, timeout=LOOK, return_when=FIRST_COMPLETED)
                progress(sum(counters[:-1]))
                for future in done:
                    record = future.result()
                    job = open_jobs.pop(future)
                    if record:
                        finished(job, record)
        except BaseException as error:
            counters[len(jobs)] = 1
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, KeyboardInterrupt):
                return False
            raise
    return True


def start(job: Job) -> torch.Tensor | None:
    """The vectors (V, E) that a job begins with, None for the raw integers; errors: VectorsError, MissingExtraError."""
    material = job.material
    if job.inputs == "integer":
        return None
    if job.inputs == "embedding":
        return torch.randn(len(material.vocabulary), WIDTH, generator=torch.Generator().manual_seed(job.plan.seed))
    tokenizer = Symbols(material.vocabulary)
    if job.inputs == "word2vec":
        vectors = train_vectors([material.symbols], width=WIDTH, seed=job.plan.seed, epochs=100)
    else:
        vectors = load_vectors(job.inputs, wanted_words(tokenizer))
    laid, _ = embedding_for(tokenizer, vectors, np.random.default_rng(job.plan.seed))
    # As wide as vectors that are drawn: those of a small text are so short that the gates would not hear them.
    return torch.from_numpy(laid[: len(material.vocabulary)] / laid.std())


_counters: SynchronizedArray[int]


def _begin(counters: SynchronizedArray[int]) -> None:
    """Prepare a worker: one thread, deaf to Ctrl-C (the parent tells it), gone when the parent is gone."""
    global _counters  # noqa: PLW0603 - the only way for a pool to hand a shared array to its workers
    _counters = counters
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _work(number: int, job: Job) -> Record | None:
    """One job in a worker; None when it was asked to stop."""

    def listen(taken: Run, report: Report | None) -> None:  # noqa: ARG001
        _counters[number] = taken.done
        if _counters[-1]:
            raise KeyboardInterrupt

    taken = run(job.plan, job.material, vectors=start(job), learned=job.inputs == "embedding", listener=listen)
    if taken.interrupted:
        return None
    curve = tuple((report.iteration, report.loss, report.accuracy) for report in taken.reports)
    return Record(taken.accuracy, taken.loss, taken.seconds, curve)
