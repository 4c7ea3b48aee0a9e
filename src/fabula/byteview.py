"""A network looked at through bytes: its chances of units become chances of the next byte; knows no file and no option.

It keeps a few guesses of how the bytes so far are cut into the network's units, each with what the network remembers
after the units that are complete, and with all units that may go on from there. The chance of a byte is that of all of
them which spell it next. With every guess kept this is exact (Vieira et al. 2024, arXiv:2412.03719); few are enough.

Legend: B stories side by side, T time, V units of the network, N guesses that end a unit at once, H hidden units.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fabula.engine import Floats, Integers, State
from fabula.storyteller import Network
from fabula.tokens import Tokenizer

END = 256
"""The id of the end mark among bytes."""

SYMBOLS = END + 1

GUESSES = 8
"""Guesses that are kept."""

LEAST = 1e-4
"""Chance below which a guess is dropped, but for one that ends with a whole unit: from there any text can go on."""

FLOOR = 1e-9
"""Chance that is spread evenly over all units, so that no text is out of the question."""

TAIL = 512
"""Bytes at the end of a long prompt that are guessed at; what is before them is cut as the unit itself cuts it."""

Ladder = NDArray[np.float64]
"""Chances of all units in the order of their spellings, summed up: (V + 1,)."""


class Spellings:
    """The units in the order of what they spell, as a tree: a node is a beginning that some of them share.

    Those are the units `low` .. `high` of the order, and up to `whole` they spell no more than it. The children of a
    node stand in a row: those of node n are `first[n]` .. `first[n + 1]`. Node 0 is the empty beginning.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        units = sorted(range(tokenizer.end), key=tokenizer.spelling)
        self.order = np.array([*units, tokenizer.end])  # (V,)
        spelled = [tokenizer.spelling(unit) for unit in units]
        text = np.append(np.frombuffer(b"".join(spelled), np.uint8).astype(np.int64), END)
        lengths = np.array([*map(len, spelled), 1])  # (V,)
        begins = np.cumsum(lengths) - lengths
        nodes, left, depth = np.zeros(len(units) + 1, np.int64), np.arange(len(units) + 1), 0
        low, whole, high = ([np.array([place])] for place in (0, 0, len(nodes)))
        keys, count = list[NDArray[np.int64]](), 1
        while len(left):  # units that spell more than `depth` bytes; each is at its node of that depth
            found, first, place = np.unique(
                nodes[left] * SYMBOLS + text[begins[left] + depth], return_index=True, return_inverse=True
            )
            depth += 1
            low.append(left[first])
            high.append(left[first] + np.bincount(place))
            whole.append(left[first] + np.bincount(place, lengths[left] == depth).astype(np.int64))
            keys.append(found)
            nodes[left] = count + place
            count, left = count + len(found), left[lengths[left] > depth]
        self.low, self.whole, self.high = map(np.concatenate, (low, whole, high))
        self._keys = np.concatenate(keys)  # of every node but the first: its parent and its last byte, ascending
        self.symbols = np.append(0, self._keys % SYMBOLS)
        self.first = 1 + self._keys.searchsorted(np.arange(count + 1) * SYMBOLS)

    def child(self, node: int, symbol: int) -> int:
        """The node one byte further, 0 where no unit goes on like this."""
        key = node * SYMBOLS + symbol
        place = int(self._keys.searchsorted(key))
        return place + 1 if place < len(self._keys) and self._keys[place] == key else 0


class _Guess(NamedTuple):
    """One way to cut the bytes so far."""

    weight: float
    """Chance of its whole units, as a multiple of that of the bytes so far."""
    node: int
    """The bytes after them, which begin the next unit."""
    ladder: Ladder
    memory: tuple[NDArray[Any], ...]
    """What the network remembers after the whole units: (H,) each."""


class _Growth(NamedTuple):
    """What becomes of a guess with one byte more: the unit goes on, or one of those that end here is taken."""

    chance: float
    guess: _Guess
    node: int
    unit: int


