"""The output layers as nodes of a graph: hidden states -> log-probabilities of every unit; knows no layer below.

Legend: N rows, E embedding width, H hidden units, V vocabulary, S units of the shortlist, C clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fabula import clusters
from fabula.engine.graph import Graph


def _project(graph: Graph, rows: str, *, bounded: bool) -> str:
    """Hidden states at the width of the word vectors: (N, H) -> (N, E)."""
    if "head.projection.weight" not in graph.weights:
        return rows
    graph.product(rows, "head.projection.weight", "projected", bounded=bounded)
    return "projected"


def _add_full(graph: Graph, rows: str, vocabulary: int, bounded: bool) -> None:  # noqa: ARG001
    """Weights of its own."""
    graph.product(rows, "head.weight", "logits", "head.bias", bounded=bounded)
    graph.add("LogSoftmax", ["logits"], ["log_probabilities"], axis=1)


def _add_tied(graph: Graph, rows: str, vocabulary: int, bounded: bool) -> None:  # noqa: ARG001
    """The word vectors once more."""
    own = graph.weights
    if graph.int8 or "head.projection.weight" not in own:
        wide = _project(graph, rows, bounded=bounded)
        graph.product(wide, "embedding.weight", "logits", "head.bias", bounded=bounded and wide == rows)
    else:  # the biases as a last number of each vector, times one: to add them afterwards takes many stories longer
        narrow, biases = own["head.projection.weight"], own["head.bias"][:, None]
        own["head.narrow"] = np.concatenate([narrow, np.zeros_like(narrow[:1])])  # (E+1, H)
        own["head.one"] = np.eye(1, len(narrow) + 1, len(narrow), dtype=np.float32)[0]  # (E+1,)
        own["head.wide"] = np.concatenate([own["embedding.weight"], biases], axis=1)  # (V, E+1)
        graph.product(rows, "head.narrow", "projected", "head.one")
        graph.product("projected", "head.wide", "logits")
    graph.add("LogSoftmax", ["logits"], ["log_probabilities"], axis=1)


def _add_adaptive(graph: Graph, rows: str, vocabulary: int, bounded: bool) -> None:
    """log p(unit) = log p(tail) + log p(unit | tail), by rank, and then each at the place of its id."""
    own, count = graph.weights, clusters.shortlist(vocabulary)
    ids = np.argsort(own["head.places"])[:count]
    own["head.first"] = np.concatenate([own["embedding.weight"][ids], own.pop("head.clusters")])  # (S+C, E)
    tails = range(len(own["head.first"]) - count)
    wide = _project(graph, rows, bounded=bounded)
    graph.product(wide, "head.first", "head.logits", "head.bias", bounded=bounded and wide == rows)
    graph.add("LogSoftmax", ["head.logits"], ["head.all"], axis=1)
    graph.add("Constant", [], ["head.sizes"], value_ints=[count, *(1 for _ in tails)])
    columns = [f"head.column.{tail}" for tail in tails]  # (N, 1) each
    graph.add("Split", ["head.all", "head.sizes"], ["head.shortlist", *columns], axis=1)
    for tail, column in zip(tails, columns, strict=True):
        name = f"head.tails.{tail}"
        graph.product(rows, f"{name}.projection", f"{name}.rows", bounded=bounded)
        graph.product(f"{name}.rows", f"{name}.weight", f"{name}.logits", f"{name}.bias")
        graph.add("LogSoftmax", [f"{name}.logits"], [f"{name}.inside"], axis=1)
        graph.add("Add", [f"{name}.inside", column], [f"{name}.found"])
    graph.add("Concat", ["head.shortlist", *(f"head.tails.{tail}.found" for tail in tails)], ["head.ranked"], axis=1)
    graph.add("Gather", ["head.ranked", "head.places"], ["log_probabilities"], axis=1)


HEADS: Mapping[str, Callable[[Graph, str, int, bool], None]] = {
    "full": _add_full, "tied": _add_tied, "sampled": _add_tied, "adaptive": _add_adaptive,
}  # fmt: skip
"""Each adds to a graph: hidden states (N, H), between -1 and 1 if `bounded` -> log-probabilities (N, V)."""
