"""Stories that are copies or near copies of others, by MinHash; knows no files.

A. Broder, On the resemblance and containment of documents, 1997: the share of equal minima of two texts estimates how
many of their runs of words they have in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabula.text.counting import words_of

ALIKE = 0.6
"""Share of common word runs from which two stories are called near copies."""

_RUN = 3  # words in a row
_HASHES, _BANDS = 64, 16  # two texts that share 0.6 meet in a band with probability 0.89
_BLOCK = 1 << 14
_MIX = np.uint64(0x9E3779B97F4A7C15)

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Duplicates:
    """Copies among some texts."""

    exact: list[tuple[int, int]]
    """Places of a text and of its first appearance."""
    near: list[tuple[int, int, float]]
    """Places of two texts and their estimated likeness, the most alike first."""


def find_duplicates(texts: Sequence[str]) -> Duplicates:
    """Exact and near copies. Of many that are alike, each is paired with the first of them only."""
    first: dict[str, int] = {}
    exact: list[tuple[int, int]] = []
    for place, text in enumerate(texts):
        original = first.setdefault(text.strip(), place)
        if original != place:
            exact.append((place, original))
    return Duplicates(exact, _near(texts, list(first.values())))


def _near(texts: Sequence[str], places: Sequence[int]) -> list[tuple[int, int, float]]:
    numbers: dict[str, int] = {}
    signatures: list[Hashes] = []
    kept: list[int] = []
    for place in places if len(places) > 1 else ():
        runs = _word_runs(texts[place], numbers)
        if runs.size:
            signatures.append(_signature(runs))
            kept.append(place)
    if not kept:
        return []
    table = np.stack(signatures)  # (texts, hashes)
    pairs: dict[tuple[int, int], float] = {}
    for a, b in _meeting(table):
        likeness = float(np.mean(table[a] == table[b]))
        if likeness >= ALIKE:
            pairs[kept[a], kept[b]] = likeness
    return sorted(((a, b, likeness) for (a, b), likeness in pairs.items()), key=lambda pair: (-pair[2], pair[:2]))


def _word_runs(text: str, numbers: dict[str, int]) -> Hashes:
    """One hash for each different run of words; empty for a text of fewer words."""
    ids = np.array([numbers.setdefault(word, len(numbers) + 1) for word in words_of(text)], dtype=np.uint64)
    if ids.size < _RUN:
        return ids[:0]
    runs = np.zeros(ids.size - _RUN + 1, dtype=np.uint64)
    for offset in range(_RUN):
        runs = (runs ^ ids[offset : offset + runs.size]) * _MIX
        runs ^= runs >> np.uint64(29)
    return np.unique(runs)


def _signature(runs: Hashes) -> Hashes:
    """The smallest value of each of `_HASHES` hash functions over all runs, shape (hashes,)."""
    multipliers = np.random.default_rng(0).integers(1, 2**63, _HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    smallest = np.full(_HASHES, np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, runs.size, _BLOCK):
        products = multipliers[:, None] * runs[None, start : start + _BLOCK]  # (hashes, runs)
        smallest = np.minimum(smallest, products.min(axis=1))
    return smallest


def _meeting(table: Hashes) -> Iterator[tuple[int, int]]:
    """Rows that agree in a whole band of hashes, each with the first such row."""
    for band in np.split(table, _BANDS, axis=1):
        _, rows, group = np.unique(band, axis=0, return_index=True, return_inverse=True)
        leaders = rows[group.reshape(-1)]  # the first row with the same band
        for row in np.flatnonzero(leaders != np.arange(len(leaders))):
            yield int(leaders[row]), int(row)
