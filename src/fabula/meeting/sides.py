"""What was drafted from one side, where it may be cut, and what the model of that side thinks of it.

Legend: P places of this side, O places of the other, K ways to join two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabula.engine import Floats
from fabula.meeting.drafts import Cut, Draft, Heard, Reading, Voice, cost, read

Nats = NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """The drafts of one side, each with the places where it may be cut."""

    voice: Voice
    drafts: Sequence[Draft]
    places: Sequence[tuple[int, Cut]]
    """A draft's number, and a cut of it."""
    borders: Sequence[int]
    """The unit at each place that will stand beside the other side's."""

    def read(self, heard: Heard, other: Side) -> Reading:
        """What the model thinks of its drafts, and of the other side's borders at every moment."""
        return read(self.voice, heard, [draft.units for draft in self.drafts], np.unique(other.borders))

    def units(self, place: int) -> list[int]:
        """The units up to a place, in the order in which they were drawn."""
        number, cut = self.places[place]
        return self.drafts[number].units[: cut.units]

    @property
    def rows(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Of each place the draft and how many units it takes of it: (P,) twice."""
        pairs = np.array([(number, cut.units) for number, cut in self.places], np.intp)
        return pairs[:, 0], pairs[:, 1]

    @property
    def words(self) -> NDArray[np.intp]:
        """Words up to each place: (P,)."""
        return np.array([cut.words for _, cut in self.places])

    def scores(self, reading: Reading, other: Side) -> Floats:
        """Log-probability of each of the other side's borders after each place: (P, O)."""
        return reading.said[self.rows][:, np.searchsorted(np.unique(other.borders), other.borders)]

    def nats(self, reading: Reading, places: Sequence[int], then: Sequence[Sequence[int]], first: Floats) -> Nats:
        """Nats for each unit up to some places and of those that come `then`: (K,).

        `first` (K,) are the log-probabilities of the first that comes then.
        """
        number, count = (row[list(places)] for row in self.rows)
        at = list(zip(number.tolist(), count.tolist(), strict=True))
        total = reading.nats[number, count] - first + cost(self.voice, reading.after(at), then)
        return total / (count + [len(units) for units in then])


def left(voice: Voice, drafts: Sequence[Draft]) -> Side:
    """The side of the prompt."""
    places = [(number, cut) for number, draft in enumerate(drafts) for cut in draft.cuts]
    return Side(voice, drafts, places, [drafts[number].units[cut.units - 1] for number, cut in places])


def right(voice: Voice, drafts: Sequence[Draft], end: int) -> Side:
    """The side of the end, whose first unit is `end`; it may come at once."""
    places = [(number, cut) for number, draft in enumerate(drafts) for cut in draft.cuts]
    borders = [drafts[number].units[cut.units - 1] for number, cut in places]
    return Side(voice, drafts, [(0, Cut(0, 0, "")), *places], [end, *borders])
