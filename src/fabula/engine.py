"""The network without torch: weights -> ONNX graph -> log-probabilities, state in and out; knows no text, no files.

Legend: B batch, T time, K judged moments, N rows, E embedding width, H hidden units, G gates, V vocabulary.
Rows never mix in the graph, so a story's numbers are the same bits alone and beside others, step by step and at once.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

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

SHARE = 1 << 18
"""Weights that keep a thread busy for longer than it takes to call it."""

_NUMBERS = 1 << 23
"""Intermediate numbers computed at once (32 MB), whatever the vocabulary and the length of the text."""


@dataclass(frozen=True)
class _Kind:
    """What a kind of recurrent layer is made of."""

    gates: int
    slots: str
    """One letter for each array of its state."""
    add: Callable[[_Graph, int, Mapping[str, Floats]], None]
    """Adds the layer of a number to a graph: `N.x` (T, B, I) and memories (1, B, H) -> `N+1.x` (T, B, H), memories."""


def expected_shapes(config: ModelConfig, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight of a network whose settings are all chosen; errors: FolderError if one is not.

    >>> config = ModelConfig(layers=1, hidden=4, embedding=3, tied=True, dropout=0.0)
    >>> [name for name, shape in expected_shapes(config, 9).items() if len(shape) == 1]
    ['cells.0.bias_ih', 'cells.0.bias_hh', 'head.bias']
    """
    layers, hidden, embedding = config.layers, config.hidden, config.embedding
    if layers is None or hidden is None or embedding is None or config.tied is None:
        raise FolderError("the model's layers, hidden, embedding and tied must all be given: train the model again")
    rows = hidden * _KINDS[config.cell].gates
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
            raise FolderError(
                f"weights hold {reprlib.repr(name)}, which this network does not have: copy the model anew"
            )
        dtype, shape = found[name]
        if dtype not in ("F32", "float32") or tuple(shape) != expected[name]:
            came = reprlib.repr((dtype, *shape))
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
        kind = _KINDS[config.cell]
        self._hidden, self._vocabulary = config.hidden or 0, vocabulary
        self._gates = self._hidden * kind.gates
        self._memories = [f"{layer}.{slot}" for layer in range(config.layers or 0) for slot in kind.slots]
        self._news = [f"{name}.new" for name in self._memories]
        self._graph = _build(config, vocabulary, weights)  # kept, for the session reads the weights where they lie
        self._session = self._graph.session(threads or self._graph.threads())

    def initial_state(self, batch: int) -> State:
        """The state before the first unit: zeros."""
        return tuple(np.zeros((batch, self._hidden), np.float32) for _ in self._memories)

    def read(self, ids: Integers, state: State) -> State:
        """Take in some units without a word on what comes next: ids (B, T) -> the new state."""
        for span in _spans(ids, self._gates):
            _, state = self._run(ids[:, span], state, 0)
        return state

    def step(self, ids: Integers, state: State) -> tuple[Floats, State]:
        """Take in one unit each and say what comes next: ids (B,) -> log-probabilities (B, V) and the new state."""
        return self._run(ids[:, None], state, 1)

    def score(self, ids: Integers, targets: Integers, state: State) -> tuple[Floats, NDArray[np.bool_], State]:
        """Judge the last K moments: ids (B, T), targets (B, K) -> nats (B, K), hits (B, K), state.

        A hit is a target that was the likeliest unit.
        """
        lead = ids.shape[1] - targets.shape[1]
        state, judged = self.read(ids[:, :lead], state), ids[:, lead:]
        nats, hits = np.empty(targets.shape, np.float32), np.empty(targets.shape, np.bool_)
        for span in _spans(judged, max(self._vocabulary, self._gates)):
            part = judged[:, span]
            found, state = self._run(part, state, part.shape[1])  # (T*B, V)
            wanted = targets[:, span].T.reshape(-1)  # (T*B,)
            shape = part.shape[::-1]  # (T, B)
            nats[:, span] = -found[np.arange(len(wanted)), wanted].reshape(shape).T
            hits[:, span] = (found.argmax(axis=1) == wanted).reshape(shape).T
        return nats, hits, state

    def _run(self, ids: Integers, state: State, judged: int) -> tuple[Floats, State]:
        """ids (B, T) -> log-probabilities (K*B, V) of the last `judged` moments, time-first, and the new state."""
        feed: dict[str, NDArray[Any]] = {"ids": np.ascontiguousarray(ids.T, np.int64)}  # (T, B)
        feed["from"] = np.array([ids.shape[1] - judged], np.int64)
        feed |= {name: array[None] for name, array in zip(self._memories, state, strict=True)}  # (B, H) -> (1, B, H)
        found, *news = cast("list[Floats]", self._session.run(["log_probabilities", *self._news], feed))
        return found, tuple(new[0] for new in news)  # (1, B, H) -> (B, H)


