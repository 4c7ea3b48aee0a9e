"""An ONNX graph under construction, its products exact or in whole numbers, and the session that runs it.

Legend: N rows, I inputs, O outputs of a product. It knows no network.

In whole numbers a weight becomes one of 127 steps of its output's scale, and a number that goes in one of 255 steps of
its row's scale; the products and their sums are then exact, whatever the processor and however many rows there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fabula import machine

if TYPE_CHECKING:
    import onnx
    import onnxruntime

Floats = NDArray[np.float32]
Weights = Mapping[str, NDArray[Any]]

THREADS = 8
"""Most threads used when none are asked for: more of them wait for the same memory."""

SHARE = 1 << 18
"""Weights that keep a thread busy for longer than it takes to call it, where there are many rows."""

ALONE = 1 << 22
"""Bytes of weights that do so for a single row: a thread sleeps between steps, and reads a few MB in no more time than
it takes to wake."""

SPIN = 20
"""Microseconds that a thread spins for what comes next before it sleeps: longer ones steal the core of whoever else is
at work, which costs far more."""

PATIENT_SPIN = 100
"""Microseconds that outlast the drawing of a unit, so that no thread has to be woken in every step of a story."""

WEIGHT_STEPS = 63
"""Steps of a weight to either side of zero: two products of a weight and an input then fit into 16 bits, in which
processors without instructions of their own for this add them."""

STEPS = 127
"""Steps of an input to either side of zero."""

TINY = 1e-30
"""A row of zeros is scaled by this."""


class Graph:
    """An ONNX graph under construction.

    `int8` makes its products in whole numbers, `single` says that it reads one moment at a time.
    """

    def __init__(
        self, *, int8: bool = False, single: bool = False, weights: dict[str, NDArray[Any]] | None = None
    ) -> None:
        self.int8, self.single = int8, single
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.weights: dict[str, NDArray[Any]] = {} if weights is None else weights

    def add(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:  # noqa: ANN401
        """Add a node."""
        from onnx import helper  # noqa: PLC0415 - onnx and onnxruntime take an eighth of a second to import

        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))

    def inside(self) -> Graph:
        """A graph for the body of a loop in this one: it sees the same weights."""
        return Graph(int8=self.int8, single=self.single, weights=self.weights)

    def gather(self, table: str, ids: str, out: str, *, whole: bool) -> None:
        """Rows of a table (V, I) -> out (..., I); `whole` says that they go into products only."""
        if not (self.int8 and whole):
            self.add("Gather", [table, ids], [out])
            return
        rows, scales = f"{table}.rows", f"{table}.rows.scales"
        if rows not in self.weights:
            self.weights[rows], self.weights[scales] = rounded_rows(self.weights[table])
        self.add("Gather", [rows, ids], [f"{out}.whole"])
        self.add("Gather", [scales, ids], [f"{out}.scale"])

    def product(
        self, rows: str, weight: str, out: str, bias: str = "", *, bounded: bool = False, deep: bool = False
    ) -> None:
        """rows (N, I) times the weight (O, I) of that name, and its bias (O,) -> out (N, O).

        `bounded` says that all numbers of the rows lie between -1 and 1, `deep` that they are (T, B, I). A row's result
        hangs on no other row.
        """
        if self.int8:
            self._product_in_whole_numbers(rows, weight, out, bias, bounded=bounded)
        elif deep:
            self.weights[f"{weight}.turned"] = np.ascontiguousarray(self.weights[weight].T)  # (I, O)
            self.add("MatMul", [rows, f"{weight}.turned"], [f"{out}.product"])
            self.add("Add", [f"{out}.product", bias], [out])
        else:
            self.add("Gemm", [rows, weight, bias] if bias else [rows, weight], [out], transB=1)

    def _product_in_whole_numbers(self, rows: str, weight: str, out: str, bias: str, *, bounded: bool) -> None:
        """Each operation by itself: the one that does all of it divides its work badly, and takes three times as long
        for a single row."""
        from onnx import TensorProto  # noqa: PLC0415

        whole, scales = f"{weight}.int8", f"{weight}.scales"
        if whole not in self.weights:
            self.weights[whole], steps = rounded(self.weights[weight])
            self.weights[scales] = steps / np.float32(STEPS) if bounded else steps
        scale = self._rounded(rows, bounded=bounded)
        self.add("MatMulInteger", [f"{rows}.whole", whole, "zero"], [f"{out}.integers"])
        self.add("Cast", [f"{out}.integers"], [f"{out}.steps"], to=TensorProto.FLOAT)
        last = f"{out}.steps"
        then = [(operator, by) for operator, by in (("Mul", scale), ("Mul", scales), ("Add", bias)) if by]
        for left, (operator, by) in zip(reversed(range(len(then))), then, strict=True):
            self.add(operator, [last, by], [f"{out}.{left}" if left else out])
            last = f"{out}.{left}"

    def _rounded(self, rows: str, *, bounded: bool) -> str:
        """Make the rows (..., I) whole, once: the name of their scales (..., 1), none where all are alike."""
        known = {name for node in self.nodes for name in node.output}
        self.weights["zero"] = np.array(STEPS + 1, np.uint8)
        per_step = np.array(1 / STEPS, np.float32)
        if bounded:
            self.weights["bounded"] = per_step
            if f"{rows}.whole" not in known:
                self.add("QuantizeLinear", [rows, "bounded", "zero"], [f"{rows}.whole"])
            return ""
        scale = f"{rows}.scale"
        if scale not in known:
            self.weights |= {"tiny": np.array(TINY, np.float32), "one": np.array(1, np.float32), "per step": per_step}
            self.add("Abs", [rows], [f"{rows}.sizes"])
            self.add("ReduceMax", [f"{rows}.sizes"], [f"{rows}.largest"], axes=[-1], keepdims=1)
            self.add("Mul", [f"{rows}.largest", "per step"], [f"{rows}.least"])
            self.add("Max", [f"{rows}.least", "tiny"], [scale])  # (..., 1)
            self.add("Div", [rows, scale], [f"{rows}.scaled"])
            self.add("QuantizeLinear", [f"{rows}.scaled", "one", "zero"], [f"{rows}.whole"])
        return scale

    def threads(self, *, alone: bool = False) -> int:
        """As many as there are cores, unless there is too little to do; `alone` for a single row."""
        read = {name for node in _all(self.nodes) if node.op_type != "Gather" for name in node.input}
        worked = [array for name, array in self.weights.items() if name in read]
        shares = sum(array.nbytes for array in worked) // ALONE if alone else sum(a.size for a in worked) // SHARE
        return min(THREADS, machine.cores(), 1 + shares)

    def session(self, threads: int, *, patient: bool = False) -> onnxruntime.InferenceSession:
        """The graph ready to run, with threads that are `patient` or sleep soon.

        The weights are handed over in memory, so their size has no bound and no cost.
        """
        import onnxruntime  # noqa: PLC0415
        from onnx import TensorProto, helper  # noqa: PLC0415

        self.weights = self._used()
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
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(PATIENT_SPIN if patient else SPIN))
        options.log_severity_level = 3  # errors only: stderr belongs to the command
        options.enable_cpu_mem_arena = False  # an arena keeps the largest batch for ever
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self.weights.values()]
        options.add_external_initializers(list(self.weights), values)
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def _used(self) -> dict[str, NDArray[Any]]:
        """The weights that some node reads, those inside of loops included."""
        read = {name for node in _all(self.nodes) for name in node.input}
        return {name: array for name, array in self.weights.items() if name in read}


def rounded(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """A weight (O, I) in whole steps, turned: (I, O), and the size of a step of each output (O,).

    >>> whole, scales = rounded(np.array([[0.5, -1.0], [0.0, 0.0]], np.float32))
    >>> whole.tolist(), [round(float(scale) * WEIGHT_STEPS, 4) for scale in scales]
    ([[31, 0], [-63, 0]], [1.0, 0.0])
    """
    scales = np.abs(weight).max(axis=1) / np.float32(WEIGHT_STEPS)  # (O,)
    steps = weight / np.maximum(scales, np.float32(TINY))[:, None]
    return np.ascontiguousarray(np.rint(steps).astype(np.int8).T), scales


def rounded_rows(table: Floats) -> tuple[NDArray[np.uint8], Floats]:
    """Rows (V, I) in whole steps around `STEPS` + 1, and the size of a step of each row (V, 1).

    >>> whole, scales = rounded_rows(np.array([[0.5, -1.0], [0.0, 0.0]], np.float32))
    >>> whole.tolist(), [round(float(scale) * STEPS, 4) for scale in scales[:, 0]]
    ([[192, 1], [128, 128]], [1.0, 0.0])
    """
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True) / np.float32(STEPS), np.float32(TINY))
    return (np.rint(table / scales) + (STEPS + 1)).astype(np.uint8), scales


def _all(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes and those of the graphs inside them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            yield from _all(attribute.g.node)
