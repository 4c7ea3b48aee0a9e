"""A peer's text as ids, and what it costs to spell the units it does not know; knows no network.

A unit seen once while learning becomes `<unk>`, so that its chance is learned, unless the text brings its own `<unk>`
(WikiText). Where `<unk>` is foretold, the unit still has to be spelled: by a Kneser-Ney model of characters, fitted on
the units that became `<unk>`; a character new even to that one costs as much as any of Unicode. So every bit that is
needed to write the text down is paid for, as it is in fabula.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from fabula import ngram
from fabula.streams import join

UNKNOWN = "<unk>"
CUTS: dict[str, Callable[[str], list[str]]] = {
    "space": lambda text: [word for line in text.removesuffix("\n").split("\n") for word in (*line.split(), "<eos>")],
    "words": re.compile(r" ?\w+(?:['’]\w+)*| ?[^\w\s]|\s").findall,
    "chars": list,
}
"""`space` is the published way of WikiText, and gives the white space away; the units of the others, joined, are the
text: words and marks, each with the space before it, or characters."""


def judged(nats: float, units: "Units", text: str, cut: str) -> dict[str, float]:
    """What a peer says of a whole text: what foretelling its units cost, and what spelling the unknown ones adds."""
    told = CUTS[cut](text)
    spelling, unknown = units.spelling(told)
    nats += spelling
    return {
        "nats": nats,
        "bits_per_byte": nats / math.log(2) / len(text.encode()),
        "perplexity": math.exp(nats / len(told)),
        "tokens": len(told),
        "unknown": unknown,
        "spelling_nats": spelling,
    }


class Units:
    """The units of a training text by falling count; the last id is `<unk>`."""

    def __init__(self, learned: Sequence[str]) -> None:
        counts = Counter(learned)
        least = 1 if UNKNOWN in counts else 2
        known = [unit for unit, count in counts.most_common() if count >= least and unit != UNKNOWN]
        self.ids = {unit: number for number, unit in enumerate([*known, UNKNOWN])}
        rare = [unit for unit, count in counts.items() if count == 1] or known
        self._letters = {letter: number for number, letter in enumerate(sorted(set("".join(rare))))}
        self._end = len(self._letters) + 1  # between them is the place of all other characters
        self._speller = ngram.fit([self._spelled(unit) for unit in rare], self._end, self._end + 1, 5)

    def encode(self, units: Sequence[str]) -> np.ndarray:
        """Ids, shape (N,)."""
        unknown = self.ids[UNKNOWN]
        return np.array([self.ids.get(unit, unknown) for unit in units], np.int64)

    def spelling(self, units: Sequence[str]) -> tuple[float, int]:
        """Nats of all units that are not known, and how many there are."""
        unknown = [unit for unit in units if unit not in self.ids]
        if not unknown:
            return 0.0, 0
        letters = join([self._spelled(unit) for unit in unknown], self._end)[1:]
        strange = int((letters == len(self._letters)).sum())
        return strange * math.log(0x110000) - float(self._speller.log_probabilities(letters).sum()), len(unknown)

    def _spelled(self, unit: str) -> np.ndarray:
        return np.array([self._letters.get(letter, len(self._letters)) for letter in unit], np.int32)
