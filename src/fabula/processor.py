"""The processor: which one, set up for learning, and how fast it learns; knows no text and no folder."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabula import machine, processes
from fabula.cells import LSTM
from fabula.errors import UsageError
from fabula.machine import cores
from fabula.precision import autocast, no_denormals

SAMPLE = (32, 256, 512)
"""Moments, width of the vectors and hidden units of the layer that `units_per_second` times."""

ROUNDS = 4
"""Steps that it takes, the first of which is not counted."""


@contextmanager
def ready(threads: int | None) -> Generator[None]:
    """The processor set up for learning, with so many threads or one a core; afterwards as it was found."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or cores())
    try:
        with no_denormals():
            yield
    finally:
        torch.set_num_threads(before)


def device(asked: str) -> torch.device:
    """Where to learn, of several processes on a machine each on its own GPU; errors: UsageError for one not there.

    Other accelerators than those of CUDA and ROCm, which torch calls by one name, are taken only when named: nothing of
    ours was measured on them.
    """
    there = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if asked not in {"auto", "cpu"} and (there is None or there.type != asked):
        raise UsageError(f"torch finds no such GPU here (training.device={asked}): leave it out to learn on the CPU")
    if there is None or asked == "cpu" or (asked == "auto" and there.type != "cuda"):
        return torch.device("cpu")
    place = torch.device(there.type, processes.rank_here() % torch.accelerator.device_count())
    torch.accelerator.set_device_index(place.index)
    return place


def moved(units: NDArray[np.int64], place: torch.device) -> Tensor:
    """Units where it learns; a GPU fetches them by itself, from memory that stays in its place."""
    held = torch.from_numpy(units)
    return held.pin_memory().to(place, non_blocking=True) if place.type == "cuda" else held.to(place)


def free_memory(place: torch.device) -> int | None:
    """Bytes that may still be taken where it learns; None where the system does not say."""
    return torch.cuda.mem_get_info()[0] if place.type == "cuda" else machine.free_memory()


def units_per_second(precision: str, place: torch.device, lanes: int) -> float:
    """How many units a second one LSTM layer learns from in so many lanes, forward and backward.

    Takes a fraction of a second. The quickest of a few steps counts, for what disturbs it only ever makes it slower.
    """
    moments, width, hidden = SAMPLE
    layer = LSTM(width, hidden, torch.Generator().manual_seed(0)).to(place)
    x, state = torch.zeros(lanes, moments, width, device=place, requires_grad=True), layer.initial_state(lanes)
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        with autocast(precision, place.type):
            output, _ = layer(x, state)
        torch.autograd.grad(output.float().sum(), list(layer.parameters()))[0].sum().item()  # waits for a GPU
        taken.append(time.perf_counter() - begun)
    return lanes * moments / min(taken[1:])
