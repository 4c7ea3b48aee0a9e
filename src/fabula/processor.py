"""The processor: set up for learning, and how fast it learns; knows no text and no folder."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fabula.cells import LSTM
from fabula.machine import cores
from fabula.precision import autocast, no_denormals

SAMPLE = (16, 32, 256, 512)
"""Lanes, moments, width of the vectors and hidden units of the layer that `units_per_second` times."""

ROUNDS = 4
"""Steps that it takes, the first of which is not counted."""


@contextmanager
def ready(threads: int | None) -> Iterator[None]:
    """The processor set up for learning, with so many threads or one a core; afterwards as it was found."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or cores())
    try:
        with no_denormals():
            yield
    finally:
        torch.set_num_threads(before)


def units_per_second(precision: str) -> float:
    """How many units a second one LSTM layer learns from here and now, forward and backward; takes a fraction of one.

    The quickest of a few steps counts, for what disturbs it only ever makes it slower.
    """
    lanes, moments, width, hidden = SAMPLE
    layer = LSTM(width, hidden, torch.Generator().manual_seed(0))
    x, state = torch.zeros(lanes, moments, width, requires_grad=True), layer.initial_state(lanes)
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        with autocast(precision):
            output, _ = layer(x, state)
        torch.autograd.grad(output.float().sum(), list(layer.parameters()))
        taken.append(time.perf_counter() - begun)
    return lanes * moments / min(taken[1:])
