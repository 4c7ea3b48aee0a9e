"""Two models of the same units as one, p = w p_network + (1 - w) p_ngram: the weight, and what it costs; knows no text.

Source: Jelinek and Mercer 1980. Legend: N predictions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabula.ngram import Ids, KneserNey

Floats = NDArray[np.floating[Any]]

HALVINGS = 20
"""Times the weight's range is halved: a millionth is finer than any text can tell."""


@dataclass(frozen=True)
class Mixture:
    """An n-gram model and the weight of the network beside it."""

    ngram: KneserNey
    weight: float
    """Share of the network, inside (0, 1)."""

    @property
    def span(self) -> int:
        """Units of context that the n-gram model looks at."""
        return len(self.ngram.tables)

    def costs(self, network: Floats, stories: Sequence[Ids]) -> NDArray[np.float64]:
        """Nats of each prediction (N,), from those of the network alone."""
        return mix(network, self.ngram.costs(stories), self.weight)

    def log_probabilities(self, network: Floats, context: Sequence[int]) -> NDArray[np.float32]:
        """Of every unit after `context` (an end mark before a story's first unit), from the network's: (V,) -> (V,)."""
        beside = self.ngram.distribution(np.array(context, np.int32))
        return np.log(self.weight * np.exp(network) + (1 - self.weight) * beside).astype(np.float32)


def mix(network: Floats, ngram: Floats, weight: float) -> NDArray[np.float64]:
    """Nats of each prediction by both together: (N,), (N,) -> (N,)."""
    return ngram.astype(np.float64) - np.log1p(weight * _gain(network, ngram))


def fit_weight(network: Floats, ngram: Floats) -> float:
    """The network's weight at which the mixture pays least for some predictions.

    The cost is convex in the weight, so its slope is halved in on.

    >>> round(fit_weight(np.array([0.1, 5.0, 0.1]), np.array([3.0, 0.2, 3.0])), 2)
    0.65
    """
    gain, low, high = _gain(network, ngram), 0.0, 1.0
    for _ in range(HALVINGS):
        weight = (low + high) / 2
        rising = float(np.sum(gain / (1 + weight * gain))) > 0  # the higher the weight the cheaper
        low, high = (weight, high) if rising else (low, weight)
    return (low + high) / 2


def cross_fitted(network: Floats, ngram: Floats) -> float:
    """Nats of all predictions, each half judged with the weight that fits the other, which has not seen it."""
    half = len(network) // 2
    first, second = slice(half), slice(half, None)
    return sum(
        float(mix(network[own], ngram[own], fit_weight(network[other], ngram[other])).sum())
        for own, other in ((first, second), (second, first))
    )


def _gain(network: Floats, ngram: Floats) -> NDArray[np.float64]:
    """How many times as likely the network finds each unit, less one: finite, for an n-gram model rules nothing out."""
    return np.expm1(ngram.astype(np.float64) - network.astype(np.float64))
