"""Does the article's network, learned by hand-written code, reach the article's accuracy? 50,000 steps, five seeds."""

from __future__ import annotations

import os
import statistics

os.environ.setdefault("GOMP_SPINCOUNT", "20000")

from record import write

from fabula.article.experiment import Plan
from fabula.article.material import fable
from fabula.article.workers import Job, Record, carry_out

SEEDS = range(1, 6)
ARTICLE = {1: [0.885, 0.912, 0.906], 2: [0.952]}
"""What the article prints at 49,000 and 50,000 steps, and what its script notes."""


def main() -> None:
    jobs = [Job(Plan(layers=layers, seed=seed), fable()) for layers in (2, 1) for seed in SEEDS]
    records: dict[tuple[int, int], Record] = {}

    def finished(job: Job, record: Record) -> None:
        records[job.plan.layers, job.plan.seed] = record
        print(job.plan.layers, job.plan.seed, record.accuracy, round(record.seconds), flush=True)

    if not carry_out(jobs, finished, lambda _: None):
        raise KeyboardInterrupt
    figures = {}
    for layers in (1, 2):
        runs = [records[layers, seed] for seed in SEEDS]
        accuracies = [run.accuracy for run in runs]
        figures[f"{layers} layer" + "s" * (layers > 1)] = {
            "iterations": jobs[0].plan.iterations,
            "seeds": list(SEEDS),
            "accuracy": accuracies,
            "mean_accuracy": round(statistics.fmean(accuracies), 4),
            "deviation": round(statistics.stdev(accuracies), 4),
            "loss": [round(run.loss, 4) for run in runs],
            "article": ARTICLE[layers],
        }
    write("lesson", figures)


if __name__ == "__main__":
    main()
