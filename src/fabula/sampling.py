"""How the next unit is chosen from its log-probabilities: options -> pure filters -> choose; ids only, knows no text.

Legend: V vocabulary. Scores are natural logarithms of probabilities up to a constant; -inf is out of the question.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from fabula.config import SamplingConfig

Scores = NDArray[np.float32]
History = Sequence[int]
"""The units of the story so far, the prompt's included, oldest first."""

Filter = Callable[[Scores, History], Scores]
"""Scores (V,) and history to scores (V,); changes neither, and never rules out the likeliest unit."""

LOOK_BACK = 64
"""Units in which the repetition penalty looks for what was said already."""


def filters(config: SamplingConfig) -> list[Filter]:
    """The filters some options ask for, in the order in which they work.

    >>> [len(filters(SamplingConfig(temperature=t, top_k=k))) for t, k in ((1.0, 0), (0.8, 0), (0.8, 40))]
    [0, 1, 2]
    """
    chosen: list[Filter] = []
    if config.repetition_penalty != 1:
        chosen.append(repetition_penalty(config.repetition_penalty))
    if config.temperature != 1:
        chosen.append(temperature(config.temperature))
    if config.top_k:
        chosen.append(top_k(config.top_k))
    if config.top_p < 1:
        chosen.append(top_p(config.top_p))
    if config.min_p:
        chosen.append(min_p(config.min_p))
    return chosen


def choose(scores: Scores, history: History, filters: Iterable[Filter], rng: np.random.Generator) -> int:
    """Draw the next unit from scores (V,) after all filters; takes one number from `rng`.

    Should some filter leave nothing, the likeliest unit of all is taken: a story never comes to a dead end.

    >>> choose(np.log([0.1, 0.7, 0.2]), [], [temperature(0)], np.random.default_rng(1))
    1
    """
    left = scores
    for keep in filters:
        left = keep(left, history)
    top = left.max()
    draw = rng.random()
    if not math.isfinite(top):
        return int(scores.argmax())
    ladder = np.exp(left - top).cumsum(dtype=np.float64)  # (V,), each unit's step as high as it is likely
    last = ladder.searchsorted(ladder[-1])  # rounding must not step on a unit after the last that is likely at all
    return int(min(ladder.searchsorted(draw * ladder[-1], side="right"), last))


def temperature(value: float) -> Filter:
    """Divide the scores: below 1 the likely become likelier, above 1 less so; 0 leaves only the likeliest."""

    def keep(scores: Scores, history: History) -> Scores:  # noqa: ARG001
        best = scores.argmax()
        if value < 1e-6:
            left = np.full_like(scores, -np.inf)
            left[best] = 0
            return left
        return (scores - scores[best]) / scores.dtype.type(value)

    return keep


def top_k(count: int) -> Filter:
    """Keep the `count` likeliest, and those as likely as the last of them."""

    def keep(scores: Scores, history: History) -> Scores:  # noqa: ARG001
        if count >= len(scores):
            return scores
        bound = np.partition(scores, -count)[-count]
        return np.where(scores >= bound, scores, -np.inf)

    return keep


def top_p(share: float) -> Filter:
    """Keep the likeliest that together reach this share of the probability, and those as likely as the last of them.

    Source: nucleus sampling, Holtzman et al. 2020.
    """

    def keep(scores: Scores, history: History) -> Scores:  # noqa: ARG001
        chances = np.exp(scores - scores.max())
        total = float(chances.sum())
        # All units below this bound weigh less than what may be left out, so that only the few above need sorting.
        likely = chances[chances >= total * (1 - share) / len(chances)]
        likely.sort()
        reached = likely[::-1].cumsum().searchsorted(total * share)
        bound = likely[::-1][min(int(reached), len(likely) - 1)]
        return np.where(chances >= bound, scores, -np.inf)

    return keep


def min_p(share: float) -> Filter:
    """Keep those at least this fraction as likely as the likeliest (Nguyen et al. 2024)."""

    def keep(scores: Scores, history: History) -> Scores:  # noqa: ARG001
        return np.where(scores >= scores.max() + math.log(share), scores, -np.inf)

    return keep


def repetition_penalty(penalty: float, look_back: int = LOOK_BACK) -> Filter:
    """Raise the probability of what was said in the last `look_back` units to the power `penalty`.

    Log-probabilities, which are never above 0, are multiplied: it must be the first filter. What is nearly certain
    stays so. CTRL (Keskar et al. 2019) does the same to logits, where zero has no meaning.
    """

    def keep(scores: Scores, history: History) -> Scores:
        left = scores.copy()
        left[list(history[-look_back:])] *= penalty  # once each, however often it was said
        return left

    return keep