def _spans(ids: Integers, width: int) -> Iterator[slice]:
    """Parts of the time of ids (B, T) so short that `width` numbers for each unit fit in bounded memory."""
    length = max(1, _NUMBERS // (ids.shape[0] * width))
    return (slice(start, start + length) for start in range(0, ids.shape[1], length))


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- the graph -----------------------------------------------------------------------------------------------------


class _Graph:
    """An ONNX graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.weights: dict[str, Floats] = {}

    def add(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:  # noqa: ANN401
        """Add a node."""
        from onnx import helper  # noqa: PLC0415 - onnx and onnxruntime take an eighth of a second to import

        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))

    def threads(self) -> int:
        """As many as there are cores, unless there is too little to do."""
        return min(THREADS, _cores(), 1 + sum(array.size for array in self.weights.values()) // SHARE)

    def session(self, threads: int) -> onnxruntime.InferenceSession:
        """The graph ready to run; the weights are handed over in memory, so their size has no bound and no cost."""
        import onnxruntime  # noqa: PLC0415
        from onnx import TensorProto, helper  # noqa: PLC0415

        stubs: list[onnx.TensorProto] = []
        for name, array in self.weights.items():
            stub = TensorProto(name=name, dims=array.shape, data_type=TensorProto.FLOAT)
            stub.data_location = TensorProto.EXTERNAL
            stub.external_data.add(key="location", value="memory")
            stubs.append(stub)
        graph = helper.make_graph(self.nodes, "fabula", self.inputs, self.outputs, stubs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Threads that spin longer for the next step steal the core of whoever else is at work, which costs far more.
        options.add_session_config_entry("session.intra_op.spin_duration_us", "20")
        options.log_severity_level = 3  # errors only: stderr belongs to the command
        options.enable_cpu_mem_arena = False  # an arena keeps the largest batch for ever
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self.weights.values()]
        options.add_external_initializers(list(self.weights), values)
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _build(config: ModelConfig, vocabulary: int, weights: Mapping[str, Floats]) -> _Graph:
    """ids (T, B), `from` (1,), memories (1, B, H) -> log-probabilities (N, V) of the moments after `from`, memories."""
    from onnx import TensorProto, helper  # noqa: PLC0415

    graph, hidden, kind = _Graph(), config.hidden or 0, _KINDS[config.cell]
    memories = [f"{layer}.{slot}" for layer in range(config.layers or 0) for slot in kind.slots]
    graph.inputs += [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ("T", "B")),
        helper.make_tensor_value_info("from", TensorProto.INT64, (1,)),
        *(helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, "B", hidden)) for name in memories),
    ]
    graph.outputs += [
        helper.make_tensor_value_info("log_probabilities", TensorProto.FLOAT, ("N", vocabulary)),
        *(helper.make_tensor_value_info(f"{name}.new", TensorProto.FLOAT, (1, "B", hidden)) for name in memories),
    ]
    graph.weights = {name: np.ascontiguousarray(weights[name]) for name in weights if not name.startswith("cells.")}
    for name, numbers in (("first", [0]), ("second", [1]), ("last", [2**62]), ("flat", [-1, hidden])):
        graph.add("Constant", [], [name], value_ints=numbers)
    graph.add("Gather", ["embedding.weight", "ids"], ["0.x"])  # (T, B, E)
    for layer in range(config.layers or 0):
        own = {part: weights[f"cells.{layer}.{part}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        kind.add(graph, layer, own)  # (T, B, I) -> (T, B, H)
    graph.add("Slice", [f"{config.layers}.x", "from", "last", "first"], ["judged"])  # (K, B, H)
    graph.add("Reshape", ["judged", "flat"], ["rows"])  # (K, B, H) -> (N, H)
    rows, output = "rows", "embedding.weight" if config.tied else "head.weight"
    if "head.projection.weight" in weights:
        graph.add("Gemm", [rows, "head.projection.weight"], ["projected"], transB=1)  # (N, E)
        rows = "projected"
    graph.add("Gemm", [rows, output, "head.bias"], ["logits"], transB=1)  # (N, V)
    graph.add("LogSoftmax", ["logits"], ["log_probabilities"], axis=1)
    return graph


def _add_lstm(graph: _Graph, layer: int, weights: Mapping[str, Floats]) -> None:
    """ONNX's own LSTM, which wants its gates in the order i, o, f, g."""
    parts = {
        name: np.concatenate([np.split(array, 4)[gate] for gate in (0, 3, 1, 2)]) for name, array in weights.items()
    }
    w, r, b, h, c = (f"{layer}.{name}" for name in ("w", "r", "b", "h", "c"))
    graph.weights[w] = np.ascontiguousarray(parts["weight_ih"])[None]  # (1, 4H, I)
    graph.weights[r] = np.ascontiguousarray(parts["weight_hh"])[None]  # (1, 4H, H)
    graph.weights[b] = np.concatenate([parts["bias_ih"], parts["bias_hh"]])[None]  # (1, 8H)
    hidden = weights["weight_hh"].shape[1]
    outputs = [f"{layer}.y", f"{h}.new", f"{c}.new"]
    graph.add("LSTM", [f"{layer}.x", w, r, b, "", h, c], outputs, hidden_size=hidden)
    graph.add("Squeeze", [f"{layer}.y", "second"], [f"{layer + 1}.x"])  # (T, 1, B, H) -> (T, B, H)


def _add_gru(graph: _Graph, layer: int, weights: Mapping[str, Floats]) -> None:
    """The equations in a loop over time: r, z = sigmoid(..), n = tanh(W x + b + r (U h + c)), h' = n + z (h - n).

    ONNX's own GRU is as fast on an idle machine, and a hundred times slower beside a busy program.
    """
    from onnx import TensorProto, helper  # noqa: PLC0415

    w, b, u, c, h = (f"{layer}.{name}" for name in ("w", "b", "u", "c", "h"))
    graph.weights[w] = np.ascontiguousarray(weights["weight_ih"].T)  # (I, 3H)
    graph.weights[u] = np.ascontiguousarray(weights["weight_hh"])  # (3H, H)
    graph.weights[b], graph.weights[c] = (np.ascontiguousarray(weights[name]) for name in ("bias_ih", "bias_hh"))
    step, hidden = _Graph(), weights["weight_hh"].shape[1]
    step.add("Split", ["from_x"], ["x_r", "x_z", "x_n"], axis=1)  # (B, 3H) -> (B, H) each
    step.add("Gemm", ["old", u, c], ["from_h"], transB=1)  # (B, 3H)
    step.add("Split", ["from_h"], ["h_r", "h_z", "h_n"], axis=1)
    for gate in "rz":
        step.add("Add", [f"x_{gate}", f"h_{gate}"], [f"sum_{gate}"])
        step.add("Sigmoid", [f"sum_{gate}"], [gate])
    step.add("Mul", ["r", "h_n"], ["kept"])
    step.add("Add", ["x_n", "kept"], ["sum_n"])
    step.add("Tanh", ["sum_n"], ["n"])
    step.add("Sub", ["old", "n"], ["apart"])
    step.add("Mul", ["z", "apart"], ["back"])
    step.add("Add", ["n", "back"], ["new"])
    step.add("Identity", ["new"], ["moment"])
    widths = {"old": hidden, "from_x": 3 * hidden, "new": hidden, "moment": hidden}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("B", width)) for name, width in widths.items()]
    body = helper.make_graph(step.nodes, "step", ends[:2], ends[2:])
    graph.add("MatMul", [f"{layer}.x", w], [f"{layer}.wx"])  # (T, B, 3H)
    graph.add("Add", [f"{layer}.wx", b], [f"{layer}.from_x"])
    graph.add("Squeeze", [h, "first"], [f"{h}.old"])  # (1, B, H) -> (B, H)
    outputs = [f"{h}.last", f"{layer + 1}.x"]  # (B, H), (T, B, H)
    graph.add("Scan", [f"{h}.old", f"{layer}.from_x"], outputs, num_scan_inputs=1, body=body)
    graph.add("Unsqueeze", [f"{h}.last", "first"], [f"{h}.new"])  # (B, H) -> (1, B, H)


_KINDS: Mapping[str, _Kind] = {"lstm": _Kind(4, "hc", _add_lstm), "gru": _Kind(3, "h", _add_gru)}
