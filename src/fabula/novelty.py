"""How much of a text is copied: its runs of words that also stand in the source. Knows no network and no file.

The source is remembered as hashed runs of `SHORTEST` words, each with the one that begins a word later, so that a run
of any length is found exactly; what it says cannot be read from them. Hashes have 64 bits: two different runs among a
million meet by chance once in forty million times.

Legend: N runs of `SHORTEST` words in the source, n words that were told.
"""

from __future__ import annotations

import functools
import hashlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

SHORTEST = 4
"""Words in a row that count as copied; three can meet by chance."""

LONG = 8
"""Words in a row that nobody writes twice by chance."""

NONE = 2**32 - 1
"""In place of a follower: the story ends here."""

_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)
"""Odd numbers, one for each word of a run: the order of the words counts."""
_AT_ONCE = 1 << 20
"""Runs whose numbers are made at once: 32 MB."""

(_ONE, _TWO, _THREE, _FOUR), _MASK = _FACTORS.tolist(), (1 << 64) - 1

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Run:
    """Words in a row that the source has too."""

    start: int
    """The first of them in what was told."""
    length: int
    place: int
    """Where the same words begin in the source, counted in words; -1 where the source is not at hand."""


@dataclass(frozen=True)
class Copied:
    """What is copied in one story."""

    runs: tuple[Run, ...]
    """Every longest run of at least `SHORTEST` words, by its start; they may overlap."""
    share: float
    """Of the words told after the prompt, how many lie in such a run."""
    longest: int
    """Words in the longest run, 0 without one."""
    long_share: float = 0.0
    """Of the words told after the prompt, how many lie in a run of at least `LONG`."""


@dataclass(frozen=True)
class Trail:
    """The runs of the source that a text may be in the midst of: all that agree with its last `SHORTEST` words."""

    first: int = 0
    """Their places in the index, the first of them ..."""
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """... and for each place from there on, how many words agree."""

    @property
    def longest(self) -> int:
        """Most words that agree, 0 for none."""
        return int(self.lengths.max(initial=0))


@dataclass(frozen=True)
class Index:
    """The runs of a source, sorted by their hash."""

    hashes: Hashes
    """Of every run, (N,)."""
    follows: NDArray[np.uint32]
    """Where in `hashes` the run stands that begins one word later, (N,); `NONE` at the end of a story."""
    places: NDArray[np.int64] | None = None
    """Where in the source each run begins, in words, (N,); not part of what is saved."""

    @classmethod
    def of(cls, stories: Iterable[Sequence[str]]) -> Self:
        """The index of stories as words; no run goes from one story into the next."""
        words, sizes = array("Q"), array("q")
        for story in stories:
            words.extend(map(word_hash, story))
            sizes.append(len(story))
        told, ends = np.frombuffer(words, np.uint64), np.cumsum(np.frombuffer(sizes, np.int64))
        inside = np.ones(max(0, len(told) - SHORTEST + 1), np.bool_)  # of each run, whether it lies in one story
        for last in range(1, SHORTEST):
            cut = ends - last
            inside[cut[(cut >= 0) & (cut < len(inside))]] = False
        places = np.flatnonzero(inside)
        spans = range(0, len(inside), _AT_ONCE)
        hashes = np.concatenate([np.zeros(0, np.uint64), *(_runs(told, inside, start) for start in spans)])
        after = np.arange(1, len(hashes) + 1)
        after[:-1][np.diff(places) > 1] = -1  # the last run of a story
        after[-1:] = -1
        order, follows = _sorted(hashes, after)
        return cls(hashes[order], follows, places[order])

    @property
    def is_sound(self) -> bool:
        """Whether it is sorted and every follower is there."""
        ends = self.follows == NONE
        return bool((self.hashes[1:] >= self.hashes[:-1]).all() and (ends | (self.follows < len(self.hashes))).all())

    @functools.cached_property
    def _sorted(self) -> memoryview:
        """The hashes as Python's own numbers: one is found in a fraction of numpy's time."""
        return np.ascontiguousarray(self.hashes, np.uint64).data

    @functools.cached_property
    def _begins(self) -> memoryview:
        """Where the hashes that begin with each two bytes begin: what is looked for lies between two of these."""
        lowest = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)
        return np.append(self.hashes.searchsorted(lowest), len(self.hashes)).astype(np.uint32).data

    def has(self, run: int) -> bool:
        """Whether the source has a run of `SHORTEST` words, given by its hash."""
        begins, place = self._begins, run >> 48
        last = begins[place + 1]
        first = bisect_left(self._sorted, run, begins[place], last)
        return first < last and self._sorted[first] == run

    def go_on(self, trail: Trail, run: int) -> Trail:
        """The trail of a text that has one word more, `run` being the hash of its last `SHORTEST` words."""
        first = bisect_left(self._sorted, run)
        last = bisect_right(self._sorted, run, first)
        if first == last:
            return LOST
        if last - first == 1 and len(trail.lengths) < 2:  # by far the most
            follows = len(trail.lengths) == 1 and self.follows[trail.first] == first
            return Trail(first, trail.lengths + 1 if follows else _SHORTEST)
        lengths = np.full(last - first, SHORTEST, np.int64)
        if len(trail.lengths):
            followers = self.follows[trail.first : trail.first + len(trail.lengths)].astype(np.int64)
            true = (first <= followers) & (followers < last)
            lengths[followers[true] - first] = trail.lengths[true] + 1
        return Trail(first, lengths)

    def copied(self, told: Sequence[str], prompt: int = 0) -> Copied:
        """What some words have from the source; the first `prompt` of them were given and count in no share."""
        hashes = run_hashes(word_hashes(told))
        known = _is_there(self.hashes, hashes)
        lengths, places = np.zeros(len(hashes), np.int64), np.full(len(hashes), -1)
        trail = LOST
        for number, run in enumerate(hashes.tolist()):
            trail = self.go_on(trail, run) if known[number] else LOST
            if known[number]:
                best = int(trail.lengths.argmax())  # the first of the longest
                lengths[number] = trail.lengths[best]
                if self.places is not None:
                    places[number] = self.places[trail.first + best] + SHORTEST - lengths[number]
        return _summary(lengths, places, len(told), prompt)


