"""The network without torch: weights -> ONNX graphs -> log-probabilities, state in and state out; knows no files, no text.

Legend: B batch, T time, K judged moments, N rows, E embedding width, H hidden units, G gates, V vocabulary.
Rows never mix in a graph, so a story's numbers are the same bits alone and beside others, step by step and at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fabula.config import ModelConfig
from fabula.errors import FolderError

if TYPE_CHECKING:
    import onnx
    import onnxruntime

Floats = NDArray[np.float32]
Integers = NDArray[np.integer[Any]]
State = tuple[Floats, ...]
"""What the network remembers, lowest layer first, each (B, H): lstm (h0, c0, h1, c1, ...), gru (h0, h1, ...)."""

THREADS = 8
"""Most threads used when none are asked for: more of them wait for the same memory."""

_NUMBERS = 1 << 23
"""Intermediate numbers computed at once (32 MB), whatever the vocabulary and the length of the text."""


@dataclass(frozen=True)
class _Kind:
    """A recurrent operator of ONNX, and its gates' order in terms of torch's."""

    operator: str
    slots: str
    """One letter for each array of its state."""
    order: tuple[int, ...]
    attributes: Mapping[str, int]


_KINDS: Mapping[str, _Kind] = {
    "lstm": _Kind("LSTM", "hc", (0, 3, 1, 2), {}),  # i f g o -> i o f g
    "gru": _Kind("GRU", "h", (1, 0, 2), {"linear_before_reset": 1}),  # r z n -> z r n
}


def expected_shapes(config: ModelConfig, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight of a network whose settings are all chosen; errors: FolderError if one is not.

    >>> config = ModelConfig(layers=1, hidden=4, embedding=3, tied=True, dropout=0.0)
    >>> [name for name, shape in expected_shapes(config, 9).items() if len(shape) == 1]
    ['cells.0.bias_ih', 'cells.0.bias_hh', 'head.bias']
    """
    layers, hidden, embedding = config.layers, config.hidden, config.embedding
    if layers is None or hidden is None or embedding is None or config.tied is None:
        raise FolderError("the model's layers, hidden, embedding and tied must all be given: train the model again")
    rows = hidden * len(_KINDS[config.cell].order)
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (vocabulary, embedding)}
    for layer in range(layers):
        shapes[f"cells.{layer}.weight_ih"] = (rows, hidden if layer else embedding)
        shapes[f"cells.{layer}.weight_hh"] = (rows, hidden)
        shapes[f"cells.{layer}.bias_ih"] = shapes[f"cells.{layer}.bias_hh"] = (rows,)
    if not config.tied:
        shapes["head.weight"] = (vocabulary, hidden)
    elif embedding != hidden:
        shapes["head.projection.weight"] = (embedding, hidden)
    return shapes | {"head.bias": (vocabulary,)}


def check_weights(config: ModelConfig, vocabulary: int, found: Mapping[str, tuple[str, Sequence[int]]]) -> None:
    """Compare names, types and shapes, as a safetensors header gives them, with what the settings ask for.

    Errors: FolderError for the first that is missing, unknown, no float32 or of another shape.
    """
    expected = expected_shapes(config, vocabulary)
    for name in (*expected, *found):
        if name not in found:
            raise FolderError(f"weights must include {name}, but it is missing: train the model again or copy it anew")
        if name not in expected:
            raise FolderError(f"weights hold {name[:60]!r}, which this network does not have: copy the model anew")
        dtype, shape = found[name]
        if dtype not in ("F32", "float32") or tuple(shape) != expected[name]:
            came = f"{dtype} {tuple(shape)}"[:60]
            raise FolderError(f"weight {name} must be F32 {expected[name]}, got {came}: copy the model anew")


