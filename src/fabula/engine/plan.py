"""The whole network as an ONNX graph: units -> vectors -> layers -> log-probabilities; knows no session and no state.

Legend: B batch, T time, K judged moments, N rows, E embedding width, H hidden units, G gates, V vocabulary.
Rows never mix in the graph, so a story's numbers are the same bits alone and beside others, step by step and at once.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from fabula.config import ModelConfig
from fabula.engine.graph import Graph, Weights
from fabula.engine.layers import KINDS
from fabula.engine.output import HEADS
from fabula.hashing import APART, MULTIPLIERS, lengths


def build(
    config: ModelConfig,
    vocabulary: int,
    weights: Weights,
    *,
    int8: bool = False,
    single: bool = False,
    ready: Weights = MappingProxyType({}),
) -> Graph:
    """ids (T, B), `from` (1,), memories (1, B, H) -> log-probabilities (N, V) of the moments after `from`, memories.

    `top(config)`, the hidden states of the last layer at all moments (T, B, H), is there for those who ask. `int8`
    makes all products in whole numbers, `single` says that T is always 1, `ready` are the weights of another graph of
    the same network, made ready already. A graph of single moments leaves out T and the 1 and `from`, and has no `top`.
    """
    from onnx import TensorProto, helper  # noqa: PLC0415

    graph, hidden, kind = Graph(int8=int8, single=single), config.hidden or 0, KINDS[config.cell]
    memories = {f"{layer}.{slot}": hidden for layer in range(config.layers or 0) for slot in kind.slots}
    if config.buckets:
        memories["before"] = (config.ngrams or 2) - 1
    lead = () if single else (1,)
    graph.inputs += [
        helper.make_tensor_value_info("ids", TensorProto.INT64, ("B",) if single else ("T", "B")),
        *(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, (*lead, "B", width))
            for name, width in memories.items()
        ),
    ]
    graph.outputs += [
        helper.make_tensor_value_info("log_probabilities", TensorProto.FLOAT, ("N", vocabulary)),
        *(
            helper.make_tensor_value_info(f"{name}.new", TensorProto.FLOAT, (*lead, "B", width))
            for name, width in memories.items()
        ),
    ]
    if not single:
        graph.inputs.append(helper.make_tensor_value_info("from", TensorProto.INT64, (1,)))
        graph.outputs.append(helper.make_tensor_value_info(top(config), TensorProto.FLOAT, ("T", "B", hidden)))
    graph.weights = dict(ready) | {
        name: np.ascontiguousarray(array) for name, array in weights.items() if not name.startswith("cells.")
    }
    for name, numbers in (("first", [0]), ("second", [1]), ("last", [2**62]), ("flat", [-1, config.judged])):
        graph.add("Constant", [], [name], value_ints=numbers)
    rows = "units"  # (T, B, E)
    graph.gather("embedding.weight", "ids", rows, whole=not config.buckets)
    if config.buckets:
        _add_ngrams(graph, config.ngrams or 2, config.buckets)
        graph.add("Add", [rows, "ngrams"], ["vectors"])
        rows = "vectors"
    for layer in range(config.layers or 0):
        own = {part: weights[f"cells.{layer}.{part}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        rows = kind.add(graph, layer, rows, own)  # (T, B, I) -> (T, B, H)
    if config.buckets:
        graph.add("Concat", [rows, "ngrams"], ["heard"], axis=-1)
        rows = "heard"
    if not single:
        graph.add("Slice", [rows, "from", "last", "first"], ["judged"])  # (K, B, H)
        graph.add("Reshape", ["judged", "flat"], ["rows"])  # (K, B, H) -> (N, H)
        rows = "rows"
    HEADS[config.head](graph, rows, vocabulary, not config.buckets)  # (N, H) -> (N, V)
    return graph


def top(config: ModelConfig) -> str:
    """What a graph calls the hidden states of the last layer at all moments (T, B, H)."""
    return f"{(config.layers or 1) - 1}.said"


def _add_ngrams(graph: Graph, longest: int, buckets: int) -> None:
    """The vectors of the last 2, 3, ... units: ids (T, B), before (1, B, N-1) -> ngrams (T, B, E), before.new."""
    from onnx import TensorProto  # noqa: PLC0415

    def number(name: str, value: int) -> str:
        graph.add("Constant", [], [name], value_ints=[value])  # (1,)
        return name

    ids, before = "ids", "before"
    if graph.single:
        ids = "ids.row"
        graph.add("Unsqueeze", ["ids", "first"], [ids])  # (B,) -> (1, B)
    else:
        before = "before.rows"
        graph.add("Squeeze", ["before", "first"], [before])  # (B, N-1)
    graph.add("Transpose", [before], ["before.columns"], perm=[1, 0])
    graph.add("Cast", ["before.columns"], ["before.ids"], to=TensorProto.INT64)
    graph.add("Concat", ["before.ids", ids], ["ngrams.units"], axis=0)  # (N-1+T, B)
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
    graph.add("Sum", found, ["ngrams.rows" if graph.single else "ngrams"])
    if graph.single:
        graph.add("Squeeze", ["ngrams.rows", "first"], ["ngrams"])  # (1, B, E) -> (B, E)
    graph.add("Slice", ["ngrams.units", number("before.from", 1 - longest), "last", "first"], ["before.kept"])
    graph.add("Transpose", ["before.kept"], ["before.turned"], perm=[1, 0])  # (N-1, B) -> (B, N-1)
    graph.add("Cast", ["before.turned"], ["before.new" if graph.single else "before.floats"], to=TensorProto.FLOAT)
    if not graph.single:
        graph.add("Unsqueeze", ["before.floats", "first"], ["before.new"])  # (1, B, N-1)
