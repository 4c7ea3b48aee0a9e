"""How much memory a training will need, and how much there is: said before anything is allocated. Knows no torch.

Legend: V vocabulary, E embedding width, H hidden units, N predictions in a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from fabula import clusters
from fabula.config import ModelConfig, TrainingConfig
from fabula.engine.weights import INTEGERS, expected_shapes
from fabula.errors import UsageError

SLOTS = {"adamw": 2, "rmsprop": 1, "sgd": 1}
"""Numbers that a rule of the updates remembers of each parameter."""

MEASURING = 1 << 27
"""Bytes that a measurement needs for the scores of one call."""

UNIT = 80
"""Bytes for each unit of the text: its id, its place in the stream of an epoch, its n-grams."""

FLOAT = 4


def parameters(model: ModelConfig, vocabulary: int) -> int:
    """Numbers in a network whose shape is all chosen."""
    shapes = expected_shapes(model, vocabulary)
    return sum(math.prod(shape) for name, shape in shapes.items() if name not in INTEGERS)


def needed(model: ModelConfig, training: TrainingConfig, vocabulary: int, units: int) -> int:
    """Bytes that a training on so many units takes at its peak, in round figures, the libraries not counted."""
    assert training.batch
    assert training.length
    assert model.layers
    assert model.hidden
    assert model.embedding
    # The weights, their gradients, the optimiser's memory, the best weights so far, and their averages.
    copies = 3 + SLOTS[training.optimizer] + bool(training.averaging)
    learned = copies * parameters(model, vocabulary)
    positions = training.batch * (model.window or training.length)
    scored = {"adaptive": clusters.shortlist(vocabulary) * 2, "sampled": clusters.DRAWN}.get(model.head, vocabulary)
    judged = training.batch if model.window else positions
    # A layer keeps its gates, its states and what was silenced; scores exist in both formats and as probabilities.
    passing = positions * (3 * model.embedding + 12 * model.hidden * model.layers) + 4 * judged * scored
    return FLOAT * (learned + passing) + MEASURING + UNIT * units


def check(model: ModelConfig, training: TrainingConfig, vocabulary: int, units: int, free: int | None) -> None:
    """Refuse what cannot fit into so many free bytes, and propose what can. Errors: UsageError."""
    wanted = needed(model, training, vocabulary, units)
    if free is None or wanted <= free:
        return
    fitting = next(
        (said for said, m, t in _smaller(model, training) if needed(m, t, vocabulary, units) <= free), None
    )  # fmt: skip
    proposal = f"{fitting} would fit" if fitting else "take less text, or a machine with more"
    raise UsageError(
        f"this training needs about {_gigabytes(wanted)} of memory, {_gigabytes(free)} are free: {proposal}"
    )


def _smaller(model: ModelConfig, training: TrainingConfig) -> Iterator[tuple[str, ModelConfig, TrainingConfig]]:
    """Settings that need less, the least painful first, each with the flags that ask for it."""
    assert training.batch
    assert model.hidden
    if model.head != "adaptive":
        yield "--set model.head=adaptive", replace(model, head="adaptive"), training
    batch = training.batch
    while batch > 1:
        batch //= 2
        yield f"--set training.batch={batch}", model, replace(training, batch=batch)
    hidden, embedding = model.hidden, model.embedding or model.hidden
    while hidden > 16:
        hidden, embedding = hidden // 2, max(1, embedding // 2)
        flags = f"--set model.hidden={hidden} --set model.embedding={embedding}"
        yield flags, replace(model, hidden=hidden, embedding=embedding), training
        few = replace(training, batch=min(training.batch, 8))
        yield f"{flags} --set training.batch={few.batch}", replace(model, hidden=hidden, embedding=embedding), few


def _gigabytes(size: int) -> str:
    """
    >>> _gigabytes(1_234_567_890)
    '1.2 GB'
    """
    return f"{size / 1e9:,.1f} GB"