class Engine:
    """A network that runs on onnxruntime, on the CPU; made in milliseconds, and of any size.

    `weights` are float32 arrays by torch's names, shapes and gate orders; they are kept, not changed.
    Errors: FolderError for weights that do not fit the settings or are not finite.
    """

    def __init__(
        self, config: ModelConfig, vocabulary: int, weights: Mapping[str, Floats], *, threads: int | None = None
    ) -> None:
        check_weights(config, vocabulary, {name: (str(array.dtype), array.shape) for name, array in weights.items()})
        for name, array in weights.items():
            if not np.isfinite((array.min(), array.max())).all():  # both carry a NaN on; no array of flags is made
                raise FolderError(f"weight {name} must be finite, but it holds NaN or infinity: train the model again")
        self._kind, self._hidden, self._vocabulary = _KINDS[config.cell], config.hidden or 0, vocabulary
        self._memories = _memories(config, self._kind)
        threads = threads or min(THREADS, _cores())
        self._body = _body(config, self._kind, weights).session(threads)
        self._head = _head(config, vocabulary, weights).session(threads)

    def initial_state(self, batch: int) -> State:
        """The state before the first unit: zeros."""
        return tuple(np.zeros((batch, self._hidden), np.float32) for _ in self._memories)

    def read(self, ids: Integers, state: State) -> State:
        """Take in some units without a word on what comes next: ids (B, T) -> the new state."""
        for part in self._parts(ids):
            _, state = self._run_body(part, state, ())
        return state

    def step(self, ids: Integers, state: State) -> tuple[Floats, State]:
        """Take in one unit each and say what comes next: ids (B,) -> log-probabilities (B, V) and the new state."""
        state = self.read(ids[:, None], state)
        return self._log_probabilities(state[-len(self._kind.slots)]), state

    def score(self, ids: Integers, targets: Integers, state: State) -> tuple[Floats, NDArray[np.bool_], State]:
        """Judge the last K moments: ids (B, T), targets (B, K) -> nats (B, K), hits (B, K), state.

        A hit is a target that was the likeliest unit.
        """
        moments: list[Floats] = []
        for part in self._parts(ids):
            hidden, state = self._run_body(part, state, ("hidden",))
            moments.append(hidden[0][:, 0])  # (T, 1, B, H) -> (T, B, H)
        judged = np.concatenate(moments)[-targets.shape[1] :]  # (K, B, H)
        rows = judged.reshape(-1, self._hidden)  # (K*B, H)
        wanted = targets.T.reshape(-1)  # (K*B,)
        nats, hits = np.empty(len(rows), np.float32), np.empty(len(rows), np.bool_)
        size = max(1, _NUMBERS // self._vocabulary)
        for start in range(0, len(rows), size):
            span = slice(start, start + size)
            found = self._log_probabilities(rows[span])  # (N, V)
            nats[span] = -np.take_along_axis(found, wanted[span, None], axis=1)[:, 0]
            hits[span] = found.argmax(axis=1) == wanted[span]
        shape = targets.shape[::-1]  # (K, B)
        return nats.reshape(shape).T, hits.reshape(shape).T, state

    def _log_probabilities(self, rows: Floats) -> Floats:
        """(N, H) -> (N, V)."""
        return self._head.run(["log_probabilities"], {"rows": rows})[0]

    def _run_body(self, ids: Integers, state: State, wanted: Sequence[str]) -> tuple[list[Floats], State]:
        """ids (B, T) -> the wanted outputs, time-first, and the new state."""
        feed: dict[str, NDArray[Any]] = {"ids": np.ascontiguousarray(ids.T, np.int64)}  # (T, B)
        feed |= {name: array[None] for name, array in zip(self._memories, state, strict=True)}  # (B, H) -> (1, B, H)
        found = self._body.run([*wanted, *(f"{name}.new" for name in self._memories)], feed)
        return found[: len(wanted)], tuple(new[0] for new in found[len(wanted) :])  # (1, B, H) -> (B, H)

    def _parts(self, ids: Integers) -> Iterator[Integers]:
        """ids (B, T) in parts short enough that their gates fit in bounded memory."""
        batch, moments = ids.shape
        length = max(1, _NUMBERS // (batch * self._hidden * len(self._kind.order)))
        return (ids[:, start : start + length] for start in range(0, moments, length))


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- the graphs ----------------------------------------------------------------------------------------------------


class _Graph:
    """An ONNX graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: dict[str, Sequence[str | int]] = {}
        self.outputs: dict[str, Sequence[str | int]] = {}
        self.weights: dict[str, Floats] = {}

    def add(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object) -> None:
        """Add a node."""
        from onnx import helper  # noqa: PLC0415 - onnx and onnxruntime take an eighth of a second to import

        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))

    def session(self, threads: int) -> onnxruntime.InferenceSession:
        """The graph ready to run; the weights are handed over in memory, so their size has no bound and no cost."""
        import onnxruntime  # noqa: PLC0415
        from onnx import TensorProto, helper  # noqa: PLC0415

        kinds = {"ids": TensorProto.INT64}
        inputs, outputs = (
            [
                helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape)
                for name, shape in side.items()
            ]
            for side in (self.inputs, self.outputs)
        )
        stubs = [_stub(name, array.shape) for name, array in self.weights.items()]
        graph = helper.make_graph(self.nodes, "fabula", inputs, outputs, stubs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3  # errors only: stderr belongs to the command
        options.enable_cpu_mem_arena = False  # an arena keeps the largest batch for ever
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self.weights.values()]
        options.add_external_initializers(list(self.weights), values)
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _stub(name: str, shape: Sequence[int]) -> onnx.TensorProto:
    """A weight whose numbers are handed over when the session is made."""
    from onnx import TensorProto  # noqa: PLC0415

    stub = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    stub.external_data.add(key="location", value="memory")
    return stub


def _memories(config: ModelConfig, kind: _Kind) -> list[str]:
    """Names of the state's arrays, in order."""
    return [f"{layer}.{slot}" for layer in range(config.layers or 0) for slot in kind.slots]


def _body(config: ModelConfig, kind: _Kind, weights: Mapping[str, Floats]) -> _Graph:
    """ids (T, B), memories (1, B, H) -> `hidden` (T, 1, B, H) of the last layer and the new memories (1, B, H)."""
    graph, layers, hidden = _Graph(), config.layers or 0, config.hidden or 0
    memories = _memories(config, kind)
    news = [f"{name}.new" for name in memories]
    graph.inputs = {"ids": ("T", "B"), **dict.fromkeys(memories, (1, "B", hidden))}
    graph.outputs = {"hidden": ("T", 1, "B", hidden), **dict.fromkeys(news, (1, "B", hidden))}
    graph.weights["embedding.weight"] = np.ascontiguousarray(weights["embedding.weight"])
    graph.add("Gather", ["embedding.weight", "ids"], ["0.x"])  # (T, B, E)
    graph.add("Constant", [], ["direction"], value_ints=[1])
    for layer in range(layers):
        sides = [
            _reordered(weights[f"cells.{layer}.{side}"], kind) for side in ("weight_ih", "weight_hh")
        ]  # (1, GH, I)
        biases = [_reordered(weights[f"cells.{layer}.{side}"], kind) for side in ("bias_ih", "bias_hh")]  # (1, GH)
        own = {f"{layer}.{name}": array for name, array in zip("wrb", [*sides, np.hstack(biases)], strict=True)}
        graph.weights |= own
        span = slice(layer * len(kind.slots), (layer + 1) * len(kind.slots))
        moments = "hidden" if layer == layers - 1 else f"{layer}.hidden"
        graph.add(
            kind.operator, [f"{layer}.x", *own, "", *memories[span]], [moments, *news[span]],
            hidden_size=hidden, **kind.attributes,
        )  # fmt: skip
        if layer < layers - 1:
            graph.add("Squeeze", [moments, "direction"], [f"{layer + 1}.x"])  # (T, 1, B, H) -> (T, B, H)
    return graph


def _reordered(weight: Floats, kind: _Kind) -> Floats:
    """Blocks of gates in ONNX's order: (GH, ...) -> (1, GH, ...)."""
    blocks = np.split(weight, len(kind.order))
    return np.concatenate([blocks[gate] for gate in kind.order])[None]


def _head(config: ModelConfig, vocabulary: int, weights: Mapping[str, Floats]) -> _Graph:
    """`rows` (N, H) -> `log_probabilities` (N, V)."""
    graph = _Graph()
    graph.inputs["rows"] = ("N", config.hidden or 0)
    graph.outputs["log_probabilities"] = ("N", vocabulary)
    rows, last = "rows", "embedding.weight" if config.tied else "head.weight"
    if "head.projection.weight" in weights:
        graph.add("Gemm", ["rows", "head.projection.weight"], ["projected"], transB=1)  # (N, E)
        rows = "projected"
    graph.add("Gemm", [rows, last, "head.bias"], ["logits"], transB=1)  # (N, V)
    graph.add("LogSoftmax", ["logits"], ["log_probabilities"], axis=1)
    used = ("head.projection.weight", last, "head.bias")
    graph.weights = {name: np.ascontiguousarray(weights[name]) for name in used if name in weights}
    return graph
