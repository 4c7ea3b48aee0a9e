"""An ONNX graph under construction, its products exact or in whole numbers, and the session that runs it.

Legend: N rows, I inputs, O outputs of a product. It knows no network.

In whole numbers a weight becomes one of 127 steps up to the largest of its matrix, and a number that goes in one of 255
steps up to the largest of its row; the products and their sums are then exact, whatever the processor and however many
rows there are. A scale for each output would make a step a tenth slower, and spare hardly a nat (docs/log.md).
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fabula import machine
from fabula.engine.described import Array, Described, Node, every, serialized

if TYPE_CHECKING:
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

BLOCK = 128
"""Outputs of a weight that are rounded at once: what lies near the processor takes a third of the time."""

ROUNDS_FIRST = platform.machine().lower() in {"x86_64", "amd64"}
"""Whether a product that adds rounds before it does: it then comes to the bits of two operations. On other processors
both may be one instruction."""

TINY = 1e-30
"""A row of zeros is scaled by this."""


class Graph:
    """An ONNX graph under construction.

    `int8` makes its products in whole numbers, `single` says that it reads one moment at a time, `alone` that there is
    one row only.
    """

    def __init__(
        self,
        *,
        int8: bool = False,
        single: bool = False,
        alone: bool = False,
        weights: dict[str, NDArray[Any]] | None = None,
    ) -> None:
        self.int8, self.single, self.alone = int8, single, alone
        self.nodes: list[Node] = []
        self.inputs: list[Array] = []
        self.outputs: list[Array] = []
        self.weights: dict[str, NDArray[Any]] = {} if weights is None else weights

    def add(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:  # noqa: ANN401
        """Add a node; `domain` is ONNX's own if none is named."""
        self.nodes.append(Node(operator, tuple(inputs), tuple(outputs), tuple(attributes.items())))

    def inside(self) -> Graph:
        """A graph for the body of a loop in this one: it sees the same weights."""
        return Graph(int8=self.int8, single=self.single, alone=self.alone, weights=self.weights)

    def gather(self, table: str, ids: str, out: str, *, whole: bool) -> None:
        """Rows of a table (V, I) -> out (..., I); `whole` says that they go into products only."""
        if not (self.int8 and whole):
            self.add("Gather", [table, ids], [out])
            return
        rows, sizes = f"{table}.rows", f"{table}.rows.sizes"
        if rows not in self.weights:
            self.weights[rows], self.weights[sizes] = rounded_rows(self.weights[table])
        self.add("Gather", [rows, ids], [f"{out}.whole"])
        if self.alone:
            self.add("Gather", [sizes, ids], [f"{out}.size"])  # (1,)
        else:
            self.add("Constant", [], ["columns"], value_ints=[-1])
            self.add("Gather", [sizes, ids], [f"{out}.size.flat"])  # (...,)
            self.add("Unsqueeze", [f"{out}.size.flat", "columns"], [f"{out}.size"])  # (..., 1)

    def product(
        self, rows: str, weight: str, out: str, bias: str = "", *, bounded: bool = False, deep: bool = False
    ) -> None:
        """rows (N, I) times the weight (O, I) of that name, and its bias (O,) -> out (N, O).

        `bounded` says that all numbers of the rows lie between -1 and 1, `deep` that they are (T, B, I). A row's result
        hangs on no other row. A bias that is no weight is (N, O) itself.
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
        """One operation, where all rows have one size. Else they are scaled afterwards, by the same product of two
        numbers as a single row is at once; and what is added is added afterwards, as a single row's may be at once."""
        whole, scale, once = f"{weight}.int8", f"{weight}.scale", self.alone and ROUNDS_FIRST
        if whole not in self.weights:
            self.weights[whole], self.weights[scale] = rounded(self.weights[weight])
        self.weights["one"] = np.array(1, np.float32)
        size = self._rounded(rows, bounded=bounded)

        def multiply(to: str, one: str, other: str, added: str = "") -> None:
            read = [f"{rows}.whole", whole, one, other, "zero", "", added]
            self.add("MatMulIntegerToFloat", read, [to], domain="com.microsoft")

        if bias and bias not in self.weights and once:
            self.add("Squeeze", [bias], [f"{bias}.row"])  # (1, O) -> (O,)
            bias = f"{bias}.row"
        inside = bias if once or (not size and bias in self.weights) else ""
        scaled = out if inside == bias else f"{out}.scaled"
        if not size:
            multiply(scaled, "one", scale, inside)
        elif self.alone:
            multiply(scaled, size, scale, inside)
        else:
            multiply(f"{out}.integers", "one", "one")
            self.add("Mul", [size, scale], [f"{out}.steps"])  # (..., 1)
            self.add("Mul", [f"{out}.integers", f"{out}.steps"], [scaled])
        if scaled != out:
            self.add("Add", [scaled, bias], [out])

    def _rounded(self, rows: str, *, bounded: bool) -> str:
        """Make the rows (..., I) whole, once: the name of their sizes, (..., 1), or (1,) if there is one only; none
        where that is 1 for all."""
        known = {name for node in self.nodes for name in node.outputs}
        self.weights |= {"zero": np.array(STEPS + 1, np.uint8), "step": np.array(1 / STEPS, np.float32)}
        size = "" if bounded else f"{rows}.size"
        if f"{rows}.whole" not in known:
            inside = rows
            if size:
                inside, self.weights["tiny"] = f"{rows}.inside", np.array(TINY, np.float32)
                self.add("Abs", [rows], [f"{rows}.sizes"])
                largest = f"{rows}.largest"
                self.add("ReduceMax", [f"{rows}.sizes"], [largest], axes=[-1], keepdims=0 if self.alone else 1)
                self.add("Max", [largest, "tiny"], [size])
                self.add("Div", [rows, size], [inside])
            self.add("QuantizeLinear", [inside, "step", "zero"], [f"{rows}.whole"])
        return size

    def threads(self, *, alone: bool = False) -> int:
        """As many as there are cores, unless there is too little to do; `alone` for a single row."""
        read = {name for node in every(self.nodes) if node.operator != "Gather" for name in node.inputs}
        worked = [array for name, array in self.weights.items() if name in read]
        shares = sum(array.nbytes for array in worked) // ALONE if alone else sum(a.size for a in worked) // SHARE
        return min(THREADS, machine.cores(), 1 + shares)

    def session(self, threads: int, *, patient: bool = False) -> onnxruntime.InferenceSession:
        """The graph ready to run, with threads that are `patient` or sleep soon.

        The weights are handed over in memory, so their size has no bound and no cost.
        """
        import onnxruntime  # noqa: PLC0415

        self.weights = self._used()
        weights = tuple(Array(name, array.dtype.name, array.shape) for name, array in self.weights.items())
        model = serialized(Described(tuple(self.nodes), tuple(self.inputs), tuple(self.outputs), weights))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(PATIENT_SPIN if patient else SPIN))
        options.log_severity_level = 3  # errors only: stderr belongs to the command
        options.enable_cpu_mem_arena = False  # an arena keeps the largest batch for ever
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in self.weights.values()]
        options.add_external_initializers(list(self.weights), values)
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def _used(self) -> dict[str, NDArray[Any]]:
        """The weights that some node reads, those inside of loops included."""
        read = {name for node in every(self.nodes) for name in node.inputs}
        return {name: array for name, array in self.weights.items() if name in read}


