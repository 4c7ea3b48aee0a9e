"""What a training will come to, foretold when it has hardly begun; knows no network.

The n-gram model, fitted in seconds, tells how hard the text is; how far a network gets beside it depends on how much
it reads, the same text over and over included. benchmarks/forecast.py fits the numbers below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

CONSTANT, SEEN = 0.697, -0.0536
"""log(bits / baseline bits) = CONSTANT + SEEN log(units that were read by the end, as `worth` counts them)."""

PATIENCE = 6.0
"""All readings after the first together are worth so many first ones at most."""

SPREAD = 0.1007
"""Half of the interval, as a logarithm: nine of ten trainings end inside."""


@dataclass(frozen=True)
class Forecast:
    """Bits per byte of held-out text at the end: the likeliest figure, and an interval that holds nine of ten."""

    bits_per_byte: float
    low: float
    high: float

    def to_json(self) -> list[float]:
        """Low, likeliest, high."""
        return [round(figure, 4) for figure in (self.low, self.bits_per_byte, self.high)]


def worth(epochs: float, units: int) -> float:
    """Units that would teach as much if each were new: what is read again teaches less each time.

    As Muennighoff et al. (2023) found for transformers, with a number of our own.

    >>> worth(0.5, 100), worth(1.0, 100)
    (50.0, 100.0)
    >>> worth(1000, 100)
    700.0
    """
    again = max(0.0, epochs - 1)
    return units * (min(epochs, 1.0) + PATIENCE * -math.expm1(-again / PATIENCE))


def forecast(baseline: float, epochs: float, units: int) -> Forecast:
    """From the n-gram model's bits per byte, how often the text will be read, and its units.

    >>> early, late = forecast(2.0, 0.5, 10**6), forecast(2.0, 2.0, 10**6)
    >>> early.low < early.bits_per_byte < early.high and late.bits_per_byte <= early.bits_per_byte
    True
    """
    middle = baseline * math.exp(CONSTANT + SEEN * math.log(worth(epochs, units)))
    return Forecast(middle, middle * math.exp(-SPREAD), middle * math.exp(SPREAD))
