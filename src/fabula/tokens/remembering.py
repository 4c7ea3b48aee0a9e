"""Many texts to ids as fast as one core can: what a word becomes is remembered; the ids are those of the tokenizer.

A piece of `words` or `subwords` has a space only at its beginning, and a point or comma is one of its own: what lies
between such places can be encoded apart, and most of it has been met before. Words are looked up by their bytes, many
at once, in a table of open addressing.

Legend: n words, N ids, L a word's bytes by eights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from fabula.tokens.contract import Ids, Tokenizer, utf8
from fabula.tokens.pieces import CHUNK, PieceTokenizer, chunks

MOST = 1 << 18
"""Words that are remembered, some sixty bytes each: the first that are met, and so most of the frequent ones."""

LONGEST = 24
"""Bytes of a word that is worth remembering."""

_POINTS = np.isin(np.arange(256), np.frombuffer(b".,;!?", np.uint8))
_LINE_ENDS = np.isin(np.arange(256), np.frombuffer(b"\r\n", np.uint8))
_APART = b"\n"
"""Stands between words that are encoded as one text, where the second has no space in front."""

_EIGHTS = LONGEST // 8
_MASKS = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)
"""What is left of eight bytes that only begin with a word's."""
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)

Integers = NDArray[np.int64]
Keys = NDArray[np.uint64]


@dataclass(frozen=True)
class _Ids:
    """The ids of some words, one after another."""

    ids: Ids
    starts: Integers
    """Where those of each word begin, and where the last end: (n+1,)."""

    def of(self, words: Integers) -> _Ids:
        """Those of some of the words, in their order."""
        begins = self.starts[words]
        lengths = self.starts[words + 1] - begins
        ends = np.cumsum(lengths)
        shifts = np.repeat(begins - ends + lengths, lengths)  # from a place in the result to that in the ids
        return _Ids(self.ids[shifts + np.arange(len(shifts))], np.concatenate([[0], ends]))

    def with_more(self, more: _Ids) -> _Ids:
        """Those of some words, and of more."""
        starts = np.concatenate([self.starts, self.starts[-1] + more.starts[1:]])
        return _Ids(np.concatenate([self.ids, more.ids]), starts)


_NONE = _Ids(np.empty(0, np.int32), np.zeros(1, np.int64))


