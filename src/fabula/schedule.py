"""The learning rate over a run; knows no network."""

from __future__ import annotations

import math

from fabula.config import TrainingConfig

COOLDOWN = 0.5
"""Share of a run, its end, in which the rate falls."""


def rate(training: TrainingConfig, progress: float) -> float:
    """Learning rate at a share of the run: up in a straight line, then down as `training.decay` says.

    Source of "wsd" (warmup, stable, decay): Hu et al. 2024, arXiv:2404.06395.

    >>> [round(rate(TrainingConfig(lr=1.0, warmup=0.5), share), 2) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [0.05, 0.5, 1.0, 0.5, 0.0]
    """
    top = training.lr or 0.0
    if progress < training.warmup:
        return top * max(progress / training.warmup, 0.05)
    if training.decay == "none" or training.warmup >= 1:
        return top
    rest = (progress - training.warmup) / (1 - training.warmup)
    if training.decay == "cosine":
        return top * (1 + math.cos(math.pi * rest)) / 2
    # A run that stays at its highest rate until progress 1 - COOLDOWN falls to zero in a line from there.
    return top * (1 - rest if training.decay == "linear" else min(1.0, (1 - progress) / COOLDOWN))


def is_falling(training: TrainingConfig, progress: float) -> bool:
    """Whether the rate no longer stands at its highest: a fall mends what looked learned by heart before it."""
    return training.decay != "wsd" or progress > 1 - COOLDOWN
