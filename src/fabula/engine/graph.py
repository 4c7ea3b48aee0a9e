"""The network as an ONNX graph, and the session that runs it; knows no state between its runs.

Legend: B batch, T time, K judged moments, N rows, E embedding width, H hidden units, G gates, V vocabulary.
Rows never mix in the graph, so a story's numbers are the same bits alone and beside others, step by step and at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fabula import clusters, machine
from fabula.config import ModelConfig
from fabula.hashing import APART, MULTIPLIERS, lengths

if TYPE_CHECKING:
    import onnx
    import onnxruntime

Floats = NDArray[np.float32]
Weights = Mapping[str, NDArray[Any]]

THREADS = 8
"""Most threads used when none are asked for: more of them wait for the same memory."""

SHARE = 1 << 18
"""Weights that keep a thread busy for longer than it takes to call it."""


@dataclass(frozen=True)
class Kind:
    """What a kind of recurrent layer is made of."""

    gates: int
    slots: str
    """One letter for each array of its state."""
    add: Callable[[Graph, int, Mapping[str, Floats]], None]
    """Adds the layer of a number to a graph: `N.x` (T, B, I) and memories (1, B, H) -> `N+1.x` (T, B, H), memories."""


class Graph:
    """An ONNX graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.weights: dict[str, NDArray[Any]] = {}

    def add(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:  # noqa: ANN401
        """Add a node."""
        from onnx import helper  # noqa: PLC0415 - onnx and onnxruntime take an eighth of a second to import

        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))

    def threads(self) -> int:
        """As many as there are cores, unless there is too little to do."""
        return min(THREADS, machine.cores(), 1 + sum(array.size for array in self.weights.values()) // SHARE)

    def session(self, threads: int) -> onnxruntime.InferenceSession:
        """The graph ready to run; the weights are handed over in memory, so their size has no bound and no cost."""
        import onnxruntime  # noqa: PLC0415
        from onnx import TensorProto, helper  # noqa: PLC0415

        stubs: list[onnx.TensorProto] = []
        for name, array in self.weights.items():
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            stub = TensorProto(name=name, dims=array.shape, data_type=kind)
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


def build(config: ModelConfig, vocabulary: int, weights: Weights) -> Graph:
    """ids (T, B), `from` (1,), memories (1, B, H) -> log-probabilities (N, V) of the moments after `from`, memories.

    The hidden states of the last layer at all moments, `top` (T, B, H), are there for those who ask.
    """
    from onnx import TensorProto, helper  # noqa: PLC0415

    graph, hidden, kind = Graph(), config.hidden or 0, KINDS[config.cell]
    memories = {f"{layer}.{slot}": hidden for layer in range(config.layers or 0) for slot in kind.slots}
    if config.buckets:
        memories["before"] = (config.ngrams or 2) - 1
    graph.inputs += [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ("T", "B")),
        helper.make_tensor_value_info("from", TensorProto.INT64, (1,)),
        *(helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, "B", width)) for name, width in memories.items()),
    ]
    graph.outputs += [
        helper.make_tensor_value_info("log_probabilities", TensorProto.FLOAT, ("N", vocabulary)),
        helper.make_tensor_value_info("top", TensorProto.FLOAT, ("T", "B", hidden)),
        *(
            helper.make_tensor_value_info(f"{name}.new", TensorProto.FLOAT, (1, "B", width))
            for name, width in memories.items()
        ),
    ]
    graph.weights = {
        name: np.ascontiguousarray(array) for name, array in weights.items() if not name.startswith("cells.")
    }
    for name, numbers in (("first", [0]), ("second", [1]), ("last", [2**62]), ("flat", [-1, config.judged])):
        graph.add("Constant", [], [name], value_ints=numbers)
    graph.add("Gather", ["embedding.weight", "ids"], ["units"])  # (T, B, E)
    if config.buckets:
        _add_ngrams(graph, config.ngrams or 2, config.buckets)
    graph.add("Sum", ["units", "ngrams"] if config.buckets else ["units"], ["0.x"])
    for layer in range(config.layers or 0):
        own = {part: weights[f"cells.{layer}.{part}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        kind.add(graph, layer, own)  # (T, B, I) -> (T, B, H)
    graph.add("Identity", [f"{config.layers}.x"], ["top"])
    graph.add("Concat", ["top", "ngrams"] if config.buckets else ["top"], ["heard"], axis=2)
    graph.add("Slice", ["heard", "from", "last", "first"], ["judged"])  # (K, B, H)
    graph.add("Reshape", ["judged", "flat"], ["rows"])  # (K, B, H) -> (N, H)
    _HEADS[config.head](graph, "rows", vocabulary)  # (N, H) -> (N, V)
    return graph


def _add_ngrams(graph: Graph, longest: int, buckets: int) -> None:
    """The vectors of the last 2, 3, ... units: ids (T, B), before (1, B, N-1) -> ngrams (T, B, E), before.new."""
    from onnx import TensorProto  # noqa: PLC0415

    def number(name: str, value: int) -> str:
        graph.add("Constant", [], [name], value_ints=[value])  # (1,)
        return name

    graph.add("Squeeze", ["before", "first"], ["before.rows"])  # (B, N-1)
    graph.add("Transpose", ["before.rows"], ["before.columns"], perm=[1, 0])
    graph.add("Cast", ["before.columns"], ["before.ids"], to=TensorProto.INT64)
    graph.add("Concat", ["before.ids", "ids"], ["ngrams.units"], axis=0)  # (N-1+T, B)
    for back in range(longest):  # the unit so many moments before each: (T, B)
        start = number(f"ngrams.start.{back}", longest - 1 - back)
        stop = number(f"ngrams.stop.{back}", -back or 2**62)
        graph.add("Slice", ["ngrams.units", start, stop, "first"], [f"ngrams.unit.{back}"])
        graph.add("Mul", [f"ngrams.unit.{back}", number(f"ngrams.by.{back}", MULTIPLIERS[back])], [f"ngrams.{back}"])
    found: list[str] = []
    size = number("ngrams.buckets", buckets)
    for length in lengths(longest):
        key = number(f"ngrams.apart.{length}", APART * (length - 2))
        for back in range(length):
            graph.add("Add", [key, f"ngrams.{back}"], [f"ngrams.key.{length}.{back}"])
            key = f"ngrams.key.{length}.{back}"
        graph.add("Mod", [key, size], [f"ngrams.row.{length}"])
        graph.add("Gather", ["ngrams.weight", f"ngrams.row.{length}"], [f"ngrams.of.{length}"])  # (T, B, E)
        found.append(f"ngrams.of.{length}")
    graph.add("Sum", found, ["ngrams"])
    graph.add("Slice", ["ngrams.units", number("before.from", 1 - longest), "last", "first"], ["before.kept"])
    graph.add("Transpose", ["before.kept"], ["before.turned"], perm=[1, 0])  # (N-1, B) -> (B, N-1)
    graph.add("Cast", ["before.turned"], ["before.floats"], to=TensorProto.FLOAT)
    graph.add("Unsqueeze", ["before.floats", "first"], ["before.new"])  # (1, B, N-1)


def _add_lstm(graph: Graph, layer: int, weights: Mapping[str, Floats]) -> None:
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


def _add_gru(graph: Graph, layer: int, weights: Mapping[str, Floats]) -> None:
    """The equations in a loop over time: r, z = sigmoid(..), n = tanh(W x + b + r (U h + c)), h' = n + z (h - n).

    ONNX's own GRU is as fast on an idle machine, and a hundred times slower beside a busy program.
    """
    from onnx import TensorProto, helper  # noqa: PLC0415

    w, b, u, c, h = (f"{layer}.{name}" for name in ("w", "b", "u", "c", "h"))
    graph.weights[w] = np.ascontiguousarray(weights["weight_ih"].T)  # (I, 3H)
    graph.weights[u] = np.ascontiguousarray(weights["weight_hh"])  # (3H, H)
    graph.weights[b], graph.weights[c] = (np.ascontiguousarray(weights[name]) for name in ("bias_ih", "bias_hh"))
    step, hidden = Graph(), weights["weight_hh"].shape[1]
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


KINDS: Mapping[str, Kind] = {"lstm": Kind(4, "hc", _add_lstm), "gru": Kind(3, "h", _add_gru)}


# --- output layers -------------------------------------------------------------------------------------------------


def _project(graph: Graph, rows: str) -> str:
    """Hidden states at the width of the word vectors: (N, H) -> (N, E)."""
    if "head.projection.weight" not in graph.weights:
        return rows
    graph.add("Gemm", [rows, "head.projection.weight"], ["projected"], transB=1)
    return "projected"


def _add_full(graph: Graph, rows: str, vocabulary: int) -> None:  # noqa: ARG001
    """Weights of its own."""
    graph.add("Gemm", [rows, "head.weight", "head.bias"], ["logits"], transB=1)
    graph.add("LogSoftmax", ["logits"], ["log_probabilities"], axis=1)


def _add_tied(graph: Graph, rows: str, vocabulary: int) -> None:  # noqa: ARG001
    """The word vectors once more."""
    graph.add("Gemm", [_project(graph, rows), "embedding.weight", "head.bias"], ["logits"], transB=1)
    graph.add("LogSoftmax", ["logits"], ["log_probabilities"], axis=1)


def _add_adaptive(graph: Graph, rows: str, vocabulary: int) -> None:
    """log p(unit) = log p(tail) + log p(unit | tail), by rank, and then each at the place of its id."""
    own, count = graph.weights, clusters.shortlist(vocabulary)
    ids = np.argsort(own["head.places"])[:count]
    own["head.first"] = np.concatenate([own["embedding.weight"][ids], own.pop("head.clusters")])  # (S+C, E)
    tails = range(len(own["head.first"]) - count)
    graph.add("Gemm", [_project(graph, rows), "head.first", "head.bias"], ["head.logits"], transB=1)
    graph.add("LogSoftmax", ["head.logits"], ["head.all"], axis=1)
    graph.add("Constant", [], ["head.sizes"], value_ints=[count, *(1 for _ in tails)])
    columns = [f"head.column.{tail}" for tail in tails]  # (N, 1) each
    graph.add("Split", ["head.all", "head.sizes"], ["head.shortlist", *columns], axis=1)
    for tail, column in zip(tails, columns, strict=True):
        name = f"head.tails.{tail}"
        graph.add("Gemm", [rows, f"{name}.projection"], [f"{name}.rows"], transB=1)
        graph.add("Gemm", [f"{name}.rows", f"{name}.weight", f"{name}.bias"], [f"{name}.logits"], transB=1)
        graph.add("LogSoftmax", [f"{name}.logits"], [f"{name}.inside"], axis=1)
        graph.add("Add", [f"{name}.inside", column], [f"{name}.found"])
    graph.add("Concat", ["head.shortlist", *(f"head.tails.{tail}.found" for tail in tails)], ["head.ranked"], axis=1)
    graph.add("Gather", ["head.ranked", "head.places"], ["log_probabilities"], axis=1)


_HEADS: Mapping[str, Callable[[Graph, str, int], None]] = {
    "full": _add_full, "tied": _add_tied, "sampled": _add_tied, "adaptive": _add_adaptive,
}  # fmt: skip