class Remembering:
    """Encodes for one tokenizer, one call after the other.

    >>> from fabula.tokens.subwords import Subwords
    >>> ids, lengths = Remembering(Subwords([(97, 98), (256, 99)])).encode_many(["abc", "ab abc"])
    >>> ids.tolist(), lengths.tolist()
    ([257, 256, 32, 257], [1, 3])
    """

    def __init__(self, tokenizer: Tokenizer, most: int = MOST) -> None:
        self._tokenizer, self._most = tokenizer, most
        self._slots = np.full(4 * most, -1, np.int32)  # number of a word, or -1
        self._keys = np.empty((most, _EIGHTS), np.uint64)
        self._sizes = np.empty(most, np.int64)  # bytes of each word
        self._known = _NONE
        spelled = (len(tokenizer.spelling(token)) for token in range(tokenizer.size))
        self._spelled = np.fromiter(spelled, np.int64, tokenizer.size)

    @property
    def remembered(self) -> int:
        """How many words it remembers."""
        return len(self._known.starts) - 1

    def encode_many(self, texts: Sequence[str]) -> tuple[Ids, Integers]:
        """The ids of some texts one after another, and how many each has; errors as of the tokenizer."""
        if not isinstance(self._tokenizer, PieceTokenizer):
            parts = self._tokenizer.encode_many(texts)
            together = np.concatenate(parts) if parts else np.empty(0, np.int32)
            return together, np.array([len(part) for part in parts], np.int64)
        parts = [[utf8(chunk) for chunk in chunks(text)] for text in texts]
        data = b"".join(chain.from_iterable(parts))
        edges = np.cumsum([0, *(len(part) for text in parts for part in text)])
        starts = _cut(np.frombuffer(data, np.uint8), edges[:-1][edges[:-1] < len(data)])
        sizes = np.diff(starts, append=len(data))
        numbers, keys = self._find(data, starts, sizes)
        new = np.flatnonzero(numbers < 0)
        spans = zip(starts[new].tolist(), sizes[new].tolist(), strict=True)
        words = [data[start : start + size] for start, size in spans]
        distinct = {word: number for number, word in enumerate(dict.fromkeys(words))}
        fresh = self._encode(self._tokenizer, list(distinct))
        places = np.fromiter(map(distinct.__getitem__, words), np.int64, len(words))
        numbers[new] = self.remembered + places
        found = self._known.with_more(fresh).of(numbers)
        _, first = np.unique(places, return_index=True)
        self._remember(fresh, keys[new[first]], sizes[new[first]])
        ends = np.cumsum([0, *(sum(map(len, text)) for text in parts)])
        return found.ids, np.diff(found.starts[np.searchsorted(starts, ends)])

    def _find(self, data: bytes, starts: Integers, sizes: Integers) -> tuple[Integers, Keys]:
        """The number of each word (n,), -1 for one that is not known, and its bytes (n, L)."""
        padded = np.frombuffer(data + bytes(LONGEST), np.uint8)
        eights = np.lib.stride_tricks.as_strided(padded.view(np.uint8), (len(data) + LONGEST - 7, 8), (1, 1))
        keys = np.empty((len(starts), _EIGHTS), np.uint64)
        for place in range(_EIGHTS):
            keys[:, place] = np.ascontiguousarray(eights[starts + 8 * place]).view("<u8")[:, 0]
            keys[:, place] &= _MASKS[np.clip(sizes - 8 * place, 0, 8)]
        numbers = np.full(len(starts), -1, np.int64)
        left = np.flatnonzero(sizes <= LONGEST)
        slots = self._slot(keys[left], sizes[left])
        while len(left):
            found = self._slots[slots]
            taken = found >= 0  # an empty slot says that a word is not known
            left, slots, found = left[taken], slots[taken], found[taken]
            same = (self._keys[found] == keys[left]).all(axis=1) & (self._sizes[found] == sizes[left])
            numbers[left[same]] = found[same]
            left, slots = left[~same], (slots[~same] + 1) % len(self._slots)
        return numbers, keys

    def _slot(self, keys: Keys, sizes: Integers) -> Integers:
        """Where words (n, L) are looked for first: (n,)."""
        mixed = sizes.astype(np.uint64)
        for place in range(_EIGHTS):
            mixed = (mixed ^ keys[:, place]) * _MIX[place]
            mixed ^= mixed >> np.uint64(29)
        return (mixed % np.uint64(len(self._slots))).astype(np.int64)

    def _remember(self, fresh: _Ids, keys: Keys, sizes: Integers) -> None:
        """Keep new words that are short enough, as long as there is room."""
        count = self.remembered
        chosen = np.flatnonzero(sizes <= LONGEST)[: self._most - count]
        if not len(chosen):
            return
        last = count + len(chosen)
        self._keys[count:last], self._sizes[count:last] = keys[chosen], sizes[chosen]
        for number, slot in enumerate(self._slot(keys[chosen], sizes[chosen]).tolist(), count):
            while self._slots[slot] >= 0:
                slot = (slot + 1) % len(self._slots)  # noqa: PLW2901
            self._slots[slot] = number
        self._known = self._known.with_more(fresh.of(chosen))

    def _encode(self, tokenizer: PieceTokenizer, words: Sequence[bytes]) -> _Ids:
        """The ids of words that are new, many of them as one text, for the library's sake."""
        order, texts, ends = list[int](), list[str](), list[Integers]()
        for group in _grouped(words):
            told = [_APART if number < 0 else words[number] for number in group]
            order += group
            texts.append(b"".join(told).decode())
            ends.append(np.cumsum([len(word) for word in told]))
        counts, ids = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
        for start in range(0, len(texts), 64):
            some = slice(start, start + 64)
            for own, end in zip(tokenizer.encode_pieces(texts[some]), ends[some], strict=True):
                ids.append(np.array(own, np.int32))
                reached = np.cumsum(self._spelled[ids[-1]])
                counts.append(np.diff(np.searchsorted(reached, end, "left") + 1, prepend=0))
        together = _Ids(np.concatenate(ids), np.concatenate([[0], np.cumsum(np.concatenate(counts))]))
        numbers = np.array(order, np.int64)
        return together.of(np.argsort(numbers, kind="stable")[np.count_nonzero(numbers < 0) :])


def _cut(data: NDArray[np.uint8], edges: Integers) -> Integers:
    """Where a text is cut into words, the places that are given among them."""
    before, after = data[:-1], data[1:]
    begins = np.zeros(len(data), bool)
    begins[edges] = True
    spaces, points, lines = before == ord(" "), _POINTS[data], data == ord("\n")
    begins[1:] |= after == ord(" ")
    begins[1:] |= points[:-1] | (points[1:] & ~spaces)
    # Two line ends in a row are one piece, so nothing is cut between line ends.
    begins[1:] |= (lines[:-1] & ~_LINE_ENDS[after]) | (lines[1:] & ~_LINE_ENDS[before])
    return np.flatnonzero(begins)


def _grouped(words: Sequence[bytes]) -> Iterator[list[int]]:
    """Numbers of words that may be encoded as one text; -1 stands for `_APART`."""
    spaced, bare = list[int](), list[int]()
    sizes = [0, 0]
    for number, word in enumerate(words):
        if word[0] == ord(" "):
            spaced.append(number)
        elif word[0] in b"\r\n" or word[-1] in b"\r\n":
            yield [number]
            continue
        else:
            bare += [number, -1]
        which = word[0] != ord(" ")
        sizes[which] += len(word)
        if sizes[which] >= CHUNK:
            yield bare if which else spaced
            spaced, bare = (spaced, list[int]()) if which else (list[int](), bare)
            sizes[which] = 0
    yield from (group for group in (spaced, bare) if group)
