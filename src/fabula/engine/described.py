"""A graph described in plain words, and the bytes of the ONNX model that it means; knows no session and no numbers.

The bytes hang on the description alone, and to import onnx takes a fifth of the time to the first word: what was made
once is kept for the processes to come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fabula import keeping

if TYPE_CHECKING:
    import onnx


class Node(NamedTuple):
    """An operation; an attribute is a number, a text, a list of them, the kind of numbers `to` cast to, or a graph."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[tuple[str, Any], ...]


class Array(NamedTuple):
    """What goes in or comes out of a graph, or a weight of it: a size that is not known beforehand has a name."""

    name: str
    kind: str
    """NumPy's name for its numbers."""
    shape: tuple[int | str, ...]


class Described(NamedTuple):
    """A graph; the body of a loop has no weights of its own."""

    nodes: tuple[Node, ...]
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    weights: tuple[Array, ...] = ()


def every(nodes: Iterable[Node]) -> Iterator[Node]:
    """Nodes and those of the graphs inside them."""
    for node in nodes:
        yield node
        for _, value in node.attributes:
            if isinstance(value, Described):
                yield from every(value.nodes)


def serialized(graph: Described) -> bytes:
    """The model, whose weights are handed over in memory."""
    try:
        ours = Path(__file__).read_bytes()  # what a description means
    except OSError:
        return _model(graph)
    name = hashlib.sha256(ours + repr(graph).encode()).hexdigest()
    return keeping.kept(f"{name}.onnx", lambda: _model(graph))


def _model(graph: Described) -> bytes:
    from onnx import helper  # noqa: PLC0415

    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]  # ONNX's and onnxruntime's own
    return helper.make_model(_graph(graph), opset_imports=opsets, ir_version=8).SerializeToString()


def _graph(graph: Described) -> onnx.GraphProto:
    from onnx import TensorProto, helper  # noqa: PLC0415

    def number(kind: str) -> int:
        return helper.np_dtype_to_tensor_dtype(np.dtype(kind))

    def value(name: str, given: Any) -> Any:  # noqa: ANN401 - whatever an attribute may be
        return _graph(given) if isinstance(given, Described) else number(given) if name == "to" else given

    nodes = [
        helper.make_node(node.operator, node.inputs, node.outputs, **{n: value(n, v) for n, v in node.attributes})
        for node in graph.nodes
    ]
    inputs, outputs = (
        [helper.make_tensor_value_info(end.name, number(end.kind), end.shape) for end in ends]
        for ends in (graph.inputs, graph.outputs)
    )
    stubs = list[TensorProto]()
    for weight in graph.weights:
        stub = TensorProto(name=weight.name, dims=map(int, weight.shape), data_type=number(weight.kind))
        stub.data_location = TensorProto.EXTERNAL
        stub.external_data.add(key="location", value="memory")
        stubs.append(stub)
    return helper.make_graph(nodes, "fabula", inputs, outputs, stubs)
