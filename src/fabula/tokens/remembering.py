"""Many texts to ids as fast as one core can: what a word becomes is remembered; the ids are those of the tokenizer.

A piece of `words` or `subwords` has a space only at its beginning, so what lies between two spaces can be encoded apart,
and most of it has been met before.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from fabula.tokens.contract import Ids, Tokenizer, utf8
from fabula.tokens.pieces import PieceTokenizer, chunks

MOST = 1 << 16
"""Words that are remembered, some two hundred bytes each: the first that are met, and so most of the frequent ones."""

LONGEST = 24
"""Characters of a word that is worth remembering."""


_PASSING = 1 << 24
"""From here on words are numbered that are not remembered."""


class _Memory:
    """The ids of numbered words, one after another."""

    def __init__(self) -> None:
        self.ids = np.empty(0, np.int32)
        self.starts = np.zeros(1, np.int64)  # where those of each number begin, and where the last end
        self.new: list[str] = []

    def add(self, word: str) -> int:
        """The number of a word that is new."""
        self.new.append(word)
        return len(self.starts) - 2 + len(self.new)

    def encode_new(self, tokenizer: PieceTokenizer) -> None:
        """Find the ids of the new ones."""
        parts = tokenizer.encode_pieces(self.new)
        lengths = np.fromiter(map(len, parts), np.int64, len(parts))
        added = np.fromiter(chain.from_iterable(parts), np.int32, int(lengths.sum()))
        self.ids = np.concatenate([self.ids, added])
        self.starts = np.concatenate([self.starts, self.starts[-1] + np.cumsum(lengths)])
        self.new = []


class _Numbers(dict[str, int]):
    """The number of every word that was met after the same: a space, or nothing."""

    def __init__(self, owner: Remembering, lead: str) -> None:
        super().__init__()
        self._owner, self._lead = owner, lead
        self.passing: dict[str, int] = {}

    def __missing__(self, word: str) -> int:
        number = self.passing.get(word)
        if number is not None:
            return number
        if len(word) <= LONGEST and not self._owner.is_full:
            number = self[word] = self._owner.kept.add(self._lead + word)
        else:
            number = self.passing[word] = _PASSING + self._owner.passing.add(self._lead + word)
        return number


class Remembering:
    """Encodes for one tokenizer, one call after the other.

    >>> from fabula.tokens.subwords import Subwords
    >>> ids, lengths = Remembering(Subwords([(97, 98), (256, 99)])).encode_many(["abc", "ab abc"])
    >>> ids.tolist(), lengths.tolist()
    ([257, 256, 32, 257], [1, 3])
    """

    def __init__(self, tokenizer: Tokenizer, most: int = MOST) -> None:
        self._tokenizer, self._most = tokenizer, most
        self._first, self._later = _Numbers(self, ""), _Numbers(self, " ")
        self.kept, self.passing = _Memory(), _Memory()

    @property
    def is_full(self) -> bool:
        """Whether no more words are remembered."""
        return len(self._first) + len(self._later) >= self._most

    def encode_many(self, texts: Sequence[str]) -> tuple[Ids, NDArray[np.int64]]:
        """The ids of some texts one after another, and how many each has; errors as of the tokenizer."""
        if not isinstance(self._tokenizer, PieceTokenizer):
            parts = self._tokenizer.encode_many(texts)
            together = np.concatenate(parts) if parts else np.empty(0, np.int32)
            return together, np.array([len(part) for part in parts], np.int64)
        numbers, counts = list[NDArray[np.int32]](), list[int]()
        for text in texts:
            utf8(text)
            words = 0
            for chunk in chunks(text):
                split = chunk.split(" ")
                numbers.append(np.array([self._first[split[0]]], np.int32))
                numbers.append(
                    np.fromiter(map(self._later.__getitem__, islice(split, 1, None)), np.int32, len(split) - 1)
                )
                words += len(split)
            counts.append(words)
        if not numbers:
            return np.empty(0, np.int32), np.empty(0, np.int64)
        self.kept.encode_new(self._tokenizer)
        self.passing.encode_new(self._tokenizer)
        found = self._expanded(np.concatenate(numbers), np.array(counts, np.int64))
        self.passing = _Memory()
        self._first.passing.clear()
        self._later.passing.clear()
        return found

    def _expanded(self, numbers: NDArray[np.int32], counts: NDArray[np.int64]) -> tuple[Ids, NDArray[np.int64]]:
        """The ids of all words in their order, and how many belong to each text of so many words."""
        kept, passing = self.kept, self.passing
        memory = np.concatenate([kept.ids, passing.ids])
        starts = np.concatenate([kept.starts, kept.starts[-1] + passing.starts[1:]])
        numbers = np.where(numbers < _PASSING, numbers, numbers - _PASSING + len(kept.starts) - 1)
        begins = starts[numbers]
        lengths = starts[numbers + 1] - begins
        ends = np.cumsum(lengths)
        shifts = np.repeat(begins - ends + lengths, lengths)  # from the place in the result to that in the memory
        ids = memory[shifts + np.arange(ends[-1])]
        edges = np.concatenate([[0], ends])[np.concatenate([[0], np.cumsum(counts)])]
        return ids, np.diff(edges)
