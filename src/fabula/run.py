"""One training under way: all that changes while it learns, and how it measures itself; it decides nothing."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fabula import recipe, rounding, stopping
from fabula.baseline import Baseline
from fabula.cells import State
from fabula.config import Settings
from fabula.corpus import Corpus, Part
from fabula.distributed import Team
from fabula.errors import DivergedError
from fabula.evaluation import Measure, measure
from fabula.events import Event, Listener
from fabula.forecast import Forecast
from fabula.inheritance import Past
from fabula.model import LanguageModel, NumpyScorer
from fabula.optimizers import Optimizer
from fabula.precision import Scaling
from fabula.source import Source
from fabula.streams import Feed, ceiling
from fabula.tuning import Layered

SAVING = 1.0
"""Seconds kept back for writing the folder and leaving."""

PATIENCE = 1.5
"""Seconds of measuring that somebody who asked to stop still waits for."""

ROUNDED = 4096
"""Units that whole numbers are tried on."""

ROUNDING = 6.0
"""What a try of whole numbers takes in place of a measurement of as many units: two networks are made for it."""

WRITTEN = 5e7
"""Parameters that are written in a second, at least."""

MARGIN = 1.25
"""What a measurement may take in place of what the last one took."""


class Interruption(Exception):  # noqa: N818 - it is a wish, not an error
    """Somebody asked to stop while something was measured that can be measured again."""


class Watched:
    """A scorer that is left between two calls when `leave` says so."""

    def __init__(self, scorer: NumpyScorer, leave: Callable[[], bool]) -> None:
        self._scorer, self._leave = scorer, leave

    def initial_state(self, batch: int) -> State:
        """The zero state."""
        return self._scorer.initial_state(batch)

    def score(
        self, ids: NDArray[np.int64], targets: NDArray[np.int64], state: State
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], State]:
        """As the scorer itself; raises `Interruption`."""
        if self._leave():
            raise Interruption
        return self._scorer.score(ids, targets, state)


@dataclass(kw_only=True)
class Run:
    """What a training is made of, and where it stands; what of it a checkpoint keeps, `checkpoints` says."""

    out: Path
    settings: Settings
    corpus: Corpus
    model: LanguageModel
    learner: nn.Module
    """The network as a step computes it; its gradients are those of all processes."""
    team: Team
    optimizer: Optimizer | Layered
    feed: Feed
    check: Part | None
    """The held-out stories measured on the way; all of them are measured at the end."""
    listeners: Sequence[Listener]
    begun: float
    """`time.perf_counter()` when the program started, moved back by what earlier runs used."""
    precision: str
    state: State
    scaling: Scaling = field(default_factory=Scaling)
    """Of the losses, in fp16."""
    baseline: Baseline | None = None
    """Fitted beside the training once it has begun."""
    source: Source | None = None
    """Indexed beside it too."""
    forecast: Forecast | None = None
    past: Past | None = None
    """What the model that it starts from could do."""
    ready: float = 0.0
    """Seconds that it took until the first step: a time limit is for the whole, the learning rate for what is left."""
    step: int = 0
    progress: float = 0.0
    """0 .. 1 of whichever limit is nearest."""
    reserve: float = SAVING
    """Seconds kept back for the last measurements and for saving."""
    saving: float = SAVING
    """Those of them that nothing else may take: whole numbers are tried, the folder is written."""
    learning_from: tuple[float, float] = (0.0, 0.0)
    """Progress and epochs when it began to learn, or went on, with nothing else to do beside."""
    by_pace: list[str] = field(default_factory=list)
    """Settings that are chosen again once it is known how often the text will be read (see `recipe`)."""
    evaluations: int = 0
    best: float = math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    best_measure: Measure | None = None
    """What they need for all held-out stories, where that is known already."""
    averages: dict[str, Tensor] = field(default_factory=dict)
    """Averaged parameters by name, where weights are averaged."""
    since_best: int = 0
    """Measurements without a gain."""
    losses: list[float] = field(default_factory=list)
    hits: list[float] = field(default_factory=list)
    tokens: int = 0
    """Losses, hits and units since the last measurement."""
    evaluated_at: float = 0.0
    measuring: float = 0.0
    """Seconds the last measurement and its story took."""
    saved_at: float = 0.0
    judged: int = 0
    """Step after which it was last measured."""
    lr: float = 0.0
    """Learning rate of the last step."""
    ending: str = ""
    """Why it has ended, where no limit says so: `learned` or `early`."""
    kept: int | None = None
    """Held-out units that are measured, where a time limit allows only some."""
    stop: int = 0
    """Number of the signal that asked to finish this step, then to save and return; 0 while nobody did."""
    heard: int = 0
    """The same in this process alone: of several all stop once they have met."""
    clock: float = 0.0
    """What the first of several processes had as `seconds` when they met."""
    fitting: bool = False
    """Whether its n-gram model was being fitted then."""
    until: float = math.inf
    """Seconds after which what is not measured yet stays so: somebody waits for the end."""

    @property
    def seconds(self) -> float:
        """Since the start of the program; of several processes as the first of them said when they last met."""
        return self.clock if self.team.size > 1 else self.lasted

    @property
    def lasted(self) -> float:
        """Seconds by the clock of this process."""
        return time.perf_counter() - self.begun

    def meet(self, *numbers: float) -> tuple[float, ...]:
        """The means of some numbers over the processes, which from now on have one clock and one wish to stop."""
        if self.team.size == 1:
            return numbers
        heard = signal.SIGTERM if self.team.is_orphan else self.heard
        wishes = [float(heard == number) for number in stopping.SIGNALS]
        own = self.lasted, float(bool(self.baseline and self.baseline.is_fitting))
        said = self.team.sums(*(own if self.team.is_first else (0.0, 0.0)), *wishes, *numbers)
        self.clock, self.fitting = said[0], bool(said[1])
        wished = [number for number, wish in zip(stopping.SIGNALS, said[2:], strict=False) if wish]
        self.stop = self.stop or (wished[0] if wished else 0)
        return tuple(number / self.team.size for number in said[2 + len(wishes) :])

    @property
    def is_fitting(self) -> bool:
        """Whether the n-gram model still takes its share of a processor."""
        return self.fitting if self.team.size > 1 else bool(self.baseline and self.baseline.is_fitting)

    @property
    def limit(self) -> float | None:
        """Seconds after which it must be over: of two that share a time the first has half of it."""
        training = self.settings.training
        if training.time is None or self.corpus.backward:
            return training.time
        return recipe.each(training, training.time)

    @property
    def epochs(self) -> float:
        """Times the text was read."""
        return self.step / self.feed.steps_per_epoch

    @property
    def parameters(self) -> int:
        """Numbers in the network."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def keep_back(self, check: float) -> None:
        """Set aside time for the end: when measuring `check` took so many seconds, for that again and for the rest."""
        kept, whole = self.corpus.held_out, 0.0
        if kept and self.check and self.check is not kept:
            whole = check * kept.tokens / max(self.check.tokens, 1)
        past = self.past.seconds if self.past else 0.0
        share = ROUNDED / max(self.check.tokens, 1) if self.check else 0.0
        large = rounding.is_large(self.settings.model, self.corpus.tokenizer.size)
        leaving = SAVING * (1 + (self.team.size > 1))  # who has started several ends after them
        self.saving = leaving + self.parameters / WRITTEN + ROUNDING * check * min(share, 1.0) * large
        self.reserve = self.saving + past + MARGIN * (whole + max(check, self.measuring))

    @property
    def is_wanted(self) -> bool:
        """Whether there is time left to measure."""
        return self.seconds < self.until if self.until < math.inf else not self.stop

    @property
    def is_finite(self) -> bool:
        """Whether all numbers that go into a file are numbers."""
        parts = (self.model.state_dict().values(), self.averages.values(), self.state, *self.optimizer.state.values())
        return all(bool(torch.isfinite(tensor).all()) for part in parts for tensor in part)

    def expect_numbers(self) -> None:
        """Before anything is saved; errors: DivergedError."""
        if self.team.sums(float(not self.is_finite))[0]:
            raise self.diverged("the weights became infinite or NaN")

    def diverged(self, what: str) -> DivergedError:
        """What is wrong with it, and what to try."""
        advice = f"try --set training.lr={self.lr / 3:.1g}"
        return DivergedError(f"{what} at step {self.step:,} with learning rate {self.lr:.2g}: {advice}")

    def hurry(self) -> None:
        """Somebody waits: what is not measured in a moment stays unknown."""
        self.until = self.seconds + PATIENCE if self.team.size == 1 else -math.inf

    def say(self, event: Event) -> None:
        """Tell every listener."""
        for listener in self.listeners:
            listener(event)

    def average(self) -> None:
        """Take the parameters of the step just made into their averages, where weights are averaged.

        The average lags behind by a fixed share of all steps, so it suits a run of any length, known or not. Source:
        Shamir and Zhang 2013 (polynomial decay); Karras et al. 2024 (power function).
        """
        lag = self.settings.training.averaging
        if not lag:
            return
        present = {name: value.detach() for name, value in self.model.named_parameters()}
        if not self.averages:
            self.averages = {name: value.clone() for name, value in present.items()}
        power = 1 / lag - 1
        new: float = 1 - (1 - 1 / (self.step + 1)) ** power  # then step t counts as t**power - (t-1)**power
        torch._foreach_lerp_(list(self.averages.values()), [present[name] for name in self.averages], new)

    @contextmanager
    def finest(self) -> Generator[None]:
        """The network with the weights that are to be written inside, and as it was afterwards."""
        own = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        try:
            self.model.load_state_dict(self.best_weights or own | self.averages)
            yield
        finally:
            self.model.load_state_dict(own)

    @contextmanager
    def averaging(self) -> Generator[None]:
        """The network with its averaged parameters inside, and as it was afterwards."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for name, average in self.averages.items():
            parameter = self.model.get_parameter(name)
            parameter.data, self.averages[name] = average, parameter.data

    def measured(self, part: Part) -> Measure:
        """The network as it is, on some stories; of several processes each measures its share."""
        end, window = self.corpus.tokenizer.end, self.settings.model.window
        if not self.is_wanted:
            raise Interruption
        scorer = self.scorer if self.team.size == 1 else NumpyScorer(self.model)
        return measure(scorer, part.streams, end, part.counts, window=window, helpers=self.team)

    @property
    def scorer(self) -> Watched:
        """The network to be measured, until somebody asks to stop."""
        return Watched(NumpyScorer(self.model), lambda: not self.is_wanted)

    def rounding_cost(self, weights: Mapping[str, NDArray[np.float32]]) -> float | None:
        """By what share whole numbers would raise the cost of some stories; see `fabula.rounding`."""
        part = self.corpus.kept(ROUNDED) or self.corpus.train
        streams = [stream[:ROUNDED] for stream in part.streams[:1]] if part is self.corpus.train else part.streams
        return rounding.cost(self.settings.model, self.corpus.tokenizer.size, weights, streams, part.counts)

    def known(self) -> tuple[int, int, int]:
        """Of a text learned by heart: predictions that are right, all predictions, and how many can be right.

        With a fixed window only units that have that many before them count, as in the article.
        """
        window, streams = self.settings.model.window, self.corpus.train.streams
        if window and (best := ceiling(streams, window)).total:
            views = (np.lib.stride_tricks.sliding_window_view(s, window + 1) for s in streams if len(s) > window)
            rows = np.concatenate([view.astype(np.int64) for view in views])  # (N, W+1)
            scorer = self.scorer
            _, right, _ = scorer.score(rows[:, :-1], rows[:, -1:], scorer.initial_state(len(rows)))
            return int(right.sum()), best.total, best.right
        whole = self.measured(self.corpus.train)
        return whole.correct, whole.tokens, whole.tokens


def arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """Copies as NumPy arrays."""
    return {name: tensor.detach().cpu().contiguous().numpy().copy() for name, tensor in tensors.items()}
