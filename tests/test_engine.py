"""The engine against the equations written out in NumPy, and its promises on batches, chunks and bad weights."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fabula import clusters, machine
from fabula.config import ModelConfig
from fabula.engine import Engine, check_weights, expected_shapes
from fabula.engine import network as network_room
from fabula.engine.graph import PATIENT_SPIN, SPIN, STEPS, WEIGHT_STEPS
from fabula.engine.plan import build
from fabula.errors import FolderError
from fabula.sampling import choose, temperature

V, E, H = 23, 5, 8
Weights = dict[str, NDArray[np.float32]]
SHAPES = [
    pytest.param(cell, layers, head, embedding, ngrams, id=f"{cell}-{layers}-{head}-{embedding}-{ngrams}")
    for cell in ("lstm", "gru")
    for layers in (1, 2)
    for head, embedding, ngrams in (
        ("full", E, 0), ("tied", E, 0), ("tied", H, 0), ("adaptive", E, 0), ("adaptive", H, 0),
        ("full", E, 2), ("tied", H, 3), ("adaptive", E, 4),
    )
]  # fmt: skip
BUCKETS = 37


def network(
    cell: str = "lstm", layers: int = 1, head: str = "full", embedding: int = E, hidden: int = H, vocabulary: int = V,
    ngrams: int = 0,
) -> tuple[ModelConfig, Weights]:  # fmt: skip
    config = ModelConfig(
        cell=cell, layers=layers, hidden=hidden, embedding=embedding, head=head, dropout=0.0, ngrams=ngrams or None,
        buckets=BUCKETS if ngrams else 0,
    )  # fmt: skip
    rng = np.random.default_rng(7)
    shapes = expected_shapes(config, vocabulary)
    weights = {name: rng.normal(0, 0.6, shape).astype(np.float32) for name, shape in shapes.items()}
    if head == "adaptive":
        weights["head.places"] = rng.permutation(vocabulary)
    return config, weights


class Reference:
    """The equations in float64, one step at a time, with no thought of speed; `int8` rounds what goes into products."""

    def __init__(self, config: ModelConfig, weights: Weights, *, int8: bool = False) -> None:
        self.config, self.int8 = config, int8
        self.w = {name: array.astype(np.float64) for name, array in weights.items()}

    def times(self, x: NDArray[np.float64], weight: NDArray[np.float64], *, bounded: bool) -> NDArray[np.float64]:
        """x (B, I) times a weight (O, I): in whole steps of each row and of all weights, where they are asked for."""
        if not self.int8:
            return x @ weight.T
        x, weight = x.astype(np.float32), weight.astype(np.float32)
        row = np.float32(1 / 127) if bounded else np.abs(x).max(axis=1, keepdims=True) * np.float32(1 / 127)
        step = np.abs(weight).max() / np.float32(63)
        whole = np.rint(x / row).astype(np.int64) @ np.rint(weight / step).astype(np.int64).T
        return whole * np.float64(row) * step

    def step(self, ids: NDArray[np.int64], state: list[NDArray[np.float64]]) -> tuple[NDArray[np.float64], list]:
        x, new, heard = self.w["embedding.weight"][ids], [], []
        if self.config.buckets:
            units = np.concatenate([state[-1].astype(int), ids[:, None]], axis=1)  # (B, N), the latest last
            heard.append(sum(self.ngram(units[:, -length:]) for length in range(2, units.shape[1] + 1)))
            x, state, new = x + heard[0], state[:-1], []
        memories = 2 if self.config.cell == "lstm" else 1
        for layer in range(self.config.layers or 0):
            x, own = self.cell(layer, x, state[layer * memories : (layer + 1) * memories])
            new += own
        if self.config.buckets:
            new.append(units[:, 1:].astype(float))
        return self.head(np.concatenate([x, *heard], axis=1)), new

    def ngram(self, units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of runs (B, n) of one length."""
        factors = np.array([1, 1_000_003, 998_244_353, 433_494_437][: units.shape[1]])[::-1]
        keys = (units * factors).sum(axis=1) + 12_345 * (units.shape[1] - 2)
        return self.w["ngrams.weight"][keys % BUCKETS]

    def head(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        wide, bounded = x, not self.config.buckets
        if "head.projection.weight" in self.w:
            wide, bounded = self.times(x, self.w["head.projection.weight"], bounded=bounded), False
        if self.config.head != "adaptive":
            output = self.w["head.weight" if self.config.head == "full" else "embedding.weight"]
            return log_softmax(self.times(wide, output, bounded=bounded) + self.w["head.bias"])
        places = self.w["head.places"].astype(int)
        known, found = clusters.shortlist(len(places)), np.empty((len(x), len(places)))
        rows = np.concatenate([self.w["embedding.weight"][np.argsort(places)[:known]], self.w["head.clusters"]])
        first = log_softmax(self.times(wide, rows, bounded=bounded) + self.w["head.bias"])
        for number, place in enumerate(places):
            if place < known:
                found[:, number] = first[:, place]
        for tail, part in enumerate(clusters.tails(len(places), x.shape[1])):
            projection, weight, bias = (
                self.w[f"head.tails.{tail}.{name}"] for name in ("projection", "weight", "bias")
            )
            narrow = self.times(x, projection, bounded=not self.config.buckets)
            inside = log_softmax(self.times(narrow, weight, bounded=False) + bias) + first[:, [known + tail]]
            for number, place in enumerate(places):
                if part.start <= place < part.end:
                    found[:, number] = inside[:, place - part.start]
        return found

    def cell(self, layer: int, x: NDArray[np.float64], state: list[NDArray[np.float64]]) -> tuple:
        sums_x = self.times(x, self.w[f"cells.{layer}.weight_ih"], bounded=layer > 0)
        sums_h = self.times(state[0], self.w[f"cells.{layer}.weight_hh"], bounded=True)
        sums_x, sums_h = sums_x + self.w[f"cells.{layer}.bias_ih"], sums_h + self.w[f"cells.{layer}.bias_hh"]
        if self.config.cell == "lstm":
            i, f, g, o = np.split(sums_x + sums_h, 4, axis=1)
            c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            return h, [h, c]
        (xr, xz, xn), (hr, hz, hn) = np.split(sums_x, 3, axis=1), np.split(sums_h, 3, axis=1)
        n, z = np.tanh(xn + sigmoid(xr + hr) * hn), sigmoid(xz + hz)
        h = (1 - z) * n + z * state[0]
        return h, [h]


def log_softmax(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(("cell", "layers", "head", "embedding", "ngrams"), SHAPES)
def test_agrees_with_the_equations(cell: str, layers: int, head: str, embedding: int, ngrams: int) -> None:
    config, weights = network(cell, layers, head, embedding, ngrams=ngrams)
    engine, reference = Engine(config, V, weights), Reference(config, weights)
    state = engine.initial_state(3)
    wanted = [memory.astype(np.float64) for memory in state]
    for ids in np.random.default_rng(1).integers(0, V, (12, 3)):
        found, state = engine.step(ids, state)
        expected, wanted = reference.step(ids, wanted)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)
        for memory, right in zip(state, wanted, strict=True):
            np.testing.assert_allclose(memory, right, atol=1e-5)


@pytest.mark.parametrize(("cell", "layers", "head", "embedding", "ngrams"), SHAPES)
def test_agrees_with_the_equations_in_whole_numbers(
    cell: str, layers: int, head: str, embedding: int, ngrams: int
) -> None:
    config, weights = network(cell, layers, head, embedding, ngrams=ngrams)
    engine, reference = Engine(config, V, weights, int8=True), Reference(config, weights, int8=True)
    state, apart = engine.initial_state(3), []
    for ids in np.random.default_rng(1).integers(0, V, (30, 3)):
        expected, wanted = reference.step(ids, [memory.astype(np.float64) for memory in state])
        found, state = engine.step(ids, state)
        apart += [np.abs(found - expected), *(np.abs(a - b) for a, b in zip(state, wanted, strict=True))]
    # A number on the edge between two steps may fall to either side; all others are the same.
    whole = np.concatenate([numbers.ravel() for numbers in apart])
    assert (whole < 1e-5).mean() > 0.97
    assert whole.max() < 0.1


def test_whole_numbers_are_exact_at_their_ends() -> None:
    # Processors without instructions for it add two products in 16 bits, where larger ones would be cut off.
    assert 2 * (2 * STEPS + 1) * WEIGHT_STEPS < 1 << 15
    rng = np.random.default_rng(0)
    weight = rng.choice(np.array([-1, 1], np.float32), (50, 256))
    config = ModelConfig(layers=1, hidden=256, embedding=2, head="full", dropout=0.0)
    weights = {name: np.zeros(shape, np.float32) for name, shape in expected_shapes(config, 50).items()}
    weights |= {"head.weight": weight}
    for sign in (-1, 1):  # gates that are wide open: h is 1 or -1 everywhere
        weights["cells.0.bias_ih"] = np.repeat(np.array([99, 99, 99 * sign, 99], np.float32), 256)
        engine = Engine(config, 50, weights, int8=True)
        state = (np.zeros((1, 256), np.float32), np.full((1, 256), 99 * sign, np.float32))
        found, _ = engine.step(np.array([0]), state)
        expected = log_softmax(sign * weight.sum(axis=1, dtype=np.float64)[None])
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("warmth", [0.0, 1.0])
def test_units_chosen_are_those_of_torch_and_of_the_equations(cell: str, warmth: float) -> None:
    torch = pytest.importorskip("torch")
    model_room = pytest.importorskip("fabula.model")
    config, weights = network(cell, 2, "tied")
    model = model_room.LanguageModel(config, V, torch.Generator())
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})

    def tell(step: Callable[[NDArray[np.int64], Any], tuple[Any, Any]], state: object) -> list[int]:
        told, rng = [3], np.random.default_rng(2)
        for _ in range(300):
            scores, state = step(np.array(told[-1:]), state)
            told.append(choose(scores[0].astype(np.float64), told, [temperature(warmth)], rng))
        return told

    def by_torch(ids: NDArray[np.int64], state: object) -> tuple[NDArray[np.float32], object]:
        with torch.inference_mode():
            hidden, _, state = model(torch.from_numpy(ids)[:, None], state)
            every = torch.arange(V)[None]  # what each unit would have cost
            return -model.judge(hidden.expand(1, V, -1), every)[0].numpy(), state

    engine, reference = Engine(config, V, weights), Reference(config, weights)
    zeros = engine.initial_state(1)
    told = tell(engine.step, zeros)
    assert told == tell(reference.step, [memory.astype(np.float64) for memory in zeros])
    assert told == tell(by_torch, model.initial_state(1))
    assert len(set(told)) > 2


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize(("cell", "layers", "head", "embedding", "ngrams"), SHAPES)
def test_sequence_is_the_same_bits_as_steps(
    cell: str, layers: int, head: str, embedding: int, ngrams: int, int8: bool
) -> None:
    config, weights = network(cell, layers, head, embedding, ngrams=ngrams)
    engine = Engine(config, V, weights, int8=int8)
    ids, targets = np.random.default_rng(2).integers(0, V, (2, 3, 20))
    nats, hits, final = engine.score(ids, targets, engine.initial_state(3))
    state = engine.initial_state(3)
    for moment in range(20):
        found, state = engine.step(ids[:, moment], state)
        assert (nats[:, moment] == -found[np.arange(3), targets[:, moment]]).all()
        assert (hits[:, moment] == (found.argmax(axis=1) == targets[:, moment])).all()
    read = engine.read(ids, engine.initial_state(3))
    assert all((a == b).all() and (a == c).all() for a, b, c in zip(final, state, read, strict=True))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("head", ["full", "adaptive"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("int8", [False, True])
def test_neighbours_change_no_bit(cell: str, head: str, threads: int, int8: bool) -> None:
    # Wide enough that the matrix products are cut into blocks and shared among threads.
    config, weights = network(cell, 2, head, hidden=160, embedding=96, vocabulary=1500)
    engine = Engine(config, 1500, weights, threads=threads, int8=int8)
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 1500, (64, 3))
    state = tuple(rng.normal(0, 0.5, (64, 160)).astype(np.float32) for _ in engine.initial_state(64))

    def tell(rows: slice) -> list[NDArray[np.float32]]:
        memories = tuple(memory[rows] for memory in state)
        found = []
        for unit in ids[rows].T:
            scores, memories = engine.step(unit, memories)
            found.append(scores)
        return [*found, *memories]

    alone = [np.concatenate(parts) for parts in zip(*(tell(slice(n, n + 1)) for n in range(64)), strict=True)]
    for batch in (2, 3, 7, 16, 64):
        assert all((a[:batch] == b).all() for a, b in zip(alone, tell(slice(0, batch)), strict=True)), batch


def test_only_the_last_moments_are_judged_when_targets_are_fewer() -> None:
    config, weights = network()
    engine = Engine(config, V, weights)
    ids, targets = np.random.default_rng(4).integers(0, V, (2, 3, 9))
    whole, hits, state = engine.score(ids, targets, engine.initial_state(3))
    last, last_hits, last_state = engine.score(ids, targets[:, -2:], engine.initial_state(3))
    assert last.shape == (3, 2)
    assert (last == whole[:, -2:]).all()
    assert (last_hits == hits[:, -2:]).all()
    # The output layer, the dearest part, works for judged moments only: for none at all while a prompt is read.
    for judged in (0, 1, 9):
        assert engine._run(ids, engine.initial_state(3), judged)[0].shape == (3 * judged, V)
    assert all((a == b).all() for a, b in zip(state, last_state, strict=True))


def test_bounded_memory_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    config, weights = network(layers=2)
    engine = Engine(config, V, weights)
    ids, targets = np.random.default_rng(5).integers(0, V, (2, 4, 50))
    whole = engine.score(ids, targets, engine.initial_state(4))
    spans: list[int] = []
    run = engine._run
    monkeypatch.setattr(engine, "_run", lambda part, *rest: (spans.append(part.shape[1]), run(part, *rest))[1])
    monkeypatch.setattr(network_room, "_NUMBERS", 4 * 32 * 7)
    parts = engine.score(ids, targets, engine.initial_state(4))
    assert spans == [7] * 7 + [1]
    assert (whole[0] == parts[0]).all()
    assert (whole[1] == parts[1]).all()
    assert all((a == b).all() for a, b in zip(whole[2], parts[2], strict=True))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2])