def rounded(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """A weight (O, I) in whole steps, turned: (I, O), and what one of them times one of an input's stands for ().

    >>> whole, scale = rounded(np.array([[0.5, -1.0], [0.0, 0.0]], np.float32))
    >>> whole.tolist(), round(float(scale) * WEIGHT_STEPS * STEPS, 4)
    ([[31, 0], [-63, 0]], 1.0)
    """
    step = np.maximum(np.maximum(weight.max(), -weight.min()), np.float32(TINY)) / np.float32(WEIGHT_STEPS)
    whole = np.empty(weight.shape[::-1], np.int8)
    for start in range(0, len(weight), BLOCK):
        some = slice(start, start + BLOCK)
        whole[:, some] = np.rint(weight[some] / step).astype(np.int8).T
    return whole, np.array(step / np.float32(STEPS), np.float32)


def rounded_rows(table: Floats) -> tuple[NDArray[np.uint8], Floats]:
    """Rows (V, I) in whole steps around `STEPS` + 1, and the size of each row (V,).

    >>> whole, sizes = rounded_rows(np.array([[0.5, -1.0], [0.0, 0.0]], np.float32))
    >>> whole.tolist(), [round(float(size), 4) for size in sizes]
    ([[192, 1], [128, 128]], [1.0, 0.0])
    """
    sizes = np.maximum(np.abs(table).max(axis=1), np.float32(TINY))  # (V,)
    return (np.rint(table / (sizes / np.float32(STEPS))[:, None]) + (STEPS + 1)).astype(np.uint8), sizes
