"""Which row of a table stands for a pair or a triple of units; knows no weights and no text.

Many n-grams share few rows by hashing, as in fastText (Bojanowski et al. 2017) and in the direct connections of
Mikolov et al. 2011. The numbers below are part of what a saved model means: they must never change.
"""

from __future__ import annotations

MULTIPLIERS = (1, 1_000_003, 998_244_353, 433_494_437)
"""By which the latest unit, the one before it, ... are multiplied."""

APART = 12_345
"""Keeps the n-grams of different lengths apart: added once for each unit beyond the pair."""


def lengths(longest: int) -> range:
    """The lengths of n-grams that have rows.

    >>> list(lengths(3))
    [2, 3]
    """
    return range(2, longest + 1)
