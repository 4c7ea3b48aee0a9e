"""What it costs a network to write in whole numbers, measured when it is saved, and whether it should."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fabula.config import ModelConfig
from fabula.engine import Engine, Floats, expected_shapes
from fabula.errors import UsageError

if TYPE_CHECKING:
    from fabula.evaluation import Counts, Ids

PRECISIONS = ("auto", "fp32", "int8")
"""How a network may be asked to write."""

BEARABLE = 0.005
"""Share by which whole numbers may raise the cost of held-out text where nobody asked for them."""

LARGE = 1 << 19
"""Weights of a network that writes faster in whole numbers: a smaller one lies near the processor anyway."""


def is_large(config: ModelConfig, vocabulary: int) -> bool:
    """Whether whole numbers can make a network faster."""
    shapes = expected_shapes(config, vocabulary)
    return sum(math.prod(shape) for name, shape in shapes.items() if name != "ngrams.weight") >= LARGE


def cost(
    config: ModelConfig, vocabulary: int, weights: Mapping[str, Floats], streams: Sequence[Ids], counts: Counts
) -> float | None:
    """By what share whole numbers raise the cost of some streams; None for a network that they do not make faster."""
    if not is_large(config, vocabulary):
        return None
    from fabula.evaluation import measure  # noqa: PLC0415 - who writes measures nothing

    exact, rounded = (
        measure(
            Engine(config, vocabulary, weights, int8=int8), streams, vocabulary - 1, counts, window=config.window
        ).nats
        for int8 in (False, True)
    )
    return rounded / exact - 1


def choose(asked: str, about: Mapping[str, Any]) -> str:
    """fp32 or int8, for a model with such facts; errors: UsageError for a precision that is none.

    >>> choose("auto", {"int8_cost": 0.0002}), choose("auto", {"int8_cost": 0.02}), choose("auto", {})
    ('int8', 'fp32', 'fp32')
    """
    if asked not in PRECISIONS:
        raise UsageError(f"precision must be one of {', '.join(PRECISIONS)}, got {reprlib.repr(asked)}")
    if asked != "auto":
        return asked
    found = about.get("int8_cost")
    return "int8" if isinstance(found, int | float) and found < BEARABLE else "fp32"
