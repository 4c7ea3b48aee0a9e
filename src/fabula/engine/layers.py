"""The recurrent layers as nodes of a graph; knows no weights but its own, no output layer and no session.

Legend: B batch, T time, I inputs of a layer, H hidden units, G gates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from fabula.engine.described import Array, Described
from fabula.engine.graph import Graph, Weights


@dataclass(frozen=True)
class Kind:
    """What a kind of recurrent layer is made of."""

    gates: int
    slots: str
    """One letter for each array of its state."""
    add: Callable[[Graph, int, str, Weights], str]
    """Adds layer N to a graph: the name of its inputs (T, B, I), memories `N.h` (1, B, H) -> the name of its outputs
    (T, B, H), memories `N.h.new`. A graph of single moments has no T and no 1."""
    loops: bool
    """Its exact form is a loop over time, and not one node of ONNX."""


def _add_lstm(graph: Graph, layer: int, x: str, weights: Weights) -> str:
    """ONNX's own LSTM, which wants its gates in the order i, o, f, g; in whole numbers it would mix stories."""
    if graph.int8:
        own = dict(weights)
        own["bias_ih"] = own["bias_ih"] + own.pop("bias_hh")
        return _add_loop(graph, layer, x, own, slots="hc", step=_lstm_step)
    parts, hidden = _turned(weights, (0, 3, 1, 2)), weights["weight_hh"].shape[1]
    w, r, b, h, c = (f"{layer}.{name}" for name in ("w", "r", "b", "h", "c"))
    graph.weights[w], graph.weights[r] = parts["weight_ih"][None], parts["weight_hh"][None]  # (1, 4H, I), (1, 4H, H)
    graph.weights[b] = np.concatenate([parts["bias_ih"], parts["bias_hh"]])[None]  # (1, 8H)
    outputs = [f"{layer}.y", f"{h}.new", f"{c}.new"]
    graph.add("LSTM", [x, w, r, b, "", h, c], outputs, hidden_size=hidden)
    graph.add("Squeeze", [f"{layer}.y", "second"], [f"{layer}.said"])  # (T, 1, B, H) -> (T, B, H)
    return f"{layer}.said"


def _add_gru(graph: Graph, layer: int, x: str, weights: Weights) -> str:
    """The equations in a loop: ONNX's own GRU is as fast on an idle machine, and far slower beside a busy one."""
    return _add_loop(graph, layer, x, weights, slots="h", step=_gru_step)


KINDS: Mapping[str, Kind] = {
    "lstm": Kind(4, "hc", _add_lstm, loops=False), "gru": Kind(3, "h", _add_gru, loops=True),
}  # fmt: skip


def _turned(weights: Weights, order: tuple[int, ...]) -> Weights:
    """The weights with their gates in another order."""
    gates = len(order)
    return {
        name: np.ascontiguousarray(np.concatenate([np.split(array, gates)[gate] for gate in order]))
        for name, array in weights.items()
    }


def _add_loop(
    graph: Graph, layer: int, x: str, weights: Weights, /, *, slots: str, step: Callable[[Graph, str], None]
) -> str:
    """A layer as a loop over time, or for a single moment as it stands: a `step` takes `N/from_x` (B, GH) and old
    memories `N/h` (B, H), and makes new ones; its names begin with `N.` where there is no loop.
    """
    own = {part: f"{layer}.{part}" for part in weights}
    graph.weights |= {own[part]: np.ascontiguousarray(array) for part, array in weights.items()}
    rows, hidden = weights["weight_hh"].shape
    sums = f"{layer}.from_x"  # (T, B, GH)
    graph.product(x, own["weight_ih"], sums, own["bias_ih"], bounded=layer > 0, deep=True)
    if graph.single:
        step(graph, f"{layer}.")
        return f"{layer}.h.new"
    body, said = graph.inside(), f"{layer}.said"
    step(body, f"{layer}/")
    before, after = [f"{layer}/{slot}" for slot in slots], [f"{layer}/{slot}.new" for slot in slots]
    body.add("Identity", [after[0]], [f"{layer}/moment"])
    widths = dict.fromkeys(before, hidden) | {f"{layer}/from_x": rows} | dict.fromkeys(after, hidden)
    widths[f"{layer}/moment"] = hidden
    ends = tuple(Array(name, "float32", ("B", width)) for name, width in widths.items())
    inner = Described(tuple(body.nodes), ends[: len(slots) + 1], ends[len(slots) + 1 :])
    firsts, lasts = ([f"{layer}.{slot}.{end}" for slot in slots] for end in ("first", "last"))
    for slot, name in zip(slots, firsts, strict=True):
        graph.add("Squeeze", [f"{layer}.{slot}", "first"], [name])  # (1, B, H) -> (B, H)
    graph.add("Scan", [*firsts, sums], [*lasts, said], num_scan_inputs=1, body=inner)
    for slot, name in zip(slots, lasts, strict=True):
        graph.add("Unsqueeze", [name, "first"], [f"{layer}.{slot}.new"])  # (B, H) -> (1, B, H)
    return said


def _lstm_step(step: Graph, at: str) -> None:
    """i, f, o = sigmoid(..), g = tanh(W x + b + U h), c' = f c + i g, h' = o tanh(c')."""
    weights = at.replace("/", ".")
    step.product(f"{at}h", f"{weights}weight_hh", f"{at}sums", f"{at}from_x", bounded=True)  # (B, 4H)
    step.add("Split", [f"{at}sums"], [f"{at}sum_{gate}" for gate in "ifgo"], axis=1)  # (B, 4H) -> (B, H) each
    for gate in "ifo":
        step.add("Sigmoid", [f"{at}sum_{gate}"], [f"{at}{gate}"])
    step.add("Tanh", [f"{at}sum_g"], [f"{at}g"])
    step.add("Mul", [f"{at}f", f"{at}c"], [f"{at}kept"])
    step.add("Mul", [f"{at}i", f"{at}g"], [f"{at}taken"])
    step.add("Add", [f"{at}kept", f"{at}taken"], [f"{at}c.new"])
    step.add("Tanh", [f"{at}c.new"], [f"{at}shown"])
    step.add("Mul", [f"{at}o", f"{at}shown"], [f"{at}h.new"])


def _gru_step(step: Graph, at: str) -> None:
    """r, z = sigmoid(..), n = tanh(W x + b + r (U h + c)), h' = n + z (h - n)."""
    weights = at.replace("/", ".")
    step.product(f"{at}h", f"{weights}weight_hh", f"{at}from_h", f"{weights}bias_hh", bounded=True)  # (B, 3H)
    for side in "xh":
        step.add("Split", [f"{at}from_{side}"], [f"{at}{side}_{gate}" for gate in "rzn"], axis=1)  # (B, H) each
    for gate in "rz":
        step.add("Add", [f"{at}x_{gate}", f"{at}h_{gate}"], [f"{at}sum_{gate}"])
        step.add("Sigmoid", [f"{at}sum_{gate}"], [f"{at}{gate}"])
    step.add("Mul", [f"{at}r", f"{at}h_n"], [f"{at}kept"])
    step.add("Add", [f"{at}x_n", f"{at}kept"], [f"{at}sum_n"])
    step.add("Tanh", [f"{at}sum_n"], [f"{at}n"])
    step.add("Sub", [f"{at}h", f"{at}n"], [f"{at}apart"])
    step.add("Mul", [f"{at}z", f"{at}apart"], [f"{at}back"])
    step.add("Add", [f"{at}n", f"{at}back"], [f"{at}h.new"])
