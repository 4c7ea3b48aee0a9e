"""What the network remembers is what it would know after reading all anew, kept or not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fabula.config import SamplingConfig
from fabula.storyteller import Network, Storyteller
from fabula.table import Desk, Table
from fabula.table.memory import APART, Memory


def afresh(teller: Storyteller, units: list[int], window: int) -> np.ndarray:
    """Log-probabilities after some units, read from the beginning."""
    end = teller.tokenizer.end
    read = [end, *units]
    if window:
        read = ([end] * window + units)[-window:]
    ids = np.array([read])
    scores, _ = teller.engine.step(ids[:, -1], teller.engine.read(ids[:, :-1], teller.engine.initial_state(1)))
    return scores[0]


@pytest.mark.parametrize("window", [0, 3])
@pytest.mark.parametrize("kept", [0, 64 << 20])
def test_after_any_word_it_knows_what_a_reading_of_all_would_tell(
    desk_of: Callable[..., Desk], window: int, kept: int
) -> None:
    teller, table, rng = desk_of("words", window=window).teller, Table(), np.random.default_rng(5)
    memory = Memory(teller.engine, table, end=teller.tokenizer.end, window=window, kept=kept)
    for _ in range(3 * APART):
        if rng.random() < 0.05:
            table.move(-int(rng.integers(0, 40)))
        table.add("x", rng.integers(0, teller.tokenizer.end, rng.integers(1, 4)).tolist())
    for word in [0, *rng.permutation(len(table.words)).tolist()]:
        table.visit(word)
        scores, _ = memory.after(word)
        assert np.array_equal(scores, afresh(teller, table.units(10_000), window))
        assert memory.size <= (APART if not kept else len(table.words))


class Counting:
    """A network that counts the units it reads."""

    def __init__(self, engine: Network) -> None:
        self.engine, self.read_units = engine, 0
        self.initial_state = engine.initial_state

    def read(self, ids: np.ndarray, state: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        self.read_units += ids.size
        return self.engine.read(ids, state)

    def step(self, ids: np.ndarray, state: tuple[np.ndarray, ...]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        self.read_units += ids.size
        return self.engine.step(ids, state)

    def count(self) -> int:
        """Units since the last time."""
        found, self.read_units = self.read_units, 0
        return found


def test_going_on_costs_one_step(desk_of: Callable[..., Desk]) -> None:
    teller = desk_of("words", seed=4).teller
    network = teller.engine = Counting(teller.engine)
    desk = Desk(teller, Table(), SamplingConfig(temperature=1.0))
    for _ in range(40):
        list(desk.tell("word"))
    assert network.count() == len(desk.table.units(10_000)) + 1  # each unit once, and the mark before the story
    desk.table.move(-30)
    list(desk.tell("word"))
    assert network.count() == 1 + len(desk.table.words[desk.table.here].units)


def test_what_was_let_go_is_read_again_from_near(desk_of: Callable[..., Desk]) -> None:
    teller, table = desk_of("words").teller, Table()
    network = Counting(teller.engine)
    memory = Memory(network, table, end=teller.tokenizer.end, window=0, kept=0)
    for number in range(10 * APART):
        table.add("x", [number % 50])
    memory.after(table.tip)
    assert network.count() == 10 * APART + 1
    for word in range(10 * APART - 3, 7 * APART, -5):  # back and back, as one who reads what he wrote
        memory.after(word)
        assert network.count() <= APART + 1
