"""A network through bytes: against all ways to cut a text, against itself, and beside other stories."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fabula.byteview import END, TAIL, ByteView, Spellings
from fabula.config import resolve
from fabula.engine import Engine, Integers, State, expected_shapes
from fabula.tokens import Tokenizer, build, from_json

TEXT = "the fox and the hen sat on the mill. the fox ate; the hen sang, né. " * 4
UNITS = {name: build(name, [TEXT]) for name in ("words", "subwords", "chars", "bytes")}
TINY = from_json({"unit": "subwords", "merges": [[97, 98], [32, 97], [257, 98], [256, 97], [98, 97]]})  # ab, " a", ...


def engine_of(tokenizer: Tokenizer, spread: float = 0.5, rare: slice = slice(0), **model: object) -> Engine:
    shape = {"cell": "lstm", "layers": 1, "hidden": 12, "embedding": 6, "head": "full", "dropout": 0.0, **model}
    config, rng = resolve({"model": shape}).model, np.random.default_rng(5)
    shapes = expected_shapes(config, tokenizer.size)
    weights = {name: rng.normal(0, spread, shape).astype(np.float32) for name, shape in shapes.items()}
    weights |= {"head.places": np.arange(tokenizer.size)} if "head.places" in shapes else {}
    weights["head.bias"][rare] -= 12
    return Engine(config, tokenizer.size, weights)


def read_all(view: ByteView | Engine, told: list[int]) -> NDArray[np.float32]:
    """What it says after each byte of a story (n, 257)."""
    state, found = view.initial_state(1), []
    for symbol in told:
        scores, state = view.step(np.array([symbol]), state)
        found.append(scores[0])
    return np.stack(found)


class Cuts:
    """All ways to cut a text into units, one by one."""

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        self.engine, self.known = engine, dict[tuple[int, ...], tuple[NDArray[np.float64], State]]()
        self.spelled = [tuple(tokenizer.spelling(unit)) or (END,) for unit in range(tokenizer.size)]

    def after(self, units: tuple[int, ...]) -> tuple[NDArray[np.float64], State]:
        """Chances of the next unit."""
        if units not in self.known:
            state = self.after(units[:-1])[1] if len(units) > 1 else self.engine.initial_state(1)
            scores, state = self.engine.step(np.array(units[-1:]), state)
            self.known[units] = np.exp(scores[0].astype(np.float64)), state
        return self.known[units]

    def ways(self, units: tuple[int, ...], chance: float, left: tuple[int, ...], spaced: bool) -> Iterator[float]:
        """The chance of each way in which what is left may go on; a story may begin with a space that is not seen."""
        rest = (32, *left) if spaced else left
        for unit, spelled in enumerate(self.spelled):
            own = chance * float(self.after(units)[0][unit])
            if not rest or (len(spelled) > len(rest) and spelled[: len(rest)] == rest):
                yield own
            elif rest[: len(spelled)] == spelled and not (spaced and len(spelled) == 1):
                after = rest[len(spelled) :]
                for hidden in (False, True) if spelled == (END,) and after else (False,):
                    yield from self.ways((*units, unit), own, after, hidden)

    def mass(self, told: tuple[int, ...]) -> float:
        end = len(self.spelled) - 1
        return sum(sum(self.ways((end,), 1.0, told, spaced)) for spaced in (False, True))


@pytest.mark.parametrize(
    ("tokenizer", "story"),
    [
        (TINY, (*b"abab ab",)),
        (TINY, (*b" aba",)),
        (TINY, (*b"ba", END, *b"ab", END)),
        (build("chars", ["ab"]), (*b"ab c",)),  # whose letters two units spell
    ],
)
def test_with_all_guesses_it_is_exact(tokenizer: Tokenizer, story: tuple[int, ...]) -> None:
    engine = engine_of(tokenizer)
    cuts, view = Cuts(engine, tokenizer), ByteView(engine, tokenizer, guesses=10**6, least=0)
    found, some = read_all(view, [END, *story]), [32, 97, 98, 99, END]
    for length in range(len(story) + 1):
        told = story[:length]
        wanted = np.array([cuts.mass((*told, symbol)) for symbol in some])
        chances = np.exp(found[length][some])
        np.testing.assert_allclose(chances / chances.sum(), wanted / wanted.sum(), rtol=1e-4)


def test_one_guess_is_enough_for_bytes() -> None:
    engine, told = engine_of(UNITS["bytes"]), [END, *"one né".encode(), END, *b"two"]
    view = ByteView(engine, UNITS["bytes"], guesses=1)
    np.testing.assert_allclose(read_all(view, told), read_all(engine, told), atol=1e-4)


def test_what_characters_cost_is_what_their_bytes_cost() -> None:
    tokenizer, text = UNITS["chars"], "the né fox"
    engine = engine_of(tokenizer, rare=slice(tokenizer.size - 257, tokenizer.end))  # the bytes
    units = np.array([[tokenizer.end, *tokenizer.encode(text), tokenizer.end]])
    own = engine.score(units[:, :-1], units[:, 1:], engine.initial_state(1))[0].sum()
    told = np.array([[END, *text.encode(), END]])
    view = ByteView(engine, tokenizer, guesses=64, least=0)
    found, _, _ = view.score(told[:, :-1], told[:, 1:], view.initial_state(1))
    assert own - 0.1 < found.sum() <= own + 1e-3  # less, for a character can be spelled in bytes too


@pytest.mark.parametrize("name", UNITS)
def test_the_tree_holds_every_spelling(name: str) -> None:
    tokenizer = UNITS[name]
    tree = Spellings(tokenizer)
    for unit in range(tokenizer.size):
        node = 0
        for symbol in tokenizer.spelling(unit) or [END]:
            node = tree.child(node, symbol)
            assert node
        assert unit in tree.order[tree.low[node] : tree.whole[node]]
        assert tree.low[node] < tree.whole[node] <= tree.high[node]
    assert len(tree.symbols) == 1 + len(
        {tokenizer.spelling(u)[:n] for u in range(tokenizer.end) for n in range(1, 1 + len(tokenizer.spelling(u)))}
        | {END}
    )


@pytest.mark.parametrize("guesses", [1, 2, 8])
@given(text=st.text(alphabet="abthefox nsé,.\n老", max_size=30))
@settings(max_examples=20, deadline=None)
def test_every_text_can_come(guesses: int, text: str) -> None:
    tokenizer = UNITS["words"]
    view = ByteView(engine_of(tokenizer, 2.0), tokenizer, guesses=guesses)
    found = read_all(view, [END, *text.encode(), END, END])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.exp(found.astype(np.float64)).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("words", {}),
        ("subwords", {"cell": "gru", "layers": 2, "head": "tied", "embedding": 12}),
        ("subwords", {"ngrams": 3, "buckets": 16}),
        ("chars", {"head": "adaptive"}),
    ],
)
def test_a_story_is_the_same_alone_and_beside_others(name: str, model: dict[str, object]) -> None:
    tokenizer = UNITS[name]
    view = ByteView(engine_of(tokenizer, **model), tokenizer)
    stories = ["the fox sat on", "né; the hen an", "\n  the mill. S"]
    told = np.array([[END, *story.encode()[:14]] for story in stories])
    state, alone = view.initial_state(3), [view.initial_state(1)] * 3
    for moment in range(told.shape[1]):
        scores, state = view.step(told[:, moment], state)
        for row in range(3):
            own, alone[row] = view.step(told[row, moment : moment + 1], alone[row])
            assert np.array_equal(own[0], scores[row])
    rows = np.array([2, 0])  # as a storyteller goes on with some of them
    some, _ = view.step(np.array([101, 101]), tuple(memory[rows] for memory in state))
    every, _ = view.step(np.array([101, 101, 101]), state)
    assert np.array_equal(some, every[rows])


def test_a_measurement_is_its_steps() -> None:
    view, told = ByteView(engine_of(UNITS["words"]), UNITS["words"]), [END, *b"the fox"]
    nats, hits, _ = view.score(np.array([told[:-1]]), np.array([told[3:]]), view.initial_state(1))
    found = read_all(view, told[:-1])[2:]
    np.testing.assert_array_equal(nats[0], -found[np.arange(5), told[3:]])
    np.testing.assert_array_equal(hits[0], found.argmax(axis=1) == told[3:])


class Counted(Engine):
    """Counts the calls for what comes next."""

    calls = 0

    def step(self, ids: Integers, state: State) -> tuple[NDArray[np.float32], State]:
        self.calls += 1
        return super().step(ids, state)


@pytest.mark.parametrize("text", [TEXT * 12, "né老" * 600])
def test_a_long_prompt_is_read_as_the_unit_cuts_it(text: str) -> None:
    tokenizer = UNITS["chars"]
    engine = engine_of(tokenizer, 0.1)
    engine.__class__ = Counted
    view, told = ByteView(engine, tokenizer), np.array([[END, *text.encode()]])
    found, _ = view.step(told[:, -1], view.read(told[:, :-1], view.initial_state(1)))
    assert engine.calls <= TAIL + 100
    wanted = read_all(view, told[0].tolist())[-1]
    np.testing.assert_allclose(found[0], wanted, atol=1e-3)


class Habits:
    """A network that foretells one unit after each that it knows, and nothing in particular after any other."""

    def __init__(self, then: dict[int, int], size: int, other: float = 0.01) -> None:
        self.then, self.size, self.other = then, size, other

    def initial_state(self, batch: int) -> State:
        return (np.zeros((batch, 1), np.float32),)

    def read(self, ids: Integers, state: State) -> State:
        return state

    def step(self, ids: Integers, state: State) -> tuple[NDArray[np.float32], State]:
        scores = np.full((len(ids), self.size), np.log(1 / self.size), np.float32)
        for row, unit in enumerate(ids.tolist()):
            if unit in self.then:
                scores[row] = np.log(self.other / self.size)
                scores[row, self.then[unit]] = np.log(1 - self.other)
        return scores, state


def test_the_first_word_may_be_one_that_stood_after_a_space() -> None:
    tokenizer = build("words", ["The fox ran. The fox ran."])
    fox, ran = (int(tokenizer.encode(word)[0]) for word in (" fox", " ran"))
    assert len(tokenizer.encode("fox")) > 1
    view = ByteView(Habits({fox: ran}, tokenizer.size), tokenizer)
    found = np.exp(read_all(view, [END, *b"fox "])[-1])
    assert found.argmax() == ord("r")
    assert found.max() > 0.9


def test_what_a_network_rules_out_can_come() -> None:
    tokenizer = UNITS["words"]
    never = ByteView(Habits(dict.fromkeys(range(tokenizer.size), 3), tokenizer.size, 1e-30), tokenizer)
    assert np.isfinite(read_all(never, [END, *"zzz 老".encode(), END, END])).all()