def test_hidden_states_are_those_of_the_last_layer(cell: str, layers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config, weights = network(cell, layers)
    engine, ids = Engine(config, V, weights), np.random.default_rng(5).integers(0, V, (3, 20))
    state, memories = engine.initial_state(3), 2 if cell == "lstm" else 1
    whole, final = engine.hidden(ids, state)
    monkeypatch.setattr(network_room, "_NUMBERS", 600)
    parts, again = engine.hidden(ids, state)
    assert whole.shape == (3, 20, H)
    assert (whole == parts).all()
    for moment in range(20):
        _, state = engine.step(ids[:, moment], state)
        assert (whole[:, moment] == state[(layers - 1) * memories]).all()
    assert all((a == b).all() and (a == c).all() for a, b, c in zip(state, final, again, strict=True))
    nothing, kept = engine.hidden(ids[:, :0], state)
    assert nothing.shape == (3, 0, H)
    assert kept is state


def test_threads_are_as_many_as_there_is_work_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 6)
    for hidden, threads in ((8, 1), (256, 2), (512, 5), (1024, 6)):  # 4 H (H + E) weights, about
        config, weights = network(hidden=hidden, embedding=8)
        assert build(config, V, weights).threads() == threads


def test_one_story_alone_has_fewer_threads_and_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 6)
    config, weights = network(hidden=512, embedding=8)
    graph = build(config, V, weights, int8=True, single=True)
    assert (graph.threads(), graph.threads(alone=True)) == (5, 1)  # a million weights of one byte
    config, weights = network(hidden=1024, embedding=1024)
    assert build(config, V, weights, int8=True, single=True).threads(alone=True) == 3  # eight millions of them
    for cell in ("lstm", "gru"):
        config, weights = network(cell, hidden=512, embedding=64, head="tied", vocabulary=300)
        engine = Engine(config, 300, weights, int8=True)
        ids, state = np.arange(5), engine.initial_state(5)
        for _ in range(3):
            rows = [engine.step(ids[n : n + 1], tuple(part[n : n + 1] for part in state)) for n in range(5)]
            scores, state = engine.step(ids, state)
            assert all((scores[n : n + 1] == row).all() for n, (row, _) in enumerate(rows))
            assert all(
                (a[n : n + 1] == b).all() for n, (_, own) in enumerate(rows) for a, b in zip(state, own, strict=True)
            )
        assert len(set(map(id, engine._sessions.values()))) == 2


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_what_one_story_was_told_stays_when_it_and_others_go_on(cell: str, int8: bool) -> None:
    config, weights = network(cell, ngrams=3)
    engine = Engine(config, V, weights, int8=int8)
    begun = engine.initial_state(1)
    told = engine.step(np.array([1]), begun)
    kept = told[0].copy(), tuple(part.copy() for part in told[1])
    others = [engine.step(np.array([unit]), told[1]) for unit in range(V)]
    assert (told[0] == kept[0]).all()
    assert all((a == b).all() for a, b in zip(told[1], kept[1], strict=True))
    assert not any(part.any() for part in begun[:-1])  # the last are the units before
    again = engine.step(np.array([1]), begun)
    assert (again[0] == told[0]).all()
    assert len({scores.tobytes() for scores, _ in others}) == V
    with pytest.raises(ValueError, match="shorter"):
        engine.step(np.array([1]), begun[:-1])


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize(("cell", "layers", "head", "embedding", "ngrams"), SHAPES)
def test_stories_at_desks_of_their_own_are_the_same_bits_as_together(
    cell: str, layers: int, head: str, embedding: int, ngrams: int, int8: bool
) -> None:
    config, weights = network(cell, layers, head, embedding, ngrams=ngrams)
    engine = Engine(config, V, weights, int8=int8)
    ids = np.random.default_rng(4).integers(0, V, (2, 12))
    state = engine.read(ids[:, :3], engine.initial_state(2))
    desks = [engine.alone(tuple(part[row : row + 1] for part in state)) for row in range(2)]
    for moment in range(3, 12):
        wanted, state = engine.step(ids[:, moment], state)  # both together, which no desk does
        for row, desk in enumerate(desks):
            assert (desk.go_on(int(ids[row, moment])) == wanted[row]).all()
            assert all((a == b[row : row + 1]).all() for a, b in zip(desk.state, state, strict=True))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_where_products_may_not_add_a_story_alone_is_still_the_same(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On processors that multiply and add in one instruction."""
    config, weights = network(cell, 2, "tied")

    def scaled_and_added_to() -> list[bool]:
        nodes = build(config, V, weights, int8=True, single=True, alone=True).nodes
        products = [node.inputs for node in nodes if node.operator == "MatMulIntegerToFloat"]
        return [added != "" for *_, size, _, _, _, added in products if size != "one"]

    monkeypatch.setattr("fabula.engine.graph.ROUNDS_FIRST", True)
    assert any(scaled_and_added_to())
    monkeypatch.setattr("fabula.engine.graph.ROUNDS_FIRST", False)
    assert not any(scaled_and_added_to())
    engine = Engine(config, V, weights, int8=True)
    desk, state = engine.alone(engine.initial_state(1)), engine.initial_state(2)
    for unit in np.random.default_rng(4).integers(0, V, 12).tolist():
        wanted, state = engine.step(np.array([unit, unit]), state)
        assert (desk.go_on(unit) == wanted[0]).all()


@pytest.mark.parametrize("int8", [False, True])
def test_many_threads_tell_one_story_each_with_one_engine(int8: bool) -> None:
    config, weights = network()
    engine = Engine(config, V, weights, int8=int8)

    def tell(first: int) -> list[int]:
        state, units = engine.initial_state(1), [first]
        for _ in range(60):
            scores, state = engine.step(np.array(units[-1:]), state)
            units.append(int(scores[0].argsort()[-2]))
        return units

    alone = [tell(first) for first in range(V)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(tell, range(V))) == alone


@pytest.mark.parametrize("int8", [False, True])
def test_threads_of_one_story_are_patient_on_a_quiet_machine(int8: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    config, weights = network(hidden=128, embedding=16)
    ids, told = np.array([1]), list[tuple[NDArray[np.float32], list[str]]]()
    for quiet in (True, False):
        monkeypatch.setattr(machine, "is_quiet", lambda looks, quiet=quiet: bool(quiet and looks))
        engine = Engine(config, V, weights, threads=2, int8=int8)
        scores, _ = engine.step(ids, engine.initial_state(1))
        engine.step(np.array([1, 2]), engine.initial_state(2))
        options = [session.get_session_options() for session in engine._sessions.values()]
        told.append((scores, [one.get_session_config_entry("session.intra_op.spin_duration_us") for one in options]))
    (patient, spun), (hurried, slept) = told
    assert (patient == hurried).all()
    assert spun == [str(PATIENT_SPIN), str(SPIN)][: 1 + int8]  # of one story, and of several
    assert slept == [str(SPIN), str(SPIN)][: 1 + int8]


def test_probabilities_add_up_to_one_and_nothing_is_no_step() -> None:
    config, weights = network()
    engine = Engine(config, V, weights)
    found, state = engine.step(np.array([1, 2]), engine.initial_state(2))
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, rtol=1e-6)
    again = engine.read(np.zeros((2, 0), np.int64), state)
    assert all((a == b).all() for a, b in zip(state, again, strict=True))


@pytest.mark.parametrize(("hidden", "embedding", "vocabulary"), [(1, 1, 2), (1, 3, 2), (3, 1, 5)])
def test_the_smallest_networks_run(hidden: int, embedding: int, vocabulary: int) -> None:
    for cell, head in (("lstm", "tied"), ("gru", "full"), ("lstm", "adaptive")):
        config, weights = network(cell, 2, head, embedding, hidden, vocabulary)
        found, _ = Engine(config, vocabulary, weights).step(
            np.array([vocabulary - 1]), Engine(config, vocabulary, weights).initial_state(1)
        )
        expected, _ = Reference(config, weights).step(np.array([vocabulary - 1]), [np.zeros((1, hidden))] * 4)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_weights_that_are_views_or_read_only_are_taken_as_they_are() -> None:
    config, weights = network(head="tied")
    wanted = Engine(config, V, weights).step(np.array([3]), tuple(np.zeros((1, H), np.float32) for _ in "hc"))[0]
    packed = {
        name: np.frombuffer(b"\0\0\0\0" + array.tobytes(), np.float32)[1:].reshape(array.shape)
        for name, array in weights.items()
    }
    strided = {name: np.asfortranarray(array) for name, array in weights.items()}
    for odd in (packed, strided):
        engine = Engine(config, V, odd)
        del odd
        assert (engine.step(np.array([3]), engine.initial_state(1))[0] == wanted).all()


def test_weights_live_as_long_as_their_engine() -> None:
    config, weights = network(layers=2)
    engine = Engine(config, V, weights)
    wanted = engine.step(np.array([3]), engine.initial_state(1))[0]
    alive = weakref.ref(weights["embedding.weight"])
    del weights
    gc.collect()
    rubbish = [np.full(shape, np.nan, np.float32) for shape in expected_shapes(config, V).values() for _ in range(9)]
    assert (engine.step(np.array([3]), engine.initial_state(1))[0] == wanted).all()
    assert alive() is not None
    assert rubbish


def test_ten_thousand_moments_are_the_same_bits_alone_and_beside_others() -> None:
    config, weights = network("lstm", 1, "tied", hidden=40, embedding=24, vocabulary=300, ngrams=2)
    ids = np.random.default_rng(9).integers(0, 300, (64, 80))
    for int8 in (False, True):
        engine = Engine(config, 300, weights, int8=int8)

        def tell(rows: slice, engine: Engine = engine) -> NDArray[np.float32]:
            state, found = engine.initial_state(len(ids[rows])), []
            for unit in ids[rows].T:
                scores, state = engine.step(unit, state)
                found.append(scores)
            return np.stack(found, axis=1)  # (B, T, V)

        alone = np.concatenate([tell(slice(n, n + 1)) for n in range(64)])
        same = sum(
            int((alone[rows] == tell(rows)).all(axis=2).sum())
            for size in (2, 7, 64)
            for rows in (slice(start, start + size) for start in range(0, 64 - size % 2, size))
        )
        assert same >= 10_000


def test_agrees_with_torch() -> None:
    torch = pytest.importorskip("torch")
    model_room = pytest.importorskip("fabula.model")
    for cell, head in (("lstm", "full"), ("lstm", "tied"), ("gru", "tied"), ("lstm", "adaptive")):
        config, _ = network(cell, 2, head)
        model = model_room.LanguageModel(config, V, torch.Generator().manual_seed(1))
        model.set_counts(np.random.default_rng(8).integers(0, 50, V))
        weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        engine, scorer = Engine(config, V, weights), model_room.NumpyScorer(model)
        ids, targets = np.random.default_rng(6).integers(0, V, (2, 3, 30))
        found, wanted = (net.score(ids, targets, net.initial_state(3)) for net in (engine, scorer))
        np.testing.assert_allclose(found[0], wanted[0], atol=1e-5)
        assert (found[1] == wanted[1]).all()


def described(weights: Weights) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: ("I64" if array.dtype == np.int64 else "F32", array.shape) for name, array in weights.items()}


@pytest.mark.parametrize(("cell", "layers", "head", "embedding", "ngrams"), SHAPES)
def test_check_weights_takes_what_fits_and_nothing_else(
    cell: str, layers: int, head: str, embedding: int, ngrams: int
) -> None:
    config, weights = network(cell, layers, head, embedding, ngrams=ngrams)
    fits = described(weights)
    check_weights(config, V, fits)
    for name, (_, shape) in fits.items():
        wrong = (
            {key: value for key, value in fits.items() if key != name},
            fits | {name: ("F16", shape)},
            fits | {name: ("F32", (shape[0] + 1, *shape[1:]))},
            fits | {name: ("F32", (*shape, 1))},
        )
        for found in wrong:
            with pytest.raises(FolderError) as caught:
                check_weights(config, V, found)
            assert name in str(caught.value)
            assert_one_line(caught.value)


@example(name="", dtype="", shape=[-(10**40)] * 50)
@given(name=st.text(max_size=400), dtype=st.text(max_size=100), shape=st.lists(st.integers(), max_size=50))
@settings(max_examples=50, deadline=None)
def test_strange_headers_are_one_short_line(name: str, dtype: str, shape: list[int]) -> None:
    config, weights = network()
    fits = described(weights)
    for found in (fits | {name: ("F32", (1,))}, fits | {"head.bias": (dtype, tuple(shape))}):
        with pytest.raises(FolderError) as caught:
            check_weights(config, V, found)
        assert_one_line(caught.value)


def assert_one_line(error: Exception) -> None:
    text = str(error)
    assert len(text) < 200
    assert text.isprintable()


def test_settings_that_were_never_chosen_are_refused() -> None:
    with pytest.raises(FolderError, match="must all be given"):
        expected_shapes(ModelConfig(), V)


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(poison: float) -> None:
    config, weights = network(layers=2)
    for name in ("embedding.weight", "cells.1.weight_hh", "head.bias"):
        sick = {key: array.copy() for key, array in weights.items()}
        sick[name].reshape(-1)[-1] = poison
        with pytest.raises(FolderError, match=name) as caught:
            Engine(config, V, sick)
        assert_one_line(caught.value)


def test_ranks_must_be_a_permutation() -> None:
    config, weights = network(head="adaptive")
    for wrong in (np.zeros(V, np.int64), np.arange(1, V + 1), np.arange(V)[::-1] - 1):
        with pytest.raises(FolderError, match=r"head\.places must hold each rank once") as caught:
            Engine(config, V, weights | {"head.places": wrong})
        assert_one_line(caught.value)


def test_importing_is_light() -> None:
    code = "import sys, fabula.engine; print(*sorted({'torch', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