class ByteView:
    """A network over the units of `tokenizer`, as one over those of the unit `bytes`.

    Its state is one array (B,) of objects, the guesses of each story, which are never changed. As units hold the space
    before a word, a story may also begin as if a space stood before it: so its first word may be one that the network
    knows from the midst of its stories.
    """

    def __init__(self, network: Network, tokenizer: Tokenizer, *, guesses: int = GUESSES, least: float = LEAST) -> None:
        self._network, self._tokenizer, self._guesses, self._least = network, tokenizer, guesses, least
        self._spellings = Spellings(tokenizer)
        self._floor: Ladder = np.linspace(0, FLOOR, tokenizer.size + 1)
        self._space = self._spellings.child(0, ord(" "))
        only_end = self._floor.copy()
        only_end[-1] += 1  # the end mark is the last in order, and a story begins after one
        memory = tuple(part[0] for part in network.initial_state(1))
        self._fresh = (_Guess(1.0, 0, only_end, memory),)

    def initial_state(self, batch: int) -> State:
        """The state before the first byte."""
        return _stories([self._fresh] * batch)

    def read(self, ids: Integers, state: State) -> State:
        """Take in some bytes without a word on what comes next: ids (B, T) -> the new state."""
        if len(ids) == 1 and ids.shape[1] > 2 * TAIL and ids[0, 0] == END and state[0][0] is self._fresh:
            read, state = self._skim(ids, state)
            ids = ids[:, read:]
        for moment in range(ids.shape[1]):
            state = self._take_in(ids[:, moment], state)
        return state

    def step(self, ids: Integers, state: State) -> tuple[Floats, State]:
        """Take in one byte each and say what comes next: ids (B,) -> log-probabilities (B, 257) and the new state."""
        state = self._take_in(ids, state)
        return np.stack([self._foretell(story) for story in state[0]]), state

    def score(self, ids: Integers, targets: Integers, state: State) -> tuple[Floats, NDArray[np.bool_], State]:
        """Judge the last K moments: ids (B, T), targets (B, K) -> nats (B, K), hits (B, K), state."""
        lead = ids.shape[1] - targets.shape[1]
        state, rows = self.read(ids[:, :lead], state), np.arange(len(ids))
        nats, hits = np.empty(targets.shape, np.float32), np.empty(targets.shape, np.bool_)
        for moment, wanted in enumerate(targets.T):
            found, state = self.step(ids[:, lead + moment], state)  # (B, 257)
            nats[:, moment], hits[:, moment] = -found[rows, wanted], found.argmax(axis=1) == wanted
        return nats, hits, state

    def _foretell(self, story: Sequence[_Guess]) -> Floats:
        """Log-probabilities of the next byte (257,)."""
        tree, chances = self._spellings, np.zeros(SYMBOLS)
        for guess in story:
            some = slice(tree.first[guess.node], tree.first[guess.node + 1])
            # Children spell different bytes, so that none is added to twice.
            chances[tree.symbols[some]] += guess.weight * (guess.ladder[tree.high[some]] - guess.ladder[tree.low[some]])
        return np.log(chances / chances.sum()).astype(np.float32)

    def _take_in(self, ids: Integers, state: State) -> State:
        """One byte each: ids (B,) -> the new state."""
        grown = [self._keep(self._grow(story, symbol)) for story, symbol in zip(state[0], ids.tolist(), strict=True)]
        ended = [growth for story in grown for growth in story if growth.unit >= 0]
        begun = iter(self._end_units(ended))
        stories = []
        for growths, symbol in zip(grown, ids.tolist(), strict=True):
            story = [next(begun) if one.unit >= 0 else one.guess._replace(node=one.node) for one in growths]
            if symbol == END:
                story += [guess._replace(node=self._space) for guess in story if self._space]
            total = sum(map(self._chance, story))
            stories.append(tuple(guess._replace(weight=guess.weight / total) for guess in story))
        return _stories(stories)

    def _grow(self, story: Sequence[_Guess], symbol: int) -> list[_Growth]:
        """All guesses with one byte more."""
        tree, grown = self._spellings, list[_Growth]()
        for guess in story:
            if not (node := tree.child(guess.node, symbol)):
                continue
            low, whole = int(tree.low[node]), int(tree.whole[node])
            for rank in range(low, whole):
                chance = guess.weight * float(guess.ladder[rank + 1] - guess.ladder[rank])
                grown.append(_Growth(chance, guess, 0, int(tree.order[rank])))
            longer = guess._replace(node=node)
            if tree.high[node] > whole:
                grown.append(_Growth(self._chance(longer), guess, node, -1))
        return grown

    def _keep(self, grown: list[_Growth]) -> list[_Growth]:
        """The likeliest, and always one that ends with a whole unit."""
        grown.sort(key=lambda one: -one.chance)
        best = next(one for one in grown if one.unit >= 0)
        bound = self._least * sum(one.chance for one in grown)
        kept = [one for one in grown[: self._guesses] if one.chance >= bound or one is best]
        return kept if any(one is best for one in kept) else [*kept[: self._guesses - 1], best]

    def _chance(self, guess: _Guess) -> float:
        """Of the guess: that its whole units come and one that goes on as its bytes do."""
        tree = self._spellings
        return guess.weight * float(guess.ladder[tree.high[guess.node]] - guess.ladder[tree.whole[guess.node]])

    def _end_units(self, ended: Sequence[_Growth]) -> list[_Guess]:
        """The guesses after the unit that each ends with."""
        if not ended:
            return []
        memory = tuple(np.stack(parts) for parts in zip(*(one.guess.memory for one in ended), strict=True))  # (N, H)
        scores, memory = self._network.step(np.array([one.unit for one in ended]), memory)  # (N, V)
        return [
            _Guess(one.chance, 0, self._ladder(scores[n]), tuple(part[n] for part in memory))
            for n, one in enumerate(ended)
        ]

    def _ladder(self, scores: Floats) -> Ladder:
        """Log-probabilities (V,) -> their ladder; each row by itself, so that neighbours change no bit of it."""
        ladder = self._floor.copy()
        ladder[1:] += np.exp(scores)[self._spellings.order].cumsum(dtype=np.float64)
        return ladder

    def _skim(self, ids: Integers, state: State) -> tuple[int, State]:
        """Read the beginning of a long prompt as the unit cuts it: how many bytes that were, and the new state."""
        try:
            text, _ = codecs.utf_8_decode(bytes(ids[0, 1:-TAIL].tolist()), "strict", False)
        except ValueError:  # an end mark inside, or no text
            return 0, state
        text = text[: text.rfind(" ")] if " " in text else text
        units = np.array([[self._tokenizer.end, *self._tokenizer.encode(text).tolist()]])
        memory = self._network.read(units[:, :-1], self._network.initial_state(1))
        guess = self._fresh[0]._replace(memory=tuple(part[0] for part in memory))
        last = _Growth(1.0, guess, 0, int(units[0, -1]))
        return 1 + len(text.encode()), _stories([tuple(self._end_units([last]))])


def _stories(stories: Sequence[tuple[_Guess, ...]]) -> tuple[NDArray[Any]]:
    """The guesses of each story as one array (B,), whose rows can be taken as those of any state."""
    rows = np.empty(len(stories), object)
    for row, story in enumerate(stories):  # all at once numpy would look into them
        rows[row] = story
    return (rows,)
