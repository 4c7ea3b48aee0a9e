"""What goes on in a network while it reads: gates and memories of every unit, and which units it takes for neighbours.

The equations are written out here in NumPy, for the engine tells only what comes out. Knows no HTTP.

Legend: T time, I inputs of a layer, H hidden units, V vocabulary, E embedding width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from fabula.config import ModelConfig
from fabula.engine import Floats, Integers
from fabula.hashing import APART, MULTIPLIERS, lengths

KINDS: Mapping[str, tuple[str, ...]] = {
    "lstm": ("cell", "input", "forget", "output", "candidate", "hidden"),
    "gru": ("hidden", "reset", "update", "new"),
}
"""What can be seen of each kind of layer."""


def look(config: ModelConfig, weights: Mapping[str, Floats], ids: Integers) -> Iterator[dict[str, Floats]]:
    """Of each layer, lowest first, what its units do while ids (T,) are read from a fresh start: (T, H) by its name.

    Sources: Hochreiter and Schmidhuber 1997; Gers et al. 2000; Cho et al. 2014, in torch's order of gates.
    """
    x = _vectors(config, weights, ids)  # (T, E)
    for layer in range(config.layers or 0):
        own = {part: weights[f"cells.{layer}.{part}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        seen = _LAYERS[config.cell](x, own)
        yield seen
        x = seen["hidden"]


def _vectors(config: ModelConfig, weights: Mapping[str, Floats], ids: Integers) -> Floats:
    """What the lowest layer reads: (T, E)."""
    x = weights["embedding.weight"][ids]
    if config.buckets:
        longest, end = config.ngrams or 2, len(weights["embedding.weight"]) - 1
        units = np.concatenate([np.full(longest - 1, end), ids])
        for length in lengths(longest):
            keys = np.full(len(ids), APART * (length - 2), np.int64)
            for back in range(length):
                keys += MULTIPLIERS[back] * units[longest - 1 - back : len(units) - back]
            x = x + weights["ngrams.weight"][keys % config.buckets]
    return x


def _lstm(x: Floats, own: Mapping[str, Floats]) -> dict[str, Floats]:
    hidden = own["weight_hh"].shape[1]
    names = ("input", "forget", "candidate", "output", "cell", "hidden")
    seen = {name: np.empty((len(x), hidden), np.float32) for name in names}
    h = c = np.zeros(hidden, np.float32)
    sums = x @ own["weight_ih"].T + own["bias_ih"] + own["bias_hh"]  # (T, 4H)
    for moment, row in enumerate(sums):
        i, f, g, o = np.split(row + own["weight_hh"] @ h, 4)
        i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
        c = f * c + i * g
        h = o * np.tanh(c)
        for name, value in zip(names, (i, f, g, o, c, h), strict=True):
            seen[name][moment] = value
    return seen


def _gru(x: Floats, own: Mapping[str, Floats]) -> dict[str, Floats]:
    hidden = own["weight_hh"].shape[1]
    names = ("reset", "update", "new", "hidden")
    seen = {name: np.empty((len(x), hidden), np.float32) for name in names}
    h = np.zeros(hidden, np.float32)
    sums = x @ own["weight_ih"].T + own["bias_ih"]  # (T, 3H)
    for moment, row in enumerate(sums):
        (xr, xz, xn), (hr, hz, hn) = np.split(row, 3), np.split(own["weight_hh"] @ h + own["bias_hh"], 3)
        r, z = _sigmoid(xr + hr), _sigmoid(xz + hz)
        n = np.tanh(xn + r * hn)
        h = (1 - z) * n + z * h
        for name, value in zip(names, (r, z, n, h), strict=True):
            seen[name][moment] = value
    return seen


_LAYERS = {"lstm": _lstm, "gru": _gru}


def _sigmoid(x: Floats) -> Floats:
    return np.float32(0.5) * (np.float32(1) + np.tanh(np.float32(0.5) * x))


def order(values: Floats) -> NDArray[np.intp]:
    """Units of values (T, H) so that those which behave alike lie side by side, by angle in the plane of most spread.

    Source: Friendly 2002, The American Statistician 56(4), who orders variables so.
    """
    centred = values - values.mean(axis=0)
    spread = np.maximum(np.linalg.norm(centred, axis=0), 1e-9)
    _, strength, places = np.linalg.svd(centred / spread, full_matrices=False)  # (k, H)
    if len(places) < 2 or strength[1] <= 1e-6:
        return np.argsort(values[-1], kind="stable")
    return np.argsort(np.arctan2(places[1], places[0]), kind="stable")


def near(embedding: Floats, units: Integers, count: int) -> list[tuple[int, float]]:
    """The units whose vectors (V, E) point most nearly where a word's do, and the cosine of the angle.

    A word of several units has the mean of their vectors. The last unit is the end mark, and nobody's neighbour.
    """
    sought = embedding[units].mean(axis=0)
    size = np.maximum(np.linalg.norm(embedding, axis=1), 1e-9)
    likeness = embedding @ sought / (size * max(float(np.linalg.norm(sought)), 1e-9))  # (V,)
    found = np.argsort(-likeness, kind="stable")[: count + len(units) + 1].tolist()
    own = {*units.tolist(), len(embedding) - 1}
    return [(other, float(likeness[other])) for other in found if other not in own][:count]
