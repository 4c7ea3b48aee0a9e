"""How many units an output layer scores: the clusters of the adaptive one and how wide each is, the sampled one's draw.

Knows no weights. The ranks 0 .. V-1 are the units by falling frequency. Source: Grave et al. 2017, arXiv:1609.04309.
"""

from __future__ import annotations

from typing import NamedTuple

SHORTLIST = 2000
"""Most units that are scored at every prediction."""

DRAWN = 1024
"""Units that a sampled output layer draws for a step."""

NARROWEST = 8
"""Numbers that a unit has at least in the output layer, unless the network is narrower."""


class Cluster(NamedTuple):
    """The ranks `start` .. `end`-1, told apart by `width` numbers."""

    start: int
    end: int
    width: int


def shortlist(vocabulary: int) -> int:
    """How many of the commonest units are scored at every prediction."""
    return min(SHORTLIST, -(-vocabulary // 8))


def tails(vocabulary: int, hidden: int) -> list[Cluster]:
    """The clusters after the shortlist: each ends at twice the rank it begins at, every other is four times narrower.

    Many clusters, for on a processor it is the scores computed that cost time, and not the products begun.

    >>> tails(10_000, 512)
    [Cluster(start=1250, end=2500, width=128), Cluster(start=2500, end=5000, width=128), \
Cluster(start=5000, end=10000, width=32)]
    """
    found: list[Cluster] = []
    start = shortlist(vocabulary)
    while start < vocabulary:
        width = max(min(NARROWEST, hidden), hidden // 4 ** (1 + len(found) // 2))
        found.append(Cluster(start, min(2 * start, vocabulary), width))
        start *= 2
    return found
