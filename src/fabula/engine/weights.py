"""The weights a network of some settings has: their names, types and shapes; knows no values, but one permutation."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence

import numpy as np

from fabula import clusters
from fabula.config import ModelConfig
from fabula.engine.graph import Weights
from fabula.engine.layers import KINDS
from fabula.errors import FolderError

Found = Mapping[str, tuple[str, Sequence[int]]]
"""Name, type and shape of each weight, as a safetensors header or an array gives them."""

INTEGERS = frozenset({"head.places"})
"""Weights that are no float32 but int64: the rank of each id by falling frequency."""


def expected_shapes(config: ModelConfig, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight of a network whose settings are all chosen; errors: FolderError if one is not.

    >>> config = ModelConfig(layers=1, hidden=4, embedding=3, head="tied", dropout=0.0)
    >>> [name for name, shape in expected_shapes(config, 9).items() if len(shape) == 1]
    ['cells.0.bias_ih', 'cells.0.bias_hh', 'head.bias']
    """
    layers, hidden, embedding = config.layers, config.hidden, config.embedding
    if layers is None or hidden is None or embedding is None or config.head == "auto":
        raise FolderError("the model's layers, hidden, embedding and head must all be given: train the model again")
    rows = hidden * KINDS[config.cell].gates
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (vocabulary, embedding)}
    for layer in range(layers):
        shapes[f"cells.{layer}.weight_ih"] = (rows, hidden if layer else embedding)
        shapes[f"cells.{layer}.weight_hh"] = (rows, hidden)
        shapes[f"cells.{layer}.bias_ih"] = shapes[f"cells.{layer}.bias_hh"] = (rows,)
    if config.buckets:
        shapes["ngrams.weight"] = (config.buckets, embedding)
    judged = config.judged
    if config.head == "full":
        return shapes | {"head.weight": (vocabulary, judged), "head.bias": (vocabulary,)}
    if embedding != judged:
        shapes["head.projection.weight"] = (embedding, judged)
    if config.head in {"tied", "sampled"}:
        return shapes | {"head.bias": (vocabulary,)}
    tails = clusters.tails(vocabulary, judged)
    shapes["head.places"] = (vocabulary,)
    shapes["head.clusters"] = (len(tails), embedding)
    shapes["head.bias"] = (clusters.shortlist(vocabulary) + len(tails),)
    for number, (start, end, width) in enumerate(tails):
        shapes[f"head.tails.{number}.projection"] = (width, judged)
        shapes[f"head.tails.{number}.weight"] = (end - start, width)
        shapes[f"head.tails.{number}.bias"] = (end - start,)
    return shapes


def check_weights(config: ModelConfig, vocabulary: int, found: Found) -> None:
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
        kinds = ("I64", "int64") if name in INTEGERS else ("F32", "float32")
        if dtype not in kinds or tuple(shape) != expected[name]:
            came = reprlib.repr((dtype, *shape))[:80]  # numbers may be long, and many
            raise FolderError(f"weight {name} must be {kinds[0]} {expected[name]}, got {came}: copy the model anew")


def check_values(weights: Weights) -> None:
    """Errors: FolderError for weights that are not finite, and for ranks that are not each of 0 .. V-1 once."""
    for name, array in weights.items():
        if not np.isfinite((array.min(), array.max())).all():  # both carry a NaN on; no array of flags is made
            raise FolderError(f"weight {name} must be finite, but it holds NaN or infinity: train the model again")
        if name in INTEGERS and not np.array_equal(np.sort(array), np.arange(len(array))):
            raise FolderError(f"weight {name} must hold each rank once, but some are missing: copy the model anew")
