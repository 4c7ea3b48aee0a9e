"""What a training will come to, foretold when it has hardly begun; knows no network.

The n-gram model, fitted in seconds, tells how hard the text is; how far a network gets beside it depends on how much
it reads, the same text over and over included. benchmarks/forecast.py fits the numbers below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

CONSTANT, SEEN = 0.5041, -0.0394
"""log(bits / baseline bits) = CONSTANT + SEEN log(units that were read by the end, each reading counted)."""

SPREAD = 0.0382
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


def forecast(baseline: float, epochs: float, units: int) -> Forecast:
    """From the n-gram model's bits per byte, how often the text will be read, and its units.

    >>> early, late = forecast(2.0, 0.5, 10**6), forecast(2.0, 2.0, 10**6)
    >>> early.low < early.bits_per_byte < early.high and late.bits_per_byte <= early.bits_per_byte
    True
    """
    middle = baseline * math.exp(CONSTANT + SEEN * math.log(epochs * units))
    return Forecast(middle, middle * math.exp(-SPREAD), middle * math.exp(SPREAD))
