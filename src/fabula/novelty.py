"""How much of a text is copied: its runs of words that also stand in the source. Knows no network and no file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

SHORTEST = 4
"""Words in a row that count as copied; three can meet by chance."""


@dataclass(frozen=True)
class Run:
    """Words in a row that the source has too."""

    start: int
    """The first of them in what was told."""
    length: int
    place: int
    """Where the same words begin in the source."""


@dataclass(frozen=True)
class Copied:
    """What is copied in one story."""

    runs: tuple[Run, ...]
    """Every longest run of at least `SHORTEST` words, by its start; they may overlap."""
    share: float
    """Of the words told after the prompt, how many lie in such a run."""
    longest: int
    """Words in the longest run, 0 without one."""


def copied(told: Sequence[str], source: Sequence[str], prompt: int = 0) -> Copied:
    """Find what `told` has from `source`; its first `prompt` words were given and do not count in the share.

    >>> copied("so the cat , the old cat said".split(), "some of the cat , the old mouse".split())
    Copied(runs=(Run(start=1, length=5, place=2),), share=0.625, longest=5)
    """
    places = defaultdict(list)
    for place in range(len(source) - SHORTEST + 1):
        places[tuple(source[place : place + SHORTEST])].append(place)
    runs: list[Run] = []
    taken = [False] * len(told)
    for start in range(len(told) - SHORTEST + 1):
        found = places.get(tuple(told[start : start + SHORTEST]), ())
        length, place = max(((_common(told, start, source, place), -place) for place in found), default=(0, 0))
        if length and (not runs or start + length > runs[-1].start + runs[-1].length):
            runs.append(Run(start, length, -place))
            taken[start : start + length] = [True] * length
    after = taken[prompt:]
    return Copied(tuple(runs), sum(after) / len(after) if after else 0.0, max((run.length for run in runs), default=0))


def _common(told: Sequence[str], start: int, source: Sequence[str], place: int) -> int:
    """Words that agree from two places on."""
    most = min(len(told) - start, len(source) - place)
    return next((length for length in range(most) if told[start + length] != source[place + length]), most)
