"""How the next unit is chosen from its log-probabilities: options -> pure filters -> choose; ids only, knows no text.

Legend: V vocabulary. Scores are natural logarithms of probabilities up to a constant; -inf is out of the question.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from fabula.config import SamplingConfig

Scores = NDArray[np.float32]
History = Sequence[int]
"""The units of the story so far, the prompt's included, oldest first."""

Filter = Callable[[Scores, History], Scores]
"""Scores (V,) and history to scores (V,); changes neither, and always leaves some unit in."""

LOOK_BACK = 64
"""Units in which the repetition penalty looks for what was said already."""

FAR = 2048
"""Units in which runs are looked for that came before: a bound, so that the last word costs what the first did."""

BLOCK = 64
"""Units of a block, when one is drawn."""

DRY_BASE = 1.75
"""How much more each further unit of a repetition costs."""

DRY_FREE = 2
"""Units that may be repeated at no cost."""

DRY_LONGEST = 50
"""Units beyond which a repetition costs no more."""


def filters(config: SamplingConfig, biases: Sequence[Filter] = ()) -> list[Filter]:
    """The filters some options ask for, in the order in which they work; `biases` come before the temperature.

    >>> [len(filters(SamplingConfig(temperature=t, top_k=k))) for t, k in ((1.0, 0), (0.8, 0), (0.8, 40))]
    [0, 1, 2]
    """
    chosen: list[Filter] = []
    if config.repetition_penalty != 1:
        chosen.append(repetition_penalty(config.repetition_penalty))
    if config.no_repeat:
        chosen.append(no_repeat(config.no_repeat))
    if config.dry:
        chosen.append(dry(config.dry))
    chosen += biases
    if config.temperature != 1:
        chosen.append(temperature(config.temperature))
    if config.top_k:
        chosen.append(top_k(config.top_k))
    if config.top_p < 1:
        chosen.append(top_p(config.top_p))
    if config.min_p:
        chosen.append(min_p(config.min_p))
    return chosen


def choose(
    scores: Scores,
    history: History,
    filters: Iterable[Filter],
    rng: np.random.Generator,
    allowed: Callable[[int], bool] | None = None,
) -> int:
    """Draw the next unit from scores (V,) after all filters; takes one number from `rng` for each unit it draws.

    A unit that is not `allowed` is drawn again without it, so the others come as often as their scores say. Should
    nothing be left, the likeliest unit of all that is allowed is taken: a story never comes to a dead end.

    >>> choose(np.log([0.1, 0.7, 0.2]), [], [temperature(0)], np.random.default_rng(1))
    1
    >>> choose(np.log([0.1, 0.7, 0.2]), [], [temperature(0)], np.random.default_rng(1), lambda unit: unit != 1)
    2
    """
    left = scores
    for keep in filters:
        left = keep(left, history)
    while True:
        top = left.item(left.argmax())  # several times as fast as max()
        draw = rng.random()
        if not math.isfinite(top):
            break
        unit = _step(np.exp(left if -20 < top < 20 else left - top), draw)  # the rest need no such care
        if allowed is None or allowed(unit):
            return unit
        left = left.copy()
        left[unit] = -np.inf
    if allowed is None:
        return int(scores.argmax())
    likely = (int(unit) for unit in np.argsort(-scores, kind="stable"))
    return next((unit for unit in likely if allowed(unit)), int(scores.argmax()))


def _step(likely: Scores, draw: float) -> int:
    """The unit on which a draw from [0, 1) steps, each step of the ladder (V,) being as high as the unit is likely.

    Found among blocks of units first: to sum a ladder of all would take most of the time of a drawing.
    """
    climb = np.add.accumulate  # twice as fast as cumsum()
    blocks = climb(np.add.reduceat(likely, _block_starts(len(likely))), dtype=np.float64)
    height = draw * blocks.item(-1)
    block = _first_above(blocks, height)
    start = block * BLOCK
    ladder = climb(likely[start : start + BLOCK], dtype=np.float64)
    return start + _first_above(ladder, height - blocks.item(block - 1) if block else height)


def _first_above(ladder: NDArray[np.float64], height: float) -> int:
    """The first step above a height; rounding must not step on what comes after the last that is likely at all."""
    found = int(ladder.searchsorted(height, side="right"))
    return found if found < len(ladder) else int(ladder.searchsorted(ladder[-1]))


@functools.lru_cache(maxsize=64)
def _block_starts(size: int) -> NDArray[np.intp]:
    return np.arange(0, size, BLOCK)


def temperature(value: float) -> Filter:
    """Divide the scores: below 1 the likely become likelier, above 1 less so; 0 leaves only the likeliest."""

    def keep(scores: Scores, history: History) -> Scores:  # noqa: ARG001
        best = scores.argmax()
        if value < 1e-6:
            left = np.full_like(scores, -np.inf)
            left[best] = 0
            return left
        left = scores - scores[best]
        left *= scores.dtype.type(1 / value)
        return left

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


def no_repeat(length: int) -> Filter:
    """Rule out what would complete a run of `length` units that came in the last `FAR` units already.

    Source: Paulus, Xiong and Socher 2018.
    """

    def keep(scores: Scores, history: History) -> Scores:
        units = np.array(history[-FAR:], np.int64)  # (n,)
        if len(units) < length:
            return scores
        runs = np.lib.stride_tricks.sliding_window_view(units, length)  # (n - length + 1, length)
        again = (runs[:, :-1] == units[len(units) - length + 1 :]).all(axis=1)
        left = scores.copy()
        left[runs[again, -1]] = -np.inf
        return left if np.isfinite(left.max()) else scores

    return keep


def dry(strength: float) -> Filter:
    """Lower what would carry a repetition on: by `strength` times `DRY_BASE` for each unit beyond `DRY_FREE`.

    A repetition is what ends the history and came in its last `FAR` units already; the longest counts. Source: p-e-w
    2024 ("don't repeat yourself").
    """

    def keep(scores: Scores, history: History) -> Scores:
        units = np.array(history[-FAR:], np.int64)[::-1]  # (n,) the last first
        places = np.flatnonzero(units[1:] == units[:1]) + 1  # where the last unit came before
        left, longest = scores, dict[int, int]()
        for place in places.tolist():
            span = min(len(units) - place, DRY_LONGEST)
            apart = np.flatnonzero(units[:span] != units[place : place + span])
            length, then = int(apart[0]) if len(apart) else span, int(units[place - 1])
            longest[then] = max(longest.get(then, 0), length)
        for then, length in longest.items():
            if length >= DRY_FREE:
                left = left.copy() if left is scores else left
                left[then] -= strength * DRY_BASE ** (length - DRY_FREE)
        return left

    return keep
