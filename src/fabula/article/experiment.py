"""The article's experiment: walk through a text, learn from each window, report, tell stories. Draws nothing."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from fabula.article.material import TOLD, Material, check
from fabula.errors import UsageError
from fabula.lesson import RULES, Network, Reading, State
from fabula.precision import no_denormals

EVERY = 1000
"""Steps between two reports, and the steps that the last accuracy is the mean of."""

PARALLEL = 256
"""Hidden units from which a second thread helps."""

LIMITS = {"layers": (1, 4), "window": (1, 64), "iterations": (1, 10**9), "seed": (0, 2**63 - 1), "hidden": (1, 4096)}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run. The defaults are the article's."""

    layers: int = 1
    """LSTM layers on top of each other."""
    hidden: int = 512
    """Units of a layer."""
    window: int = 3
    """Words read before a prediction."""
    iterations: int = 50_000
    """Steps, each from one window."""
    seed: int = 1
    """Fixes the first weights and the walk."""
    optimizer: str = "rmsprop"
    """One of rmsprop, adam, sgd."""
    rate: float = 0.001
    """Learning rate."""
    every: bool = False
    """Predict after each word of the window, not only after the last."""
    carry: bool = False
    """Go on with the state of the window before, whose last word stands just before this one's first."""

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"--{name} must be {low} to {high:,}, got {value:,}")
        if self.optimizer not in RULES:
            raise UsageError(f"the optimizer must be one of {', '.join(RULES)}, got {self.optimizer!r}")


@dataclass(frozen=True)
class Report:
    """The last thousand steps in a line."""

    iteration: int
    loss: float
    """Mean, in nats."""
    accuracy: float
    """Share of right predictions, each made before its window was learned from."""
    context: tuple[str, ...]
    """The words of the last window."""
    said: str
    """What the network took to be next ..."""
    true: str
    """... and what was."""
    seconds: float
    """Since the first step."""

    def to_json(self) -> dict[str, object]:
        """For `--json` and the page."""
        return dataclasses.asdict(self)


Listener = Callable[["Run", Report | None], None]
"""Called now and then, with a report when one is due."""


@dataclass
class Run:
    """A plan carried out, or on its way."""

    plan: Plan
    material: Material
    network: Network
    done: int = 0
    """Steps taken."""
    seconds: float = 0.0
    reports: list[Report] = field(default_factory=list)
    interrupted: bool = False

    @property
    def accuracy(self) -> float:
        """Over the last thousand steps."""
        return self.reports[-1].accuracy if self.reports else 0.0

    @property
    def loss(self) -> float:
        """Over the last thousand steps, in nats."""
        return self.reports[-1].loss if self.reports else float("nan")

    def tell(self, prompt: str, words: int = TOLD) -> tuple[list[str], list[str]]:
        """A prompt of `window` symbols or more and what comes after it, always the likeliest; as lists of symbols."""
        ids = self.material.encode(prompt, self.plan.window)
        told: list[int] = []
        state: State | None = None
        given = ids
        with torch.inference_mode():
            for _ in range(words):
                reading = self.network.forward(torch.tensor(given), state)
                told.append(int(reading.scores[-1].argmax()))
                if self.plan.carry:
                    state, given = reading.state, told[-1:]
                else:
                    given = [*given, told[-1]][-self.plan.window :]
        name = self.material.vocabulary
        return [name[i] for i in ids], [name[i] for i in told]

    def read(self, place: int) -> Reading:
        """What happens inside while the window that begins at a place of the text is read."""
        with torch.inference_mode():
            return self.network.forward(torch.from_numpy(self.material.ids[place : place + self.plan.window]))


def walk(length: int, window: int, rng: np.random.Generator, *, carry: bool = False) -> Iterator[tuple[int, bool]]:
    """Where each window begins, and whether it is a new start: on by window + 1 from a random start, over and over.

    When carried, on by `window`, so that each begins where the last ended.

    >>> steps = walk(12, 3, np.random.default_rng(1))
    >>> [next(steps)[0] for _ in range(6)]
    [2, 6, 2, 6, 3, 7]
    """
    last = length - window - 1
    while True:
        offset = int(rng.integers(0, min(window + 1, last), endpoint=True))
        for place in range(offset, last + 1, window if carry else window + 1):
            yield place, place == offset


def run(
    plan: Plan, material: Material, *, vectors: torch.Tensor | None = None, learned: bool = False,
    listener: Listener | None = None,
) -> Run:  # fmt: skip
    """Carry out a plan; `vectors` (V, E) stand in place of the integers and learn too when `learned`.

    Ctrl-C ends it early with what was learned by then. Errors: TextError for a text that is too short.
    """
    check(material, plan.window)
    with torch.inference_mode(), _threads(plan):
        generator = torch.Generator().manual_seed(plan.seed)
        rule = RULES[plan.optimizer](plan.rate)
        network = Network(
            len(material.vocabulary), rule, generator, layers=plan.layers, hidden=plan.hidden, learned=learned,
            vectors=None if vectors is None else vectors.clone(), every=plan.every,
        )  # fmt: skip
        taken = Run(plan, material, network)
        try:
            _learn(taken, listener)
        except KeyboardInterrupt:
            taken.interrupted = True
    return taken


@contextmanager
def _threads(plan: Plan) -> Generator[None]:
    """One thread where matrices are so small that two would only wait for each other; tiny numbers become zero."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if plan.hidden < PARALLEL else before)
    try:
        with no_denormals():
            yield
    finally:
        torch.set_num_threads(before)


def _learn(taken: Run, listener: Listener | None) -> None:
    """The loop: look, learn, count; a report every thousand steps and one at the end."""
    plan, network = taken.plan, taken.network
    ids = torch.from_numpy(taken.material.ids)
    steps = walk(len(ids), plan.window, np.random.default_rng(plan.seed), carry=plan.carry)
    losses = hits = predictions = 0.0
    state: State | None = None
    begun = time.perf_counter()
    for step, (place, fresh) in zip(range(1, plan.iterations + 1), steps, strict=False):
        words = ids[place : place + plan.window]
        first = 1 if plan.every else plan.window
        targets = ids[place + first : place + plan.window + 1]  # (P,)
        loss, reading = network.learn(words, targets, None if fresh or not plan.carry else state)
        if plan.carry:
            state = reading.state
        answers = reading.scores.argmax(-1)  # (P,)
        losses += float(loss.sum())
        hits += int((answers == targets).sum())
        predictions += len(targets)
        taken.done = step
        if step % EVERY and step != plan.iterations:
            if listener and step % 50 == 0:
                taken.seconds = time.perf_counter() - begun
                listener(taken, None)
            continue
        taken.seconds = time.perf_counter() - begun
        names = taken.material.vocabulary
        report = Report(
            step, losses / predictions, hits / predictions, tuple(names[i] for i in words.tolist()),
            names[int(answers[-1])], names[int(targets[-1])], taken.seconds,
        )  # fmt: skip
        taken.reports.append(report)
        losses = hits = predictions = 0.0
        if listener:
            listener(taken, report)
