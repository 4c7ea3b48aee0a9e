"""A network that recalls what it has just read while it is measured: the neural cache; knows no text and no torch.

Source: Grave, Joulin and Usunier 2017, arXiv:1612.04426.

Legend: B rows, T time, K judged moments, H hidden units, N predictions, M remembered moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fabula.config import Section, setting
from fabula.evaluation import Costs, Ids, Integers, segments

Floats = NDArray[np.float32]
S = TypeVar("S")

BLOCK = 256
"""Moments that look things up together."""


class Thinker(Protocol[S]):
    """A network whose last layer can be looked at."""

    def initial_state(self, batch: int) -> S:
        """The state before the first unit."""
        ...

    def read(self, ids: Integers, state: S) -> S:
        """Take in units (B, T)."""
        ...

    def hidden(self, ids: Integers, state: S) -> tuple[Floats, S]:
        """Take in units (B, T); what the last layer says after each, (B, T, H)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Cache(Section):
    """How the network looks for moments like the present one among the latest, and foretells what came after them."""

    name: ClassVar[str] = "cache"
    size: int = setting(2000, "latest moments that are remembered", low=1, high=100_000)
    theta: float = setting(2.0, "how much alike moments must be; 0 recalls them all the same", low=0.0, high=100.0)
    share: float = setting(0.1, "share of the cache in each probability (lambda)", low=0.0, high=0.99)


@dataclass(frozen=True, kw_only=True)
class Dynamic(Section):
    """How the network goes on learning from what it has been judged by (see `dynamic`)."""

    name: ClassVar[str] = "dynamic"
    rate: float = setting(0.0003, "learning rate; 0 learns nothing", low=0.0, high=10.0)
    decay: float = setting(0.003, "share of what was learned here that each update forgets", low=0.0, high=1.0)
    length: int = setting(32, "units judged before each update", low=1, high=65_536)


def recall(
    network: Thinker[S], streams: Sequence[Ids], end: int, costs: Costs, cache: Cache, *, window: int = 0
) -> NDArray[np.float64]:
    """Nats of each prediction (N,) of some stories with the cache, from those of the network alone.

    The stories are one stream, and what the cache holds lies before the prediction. The first prediction has nothing to
    recall and costs what it did.
    """
    found, done = np.array(costs, np.float64), 0
    state = network.initial_state(1)
    keys, nexts = None, np.empty(0, np.int64)  # (M, H), (M,): moments and the units that came after them
    for ids, targets in segments(streams, end, length=BLOCK, window=window):
        if window:
            state = network.initial_state(len(ids))
        judged = targets.shape[1]
        state = network.read(ids[:, :-judged], state)
        moments, state = network.hidden(ids[:, -judged:], state)  # (B, K, H)
        moments, wanted = moments.reshape(-1, moments.shape[2]), targets.reshape(-1)  # (T, H), (T,)
        keys = moments if keys is None else np.concatenate([keys, moments])  # (M + T, H)
        nexts = np.concatenate([nexts, wanted])
        chances = _recalled(moments, keys, nexts, cache)
        first = 0 if done else 1
        own = slice(done + first, done + len(wanted))
        found[own] = -np.log((1 - cache.share) * np.exp(-found[own]) + cache.share * chances[first:])
        done += len(wanted)
        keys, nexts = keys[-cache.size :], nexts[-cache.size :]
    return found


def _recalled(moments: Floats, keys: Floats, nexts: Integers, cache: Cache) -> NDArray[np.float64]:
    """Chance of what came after each moment (T, H), the last T of the keys (M + T, H), by the keys before it: (T,).

    A key weighs exp(theta h h'), and its weight goes to the unit that came after it.
    """
    count = len(moments)
    places = np.arange(len(keys))
    here = places[-count:, None]  # (T, 1)
    known = (places < here) & (places >= here - cache.size)  # (T, M + T)
    scores = np.where(known, cache.theta * (moments @ keys.T), -np.inf)  # (T, M + T)
    highest = scores.max(axis=1, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(highest), highest, 0))
    right = (weights * (nexts == nexts[-count:, None])).sum(axis=1, dtype=np.float64)
    return right / np.maximum(weights.sum(axis=1, dtype=np.float64), np.finfo(np.float32).tiny)
