"""The whole network as an ONNX graph: units -> vectors -> layers -> log-probabilities; knows no session and no state.

Legend: B batch, T time, K judged moments, N rows, E embedding width, H hidden units, G gates, V vocabulary.
Rows never mix in the graph, so a story's numbers are the same bits alone and beside others, step by step and at once.
"""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from fabula.config import ModelConfig
from fabula.engine.described import Array
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
    alone: bool = False,
    ready: Weights = MappingProxyType({}),
) -> Graph:
    """ids (T, B), `from` (1,), memories (1, B, H) -> log-probabilities (N, V) of the moments after `from`, memories.

    `top(config)`, the hidden states of the last layer at all moments (T, B, H), is there for those who ask. `int8`
    makes all products in whole numbers, `single` says that T is always 1, `alone` that B is, `ready` are the weights of
    another graph of the same network, made ready already. A graph of single moments leaves out T and the 1 and `from`,
    and has no `top`.
    """
    graph, hidden, kind = Graph(int8=int8, single=single, alone=alone), config.hidden or 0, KINDS[config.cell]
    memories = {f"{layer}.{slot}": hidden for layer in range(config.layers or 0) for slot in kind.slots}
    if config.buckets:
        memories["before"] = (config.ngrams or 2) - 1
    lead = () if single else (1,)
    graph.inputs += [
        Array("ids", "int64", ("B",) if single else ("T", "B")),
        *(Array(name, "float32", (*lead, "B", width)) for name, width in memories.items()),
    ]
    graph.outputs += [
        Array("log_probabilities", "float32", ("N", vocabulary)),
        *(Array(f"{name}.new", "float32", (*lead, "B", width)) for name, width in memories.items()),
    ]
    if not single:
        graph.inputs.append(Array("from", "int64", (1,)))
        graph.outputs.append(Array(top(config), "float32", ("T", "B", hidden)))
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
    factors = np.zeros((longest, longest - 1), np.int64)  # (N, L), the latest unit last, a length for each column
    for column, length in enumerate(lengths(longest)):
        factors[longest - length :, column] = MULTIPLIERS[:length][::-1]
    apart = np.array([APART * (length - 2) for length in lengths(longest)])  # (L,)
    graph.weights |= {"ngrams.factors": factors, "ngrams.apart": apart, "ngrams.buckets": np.array(buckets)}
    if graph.single:
        _add_window(graph)
    else:
        _add_windows(graph, longest)
    graph.add("MatMul", ["ngrams.windows", "ngrams.factors"], ["ngrams.sums"])  # (T, B, L)
    graph.add("Add", ["ngrams.sums", "ngrams.apart"], ["ngrams.keys"])
    graph.add("Mod", ["ngrams.keys", "ngrams.buckets"], ["ngrams.rows"])
    graph.add("Gather", ["ngrams.weight", "ngrams.rows"], ["ngrams.vectors"])  # (T, B, L, E)
    graph.add("Constant", [], ["ngrams.axis"], value_ints=[-2])
    graph.add("ReduceSum", ["ngrams.vectors", "ngrams.axis"], ["ngrams"], keepdims=0)
    graph.add("Cast", ["before.ids.new"], ["before.new"], to="float32")


def _add_window(graph: Graph) -> None:
    """The last units of a single moment: ids (B,), before (B, N-1) -> ngrams.windows (B, N), before.ids.new."""
    graph.add("Cast", ["before"], ["before.ids"], to="int64")
    graph.add("Unsqueeze", ["ids", "second"], ["ids.column"])
    graph.add("Concat", ["before.ids", "ids.column"], ["ngrams.windows"], axis=1)
    graph.add("Slice", ["ngrams.windows", "second", "last", "second"], ["before.ids.new"])  # (B, N-1)


def _add_windows(graph: Graph, longest: int) -> None:
    """The last units of each moment: ids (T, B), before (1, B, N-1) -> ngrams.windows (T, B, N), before.ids.new."""

    def number(name: str, value: int) -> str:
        graph.add("Constant", [], [name], value_ints=[value])  # (1,)
        return name

    graph.add("Transpose", ["before"], ["before.turned"], perm=[2, 1, 0])  # (N-1, B, 1)
    graph.add("Cast", ["before.turned"], ["before.ids"], to="int64")
    number("deepest", -1)
    graph.add("Unsqueeze", ["ids", "deepest"], ["ids.column"])  # (T, B, 1)
    graph.add("Concat", ["before.ids", "ids.column"], ["ngrams.units"], axis=0)  # (N-1+T, B, 1)
    for back in range(longest):  # the unit so many moments before each
        start = number(f"ngrams.start.{back}", longest - 1 - back)
        stop = number(f"ngrams.stop.{back}", -back or 2**62)
        graph.add("Slice", ["ngrams.units", start, stop, "first"], [f"ngrams.unit.{back}"])  # (T, B, 1)
    columns = [f"ngrams.unit.{back}" for back in reversed(range(longest))]
    graph.add("Concat", columns, ["ngrams.windows"], axis=2)
    graph.add("Slice", ["ngrams.units", number("before.from", 1 - longest), "last", "first"], ["before.kept"])
    graph.add("Transpose", ["before.kept"], ["before.ids.new"], perm=[2, 1, 0])  # (1, B, N-1)
