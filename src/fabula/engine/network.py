"""The network at work: steps, readings and judgements, state in and out; knows no graph from inside.

Legend: B batch, T time, K judged moments, N rows, E embedding width, H hidden units, G gates, V vocabulary.
Rows never mix in the graph, so a story's numbers are the same bits alone and beside others, step by step and at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from fabula import machine
from fabula.config import ModelConfig
from fabula.engine.desk import Desk
from fabula.engine.graph import Floats, Graph, Weights
from fabula.engine.layers import KINDS
from fabula.engine.plan import build, top
from fabula.engine.weights import check_values, check_weights

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Integers = NDArray[np.integer[Any]]
State = tuple[Floats, ...]
"""What the network remembers, lowest layer first, each (B, H): lstm (h0, c0, h1, c1, ...), gru (h0, h1, ...).

With n-grams of N units a last array (B, N-1) holds the units before, as floats.
"""

LOOKS = 2
"""How often an engine looks whether the machine is quiet: it has milliseconds to begin in."""

_NUMBERS = 1 << 23
"""Intermediate numbers computed at once (32 MB), whatever the vocabulary and the length of the text."""


class Engine:
    """A network that runs on onnxruntime, on the CPU; made in milliseconds, and of any size.

    `weights` are arrays by torch's names, shapes and gate orders; they are kept, not changed. `int8` computes in whole
    numbers: several times faster where the network is large, a little less exact, and as independent of neighbours.
    Errors: FolderError for weights that do not fit the settings or are not finite.
    """

    def __init__(
        self, config: ModelConfig, vocabulary: int, weights: Weights, *, threads: int | None = None, int8: bool = False
    ) -> None:
        check_weights(config, vocabulary, {name: (str(array.dtype), array.shape) for name, array in weights.items()})
        check_values(weights)
        kind = KINDS[config.cell]
        self._hidden, self._vocabulary = config.hidden or 0, vocabulary
        self._gates = self._hidden * kind.gates
        self._memories = [f"{layer}.{slot}" for layer in range(config.layers or 0) for slot in kind.slots]
        self._before = (config.ngrams or 2) - 1 if config.buckets else 0
        self._memories += ["before"] if self._before else []
        self._news = [f"{name}.new" for name in self._memories]
        # A single moment may have a graph of its own: a loop around it would take longer than many a layer.
        self._parted = int8 or kind.loops
        self._config, self._weights, self._int8, self._threads = config, weights, int8, threads
        self._sessions: dict[str, InferenceSession] = {}
        self._made: dict[tuple[str, int, bool], InferenceSession] = {}
        self._lock = threading.Lock()
        self._graphs: dict[str, Graph] = {}  # kept, for the sessions read the weights where they lie
        self._open("alone" if self._parted else "all")

    @property
    def weights(self) -> Weights:
        """The arrays it was made of."""
        return self._weights

    def _open(self, part: str) -> InferenceSession:
        """The session for `all` moments, for one `moment` of several stories, or for one of a story `alone`."""
        if part not in self._sessions:
            alone = part == "alone"
            form = "moment" if alone and not self._int8 else part  # floats have no size
            if form not in self._graphs:
                self._graphs[form] = build(
                    self._config, self._vocabulary, self._weights, int8=self._int8, single=form != "all",
                    alone=form == "alone", ready=next((graph.weights for graph in self._graphs.values()), {}),
                )  # fmt: skip
            graph = self._graphs[form]
            threads = self._threads or graph.threads(alone=alone)
            # What reads many stories has long steps, between which there is more to do than waiting is worth.
            patient = threads > 1 and (alone or not self._parted) and machine.is_quiet(LOOKS)
            if (form, threads, patient) not in self._made:
                self._made[form, threads, patient] = graph.session(threads, patient=patient)
            self._sessions[part] = self._made[form, threads, patient]
        return self._sessions[part]

    def alone(self, state: State) -> Desk:
        """A desk of its own for a story that goes on from a state, each array (1, N): the quickest way to tell one."""
        part, lead = ("alone", ()) if self._parted else ("all", (1,))  # what reads all moments has a time
        shapes = {name: (*lead, 1, array.shape[1]) for name, array in zip(self._memories, state, strict=True)}
        fixed = {} if self._parted else {"from": np.zeros(1, np.int64)}
        desk = Desk(self._open(part), (*lead, 1), shapes, self._vocabulary, fixed)
        desk.put(state)
        return desk

    @cached_property
    def _desk(self) -> Desk:
        """One for single steps, whoever's they are."""
        return self.alone(self.initial_state(1))

    def initial_state(self, batch: int) -> State:
        """The state before the first unit: zeros, and an end mark for each unit that an n-gram looks back to."""
        zeros = (np.zeros((batch, self._hidden), np.float32) for name in self._memories if name != "before")
        before = np.full((batch, self._before), self._vocabulary - 1, np.float32)
        return (*zeros, before) if self._before else tuple(zeros)

    def read(self, ids: Integers, state: State) -> State:
        """Take in some units without a word on what comes next: ids (B, T) -> the new state."""
        for span in _spans(ids, self._gates):
            _, state = self._run(ids[:, span], state, 0)
        return state

    def hidden(self, ids: Integers, state: State) -> tuple[Floats, State]:
        """Take in some units: ids (B, T) -> what the last layer says after each (B, T, H), and the new state."""
        parts = [np.empty((0, len(ids), self._hidden), np.float32)]
        for span in _spans(ids, self._gates):
            said, state = self._run(ids[:, span], state, 0, top(self._config))  # (T, B, H)
            parts.append(said)
        return np.concatenate(parts).swapaxes(0, 1), state

    def step(self, ids: Integers, state: State) -> tuple[Floats, State]:
        """Take in one unit each and say what comes next: ids (B,) -> log-probabilities (B, V) and the new state."""
        if len(ids) == 1:
            with self._lock:
                self._desk.put(state)
                return self._desk.go_on(ids[0]).copy(), self._desk.state
        if not self._parted:
            return self._run(ids[:, None], state, 1)
        feed = dict(zip(("ids", *self._memories), (np.asarray(ids, np.int64), *state), strict=True))
        found, *news = cast("list[Floats]", self._open("moment").run(["log_probabilities", *self._news], feed))
        return found, tuple(news)

    def score(self, ids: Integers, targets: Integers, state: State) -> tuple[Floats, NDArray[np.bool_], State]:
        """Judge the last K moments: ids (B, T), targets (B, K) -> nats (B, K), hits (B, K), state.

        A hit is a target that was the likeliest unit.
        """
        lead = ids.shape[1] - targets.shape[1]
        state, judged = self.read(ids[:, :lead], state), ids[:, lead:]
        nats, hits = np.empty(targets.shape, np.float32), np.empty(targets.shape, np.bool_)
        for span in _spans(judged, max(self._vocabulary, self._gates)):
            part = judged[:, span]
            found, state = self._run(part, state, part.shape[1])  # (T*B, V)
            wanted = targets[:, span].T.reshape(-1)  # (T*B,)
            shape = part.shape[::-1]  # (T, B)
            nats[:, span] = -found[np.arange(len(wanted)), wanted].reshape(shape).T
            hits[:, span] = (found.argmax(axis=1) == wanted).reshape(shape).T
        return nats, hits, state

    def _run(self, ids: Integers, state: State, judged: int, wanted: str = "log_probabilities") -> tuple[Floats, State]:
        """ids (B, T) -> log-probabilities (K*B, V) of the last `judged` moments, time-first, and the new state."""
        first = np.array([ids.shape[1] - judged], np.int64)
        feed: dict[str, NDArray[Any]] = {"ids": np.ascontiguousarray(ids.T, np.int64), "from": first}
        feed |= {name: array[None] for name, array in zip(self._memories, state, strict=True)}  # (B, H) -> (1, B, H)
        found, *news = cast("list[Floats]", self._open("all").run([wanted, *self._news], feed))
        return found, tuple(new[0] for new in news)  # (1, B, H) -> (B, H)


def _spans(ids: Integers, width: int) -> Iterator[slice]:
    """Parts of the time of ids (B, T) so short that `width` numbers for each unit fit in bounded memory."""
    length = max(1, _NUMBERS // (ids.shape[0] * width))
    return (slice(start, start + length) for start in range(0, ids.shape[1], length))
