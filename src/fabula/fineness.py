"""How fine the subwords of a text should be when it will be read many times: n-gram models try it; knows no network.

The oftener a text is read, the less it matters that smaller units are more; whether they are foretold better depends on
the text, and a model that is fitted in a second ranks them as a network does after minutes (figures in docs/log.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fabula import ngram
from fabula.tokens import Tokenizer, build

FINER = math.sqrt(0.5)
"""Each vocabulary that is tried, as a share of the one before it."""

LEAST = 300
"""Subwords below which nothing is left to join."""

GAIN = 0.001
"""Share of the bits that a finer vocabulary must save to be worth its longer texts."""

BYTES_PER_SECOND = 40_000
"""What two cores learn from with subwords, roughly."""

UNTIL = 1.75
"""Readings up to which the usual size is the best; each doubling from there allows one step more."""

JUDGED = 0.05
"""Share of the text, its end, that the others are judged by."""


def steps(size: int, seconds: float) -> int:
    """How many times a text of so many bytes may be made finer, when there are so many seconds to learn it.

    >>> [steps(1_000_000, seconds) for seconds in (60, 180, 600)]
    [0, 2, 3]
    """
    readings = seconds * BYTES_PER_SECOND / max(size, 1)
    return max(0, int(math.log2(max(readings, 1.0) / UNTIL)))


def finer(usual: Tokenizer, texts: Sequence[str], steps: int) -> Tokenizer:
    """Finer subwords than the usual, by up to so many steps as long as each is foretold better."""
    if steps < 1:
        return usual
    known, judged = _parted(texts)
    best, bits = usual, _bits(usual, known, judged)
    for _ in range(steps):
        size = int(best.size * FINER)
        if size < LEAST:
            break
        tried = build("subwords", texts, size)
        its = _bits(tried, known, judged)
        if its > (1 - GAIN) * bits:
            break
        best, bits = tried, its
    return best


def _parted(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Most of the texts to fit on, and the last of them to judge by."""
    left = round(JUDGED * sum(map(len, texts)))
    known = list(texts)
    judged: list[str] = []
    while left > 0:
        last = known.pop()
        judged.append(last[-left:])
        if len(last) > left:
            known.append(last[:-left])
        left -= len(last)
    return known, judged


def _bits(tokenizer: Tokenizer, known: Sequence[str], judged: Sequence[str]) -> float:
    """What an n-gram model of the known texts pays for the others; their bytes are the same for every tokenizer."""
    model = ngram.fit(tokenizer.encode_many(known), tokenizer.end, tokenizer.size)
    return float(model.costs(tokenizer.encode_many(judged)).sum())
