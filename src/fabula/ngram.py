"""The honest baseline: an interpolated modified Kneser-Ney n-gram model of token ids; knows no text and no network.

Chen & Goodman, An Empirical Study of Smoothing Techniques for Language Modeling (1999). An end mark stands before and
after every story, and nothing is foretold from what lies before the latest end mark.

Legend: N units read, V vocabulary, G different n-grams of one length, C different n-grams one unit shorter.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fabula.errors import UsageError

Ids = NDArray[np.int32]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """All n-grams of one length, numbered by their order; number -1 is one that was never seen."""

    keys: Integers
    """Sorted, shape (G,): V times the number of the gram's first n-1 units, and its last unit."""
    own: Floats
    """Share of each gram in its context, discounted, shape (G + 1,); the last one, of a gram never seen, is 0."""
    rest: Floats
    """Share of each context that is left to the shorter grams, shape (C + 1,); the last, of one never seen, is 1."""

    def find(self, keys: Integers) -> Integers:
        """Numbers of some grams, -1 for those never seen."""
        places = np.searchsorted(self.keys, keys)
        seen = places < len(self.keys)
        seen[seen] = self.keys[places[seen]] == keys[seen]
        return np.where(seen, places, -1)


@dataclass(frozen=True)
class KneserNey:
    """The fitted model: a chance for every unit, and what each longer context changes about it.

    >>> told = [np.array([0, 1, 0, 1, 2], np.int32), np.array([0, 1], np.int32)]
    >>> model = fit(told, end=3, vocabulary=4, order=3)
    >>> int(model.distribution(np.array([3, 0], np.int32)).argmax())
    1
    """

    end: int
    """The id that stands before and after every story."""
    units: Floats
    """Probability of each unit without any context, shape (V,); none is 0."""
    tables: tuple[Table, ...]
    """The pairs first, then the triples, and so on."""

    def log_probabilities(self, story: Ids) -> Floats:
        """Natural logarithm of the chance of each unit and of the end mark after the story, shape (N + 1,).

        An end mark inside begins a new story: many can be judged in one call. Errors: UsageError for an unknown id.
        """
        stream = _stream([story], self.end, len(self.units))
        chances, numbers = self.units[stream[1:]], stream
        for table in self.tables:
            contexts, numbers = numbers[:-1], self._longer(table, numbers, stream)
            chances = table.own[numbers[1:]] + table.rest[contexts] * chances
        return np.log(chances)

    def distribution(self, context: Ids) -> NDArray[np.float32]:
        """Chance of every unit after `context`, shape (V,); a story's first unit comes after the end mark.

        Errors: UsageError for an unknown id.
        """
        vocabulary = len(self.units)
        near = _checked(context[max(0, len(context) - len(self.tables)) :], vocabulary)
        contexts: list[int] = []
        numbers = near
        for table in self.tables[: len(near)]:
            contexts.append(int(numbers[-1]))
            numbers = self._longer(table, numbers, near)
        chances, left = np.zeros(vocabulary), 1.0
        for table, number in reversed(list(zip(self.tables, contexts, strict=False))):
            if number >= 0:
                first, last = np.searchsorted(table.keys, (number * vocabulary, (number + 1) * vocabulary))
                chances[table.keys[first:last] - number * vocabulary] += left * table.own[first:last]
                left *= float(table.rest[number])
        chances += left * self.units
        return chances.astype(np.float32)

    def costs(self, stories: Sequence[Ids]) -> Floats:
        """What it pays for each unit of some stories, and for the end mark after each: nats (N,)."""
        mark = np.array([self.end], np.int32)
        parts = [part for story in stories for part in (story, mark)][:-1]  # the last end mark comes of itself
        return -self.log_probabilities(np.concatenate(parts))

    def _longer(self, table: Table, numbers: Integers, stream: Integers) -> Integers:
        """Numbers of the grams of this table that end at each unit, from those of the grams one unit shorter."""
        found = table.find(numbers[:-1] * len(self.units) + stream[1:])  # a key of number -1 is below 0: never found
        return np.concatenate([[-1], found])


