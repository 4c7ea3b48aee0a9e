"""The engine against the equations written out in NumPy, and its promises on batches, chunks and bad weights."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fabula import clusters, machine
from fabula.config import ModelConfig
from fabula.engine import Engine, check_weights, expected_shapes, graph
from fabula.engine import network as network_room
from fabula.errors import FolderError

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
    """The equations in float64, one step at a time, with no thought of speed."""

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        self.config, self.w = config, {name: array.astype(np.float64) for name, array in weights.items()}

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
        wide = x @ self.w["head.projection.weight"].T if "head.projection.weight" in self.w else x
        if self.config.head != "adaptive":
            output = self.w["head.weight" if self.config.head == "full" else "embedding.weight"]
            return log_softmax(wide @ output.T + self.w["head.bias"])
        places = self.w["head.places"].astype(int)
        known, found = clusters.shortlist(len(places)), np.empty((len(x), len(places)))
        rows = np.concatenate([self.w["embedding.weight"][np.argsort(places)[:known]], self.w["head.clusters"]])
        first = log_softmax(wide @ rows.T + self.w["head.bias"])
        for number, place in enumerate(places):
            if place < known:
                found[:, number] = first[:, place]
        for tail, part in enumerate(clusters.tails(len(places), x.shape[1])):
            projection, weight, bias = (
                self.w[f"head.tails.{tail}.{name}"] for name in ("projection", "weight", "bias")
            )
            inside = log_softmax(x @ projection.T @ weight.T + bias) + first[:, [known + tail]]
            for number, place in enumerate(places):
                if part.start <= place < part.end:
                    found[:, number] = inside[:, place - part.start]
        return found

    def cell(self, layer: int, x: NDArray[np.float64], state: list[NDArray[np.float64]]) -> tuple:
        sums_x = x @ self.w[f"cells.{layer}.weight_ih"].T + self.w[f"cells.{layer}.bias_ih"]
        sums_h = state[0] @ self.w[f"cells.{layer}.weight_hh"].T + self.w[f"cells.{layer}.bias_hh"]
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
def test_sequence_is_the_same_bits_as_steps(cell: str, layers: int, head: str, embedding: int, ngrams: int) -> None:
    config, weights = network(cell, layers, head, embedding, ngrams=ngrams)
    engine = Engine(config, V, weights)
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
def test_neighbours_change_no_bit(cell: str, head: str, threads: int) -> None:
    # Wide enough that the matrix products are cut into blocks and shared among threads.
    config, weights = network(cell, 2, head, hidden=160, embedding=96, vocabulary=1500)
    engine = Engine(config, 1500, weights, threads=threads)
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
        assert graph.build(config, V, weights).threads() == threads


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
