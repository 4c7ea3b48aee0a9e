"""The likeliest whole words for a gap: beams over units, each word with the chance that it is just this word.

Knows no tree and no sampling. Legend: W words looked at side by side, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fabula.engine import Floats, State
from fabula.table.seams import Mask, Seams

WIDE = 16
"""Words looked at side by side, W."""

LONG = 24
"""Units of the longest word that is found."""

Step = Callable[[Sequence[int], State], tuple[Floats, State]]


class Choice(NamedTuple):
    """A word that could stand in a gap."""

    text: str
    units: tuple[int, ...]
    chance: float
    """That just this word comes next, and then another or the end."""


class _Beam(NamedTuple):
    """A word that may yet grow."""

    log: float
    units: tuple[int, ...]
    text: str
    rest: bytes


def likeliest(
    step: Step, seams: Seams, scores: Floats, state: State, *, first: Mask, end: int, count: int
) -> list[Choice]:
    """The likeliest words by scores (V,) and the state of one row, beginning with one of the units `first` (V,)."""
    begun: Floats = np.where(first, scores, np.float32(-np.inf))
    begun -= np.float32(_sum(begun))
    beams = _best([(_Beam(0.0, (), "", b""), begun)], seams, -np.inf)
    states = tuple(np.repeat(part, len(beams), axis=0) for part in state)
    done: dict[str, tuple[float, tuple[int, ...]]] = {}
    for _ in range(LONG):
        rows, states = step([beam.units[-1] for _, beam in beams], states)  # (W, V)
        growing: list[tuple[_Beam, Floats]] = []
        for (_, beam), row in zip(beams, rows, strict=True):
            ends = np.zeros(len(row), np.bool_)
            if not beam.rest:
                ends = seams.begins(beam.text).copy()
                ends[end] = True
                _finish(done, beam, beam.log + _sum(row[ends]))
            growing.append((beam, np.where(ends, np.float32(-np.inf), row)))
        floor = sorted((log for log, _ in done.values()), reverse=True)[count - 1 : count]
        beams = _best(growing, seams, floor[0] if floor else -np.inf)
        if not beams:
            break
        states = tuple(part[[row for row, _ in beams]] for part in states)
    ranked = sorted(done.items(), key=lambda item: (-item[1][0], item[0]))
    return [Choice(text, units, float(np.exp(log))) for text, (log, units) in ranked[:count]]


def _finish(done: dict[str, tuple[float, tuple[int, ...]]], beam: _Beam, log: float) -> None:
    """Note a word that is complete; one spelled in several ways is as likely as all of them, by its likeliest units."""
    if beam.text.strip() and "\ufffd" not in beam.text and np.isfinite(log):  # bytes of no character are no word
        old, units = done.get(beam.text, (-np.inf, beam.units))
        done[beam.text] = (float(np.logaddexp(old, log)), units if old > log else beam.units)


def _best(growing: list[tuple[_Beam, Floats]], seams: Seams, floor: float) -> list[tuple[int, _Beam]]:
    """The likeliest W of all words with one unit more, likelier than `floor`, and the row that each came from."""
    found: list[tuple[float, int, int]] = []
    for row, (beam, scores) in enumerate(growing):
        top = np.argpartition(scores, -WIDE)[-WIDE:] if len(scores) > WIDE else np.arange(len(scores))
        found += [(beam.log + float(scores[unit]), row, int(unit)) for unit in top]
    found = sorted((one for one in found if one[0] > floor), key=lambda one: (-one[0], one[1:]))
    beams: list[tuple[int, _Beam]] = []
    for log, row, unit in found[:WIDE]:
        beam = growing[row][0]
        text, rest = seams.spell(beam.text, beam.rest, unit)
        beams.append((row, _Beam(log, (*beam.units, unit), text, rest)))
    return beams


def _sum(logs: Floats) -> float:
    """The logarithm of the sum of the probabilities."""
    top = float(logs.max(initial=-np.inf))
    return top + float(np.log(np.exp(logs - top).sum())) if np.isfinite(top) else -np.inf