def fit(stories: Sequence[Ids], end: int, vocabulary: int, order: int = 5) -> KneserNey:
    """Count the n-grams of some stories (ids without end marks), n up to `order`, and discount them.

    Errors: UsageError for an order below 1 or an id outside the vocabulary.
    """
    if order < 1:
        raise UsageError(f"order of an n-gram model must be at least 1, got {order}")
    stream = _stream(stories, end, vocabulary)  # (N + 1,): all but the first are foretold
    keys: list[Integers] = []
    counts = [np.bincount(stream[1:], minlength=vocabulary)]
    numbers = stream  # of the gram that ends at each unit, -1 where it would look past an end mark
    for length in range(2, order + 1):
        whole = numbers[:-1] >= 0
        if length > 2:
            whole &= stream[:-1] != end
        places = 1 + np.flatnonzero(whole)
        found, members, often = np.unique(
            numbers[places - 1] * vocabulary + stream[places], return_inverse=True, return_counts=True
        )
        # A shorter gram counts once for each unit that was seen before it, but nothing stands before an end mark:
        # the grams that begin with one keep their true counts.
        example = np.empty(len(found), np.int64)
        example[members] = places
        befores = np.bincount(numbers[example], minlength=len(counts[-1]))
        counts[-1] = np.where(befores, befores, counts[-1])
        keys.append(found)
        counts.append(often)
        numbers = np.full(len(stream), -1, np.int64)
        numbers[places] = members
    own, rest = _shares(np.zeros(vocabulary, np.int64), counts[0], 1)
    units = own[:-1] + rest[0] / vocabulary
    tables = (
        Table(grams, *_shares(grams // vocabulary, often, len(shorter)))
        for grams, often, shorter in zip(keys, counts[1:], counts, strict=False)
    )
    return KneserNey(end, units, tuple(tables))


def _shares(contexts: Integers, counts: Integers, size: int) -> tuple[Floats, Floats]:
    """`Table.own` and `Table.rest`, from the context and the count of each gram, and the number of contexts."""
    discounts = _discounts(counts)[np.minimum(counts, 3)]
    totals = np.bincount(contexts, counts, minlength=size)
    rest = np.ones(size + 1)
    np.divide(np.bincount(contexts, discounts, minlength=size), totals, out=rest[:-1], where=totals > 0)
    own = np.zeros(len(counts) + 1)
    np.divide(counts - discounts, totals[contexts], out=own[:-1], where=counts > 0)
    return own, rest


def _discounts(counts: Integers) -> Floats:
    """What is taken from counts of 0, 1, 2, and 3 or more (Chen & Goodman, equation 26), shape (4,).

    The estimate needs grams of each small count. Where it does not lie inside (0, k), k/2 is taken: so no gram loses
    all it has, and every context leaves something to the units never seen in it.
    """
    few = np.bincount(np.minimum(counts, 5), minlength=6)
    discounts = np.array([0.0, 0.5, 1.0, 1.5])
    for k in range(1, 4):
        if few[1] and few[k]:
            estimate = k - (k + 1) * few[1] / (few[1] + 2 * few[2]) * few[k + 1] / few[k]
            if 0 < estimate < k:
                discounts[k] = estimate
    return discounts


def _stream(stories: Sequence[Ids], end: int, vocabulary: int) -> Integers:
    """One stream `end s1 end s2 ... end` of the stories, shape (N + 1,)."""
    mark = np.array([end])
    return _checked(np.concatenate([mark, *(part for story in stories for part in (story, mark))]), vocabulary)


def _checked(ids: Ids | Integers, vocabulary: int) -> Integers:
    """The ids as they are counted; errors: UsageError for one that is no unit, which would count as another."""
    strange = ids[(ids < 0) | (ids >= vocabulary)]
    if strange.size:
        raise UsageError(f"ids must lie in 0..{vocabulary - 1}, got {reprlib.repr(strange.tolist())}")
    return ids.astype(np.int64)