LOST = Trail()
"""The trail of a text whose last words are no run of the source."""
_SHORTEST = np.full(1, SHORTEST, np.int64)


def _is_there(hashes: Hashes, wanted: Hashes) -> NDArray[np.bool_]:
    """Which of `wanted` (n,) stand among sorted `hashes`."""
    if not len(hashes):
        return np.zeros(len(wanted), bool)
    return hashes[np.minimum(hashes.searchsorted(wanted), len(hashes) - 1)] == wanted


def _summary(lengths: NDArray[np.int64], places: NDArray[np.int64], words: int, prompt: int) -> Copied:
    """From the length of the longest run that ends with each word but the first three."""
    goes_on = np.zeros(len(lengths), bool)
    goes_on[:-1] = lengths[1:] == lengths[:-1] + 1
    runs, inside, deep = list[Run](), np.zeros(words, bool), np.zeros(words, bool)
    for end in np.flatnonzero((lengths > 0) & ~goes_on):
        length = int(lengths[end])
        start = int(end) + SHORTEST - length
        runs.append(Run(start, length, int(places[end])))
        inside[start : start + length] = True
        if length >= LONG:
            deep[start : start + length] = True
    share, long_share = (float(marked[prompt:].mean()) if words > prompt else 0.0 for marked in (inside, deep))
    return Copied(tuple(runs), share, max((run.length for run in runs), default=0), long_share)


def joined(indexes: Sequence[Index]) -> Index:
    """The index of all their sources together."""
    hashes = np.concatenate([index.hashes for index in indexes])
    begins = np.cumsum([0, *(len(index.hashes) for index in indexes)])
    after = [
        np.where(index.follows == NONE, -1, index.follows.astype(np.int64) + begun)
        for index, begun in zip(indexes, begins, strict=False)
    ]
    order, follows = _sorted(hashes, np.concatenate(after))
    return Index(hashes[order], follows)


def _sorted(hashes: Hashes, after: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """The order of runs by their hashes, equal ones as they came, and in that order which follows each.

    `after` (N,) says which follows each as they came, -1 for none.
    """
    order = np.argsort(hashes, kind="stable")
    ranks = np.empty(len(order), np.uint32)
    ranks[order] = np.arange(len(order), dtype=np.uint32)
    follows = np.full(len(order), NONE, np.uint32)
    there = after >= 0
    follows[ranks[there]] = ranks[after[there]]
    return order, follows


def copied(told: Sequence[str], source: Sequence[str], prompt: int = 0) -> Copied:
    """Find what `told` has from `source`; its first `prompt` words were given and do not count in the shares.

    >>> copied("so the cat , the old cat said".split(), "some of the cat , the old mouse".split())
    Copied(runs=(Run(start=1, length=5, place=2),), share=0.625, longest=5, long_share=0.0)
    """
    return Index.of([source]).copied(told, prompt)


def word_hashes(words: Sequence[str]) -> Hashes:
    """A number for each word: (n,)."""
    return np.fromiter(map(word_hash, words), np.uint64, len(words))


@functools.lru_cache(maxsize=1 << 17)
def word_hash(word: str) -> int:
    """The number of one word."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def run_hash(words: Sequence[str]) -> int:
    """The number of one run of `SHORTEST` words, as `run_hashes` makes it, in a fraction of the time.

    >>> words = "the cat sat down".split()
    >>> run_hash(words) == run_hashes(word_hashes(words))[0]
    np.True_
    """
    first, second, third, last = words
    mixed = word_hash(first) * _ONE + word_hash(second) * _TWO + word_hash(third) * _THREE + word_hash(last) * _FOUR
    mixed &= _MASK
    return (mixed ^ mixed >> 29) * _ONE & _MASK


def _runs(words: Hashes, inside: NDArray[np.bool_], start: int) -> Hashes:
    """The numbers of some runs, beginning with that of a place, without those that no story has."""
    found = run_hashes(words[start : start + _AT_ONCE + SHORTEST - 1])
    return found[inside[start : start + _AT_ONCE]]


def run_hashes(words: Hashes) -> Hashes:
    """A number for each run of `SHORTEST` words: (n,) -> (n - SHORTEST + 1,), none of fewer words."""
    if len(words) < SHORTEST:
        return np.zeros(0, np.uint64)
    views = np.lib.stride_tricks.sliding_window_view(words, SHORTEST)  # (n - 3, 4)
    mixed = (views * _FACTORS).sum(axis=1, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(29)
    return mixed * _FACTORS[0]
