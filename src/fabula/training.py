"""Learning: corpus and settings in, model folder out; it tells no stories and prints nothing (see events).

The loop is `_learn`; above it stands how a run is put together, below it the parts of a step.
"""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fabula import card, checkpoints, folder, footprint, precision, recipe
from fabula.baseline import Baseline
from fabula.config import Settings, TrainingConfig
from fabula.corpus import Corpus
from fabula.errors import DivergedError
from fabula.evaluation import Measure
from fabula.events import Began, Evaluated, Finished, Listener, Stepped
from fabula.inheritance import GENTLER, Ancestor
from fabula.model import LanguageModel
from fabula.optimizers import clip, gradients_of
from fabula.pretrained import initial_embedding
from fabula.run import Run, arrays
from fabula.streams import Feed, Lanes, Windows, frequencies
from fabula.tuning import begin_from, freeze, look_back, optimizer_for

CHECK_TOKENS = 32_768
"""Held-out units measured on the way; all of them are measured at the end."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a training came to."""

    folder: Path
    seconds: float
    steps: int
    train_accuracy: float
    held_out: Measure | None
    baseline: float | None
    """Bits per byte that an n-gram model of the same units needs for the held-out stories."""
    stopped: str
    """time, steps, epochs, learned (by heart), early (no more gain), or interrupted."""
    mixture: float | None = None
    """Bits per byte of both mixed, each half of the predictions judged with the weight that fits the other."""
    mixture_weight: float | None = None
    """The network's weight that fits all of them."""
    old_held_out: float | None = None
    old_held_out_before: float | None = None
    """Bits per byte for stories that the model it started from had kept aside: of this model, and of that one."""

    def to_json(self) -> dict[str, Any]:
        """What `fabula train --json` prints."""
        return {
            "folder": str(self.folder),
            "seconds": round(self.seconds, 3),
            "steps": self.steps,
            "train_accuracy": round(self.train_accuracy, 5),
            "held_out_bits_per_byte": round(self.held_out.bits_per_byte, 5) if self.held_out else None,
            "baseline_bits_per_byte": round(self.baseline, 5) if self.baseline else None,
            "mixture_bits_per_byte": _rounded(self.mixture),
            "mixture_weight": _rounded(self.mixture_weight),
            "old_held_out_bits_per_byte": _rounded(self.old_held_out),
            "old_held_out_bits_per_byte_before": _rounded(self.old_held_out_before),
            "stopped": self.stopped,
        }


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 5)


def train(
    corpus: Corpus,
    out: Path,
    settings: Settings,
    *,
    size: str | None = None,
    force: bool = False,
    ancestor: Ancestor | None = None,
    listeners: Sequence[Listener] = (),
    begun: float,
) -> Outcome:
    """Learn a corpus and write a model folder; `begun` is the `time.perf_counter()` that `training.time` counts from.

    `ancestor` is the model to start from, whose shape and units `settings` and `corpus` must have.

    Errors: UsageError, FolderError (the folder is in the way), DivergedError. Ctrl-C finishes the step, saves and
    returns an outcome whose `stopped` is "interrupted".
    """
    facts = recipe.Facts(
        predictions=corpus.train.tokens + len(corpus.train.streams),
        vocabulary=corpus.tokenizer.size,
        unit=corpus.tokenizer.unit,
        by_heart=corpus.by_heart,
    )
    wished = settings.training.lr
    settings, said = recipe.choose(settings, facts, size)
    settings = replace(settings, text=replace(settings.text, unit=facts.unit))
    corpus = replace(corpus, notes=(*corpus.notes, f"unit: {facts.unit} ({corpus.unit_reason})", said))
    if ancestor and wished is None:
        settings, said = _gentler(settings)
        corpus = replace(corpus, notes=(*corpus.notes, said))
    run = _assemble(out, settings, corpus, listeners, begun)
    if ancestor:
        _start_from(ancestor, run)
    folder.claim(out, force=force)
    return _carry_out(run)


def _gentler(settings: Settings) -> tuple[Settings, str]:
    """The learning rate of a model that knows something already, and a sentence on it."""
    lr = (settings.training.lr or 0.0) * GENTLER
    said = f"learning rate {lr:.2g}, a third of a new model's, lest it forget: --set training.lr overrules it"
    return replace(settings, training=replace(settings.training, lr=lr)), said


def _start_from(ancestor: Ancestor, run: Run) -> None:
    """Give a fresh run what an old model knows, and measure what that one could do."""
    training = run.settings.training
    with _processor(training.threads or _cores()):
        run.past, said = look_back(ancestor, run.corpus, CHECK_TOKENS)
    if run.past:
        run.reserve += run.past.seconds
    inherited = begin_from(ancestor, run.model, run.corpus, training.seed)
    run.corpus = replace(run.corpus, notes=(*run.corpus.notes, inherited, said))


def resume(
    corpus: Corpus,
    out: Path,
    settings: Settings,
    saved: folder.Checkpoint,
    *,
    listeners: Sequence[Listener] = (),
    begun: float,
) -> Outcome:
    """Go on with a training from one of its checkpoints, to the same bits as if it had never stopped."""
    run = _assemble(out, settings, corpus, listeners, begun)
    checkpoints.restore(run, saved)
    _advance(run)  # not restored: the limits may have moved
    run.evaluations = int(run.progress * settings.training.evaluations)
    return _carry_out(run)


def _assemble(out: Path, settings: Settings, corpus: Corpus, listeners: Sequence[Listener], begun: float) -> Run:
    """A run at its very beginning."""
    training, end, streams = settings.training, corpus.tokenizer.end, corpus.train.streams
    assert training.batch
    assert training.length
    if settings.model.window:
        feed: Feed = Windows(streams, end, window=settings.model.window, batch=training.batch, seed=training.seed)
    else:
        feed = Lanes(streams, end, batch=training.batch, length=training.length, seed=training.seed)
    shape, start, said = initial_embedding(settings, corpus)
    footprint.check(shape, training, corpus.tokenizer.size, corpus.train.tokens)
    model = LanguageModel(shape, corpus.tokenizer.size, torch.Generator().manual_seed(training.seed))
    if shape.head == "adaptive":
        model.set_counts(frequencies(streams, end))
    if start is not None:
        model.set_embedding(start, frozen=training.freeze_vectors)
    freeze(model, training.freeze)
    # A text learned by heart is known before a probe would pay.
    unprobed = corpus.by_heart and training.precision == "auto"
    return Run(
        out=out,
        settings=replace(settings, model=shape),
        corpus=replace(corpus, notes=(*corpus.notes, *said)),
        model=model,
        optimizer=optimizer_for(model, training),
        feed=feed,
        check=corpus.held_out.first(CHECK_TOKENS, corpus.held_out_stories) if corpus.held_out else None,
        listeners=listeners,
        begun=begun,
        precision="fp32" if unprobed else precision.choose(training.precision, shape.hidden or 0),
        state=model.initial_state(feed.batch(0)[0].shape[0]),
    )


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _carry_out(run: Run) -> Outcome:
    """Learn, then measure the best network on everything kept aside and write its folder."""
    run.say(
        Began(
            folder=run.out,
            settings=run.settings,
            tokenizer=run.corpus.tokenizer,
            parameters=run.parameters,
            precision=run.precision,
            notes=run.corpus.notes,
            opening=run.corpus.opening,
            step=run.step,
        )
    )
    run.saved_at = run.evaluated_at = run.seconds
    baseline = Baseline(run.corpus)
    with _processor(run.settings.training.threads or _cores()):
        try:
            with _interruptible(run):
                stopped = _learn(run)
        except DivergedError:
            if run.best_weights:
                _write(run, "diverged", baseline)
            raise
        every = run.settings.training.checkpoint_every
        if stopped == "interrupted" or (every and run.seconds >= every):
            checkpoints.save(run)
        return _write(run, stopped, baseline)


# --- the loop ------------------------------------------------------------------------------------------------------


def _learn(run: Run) -> str:
    """Learn until something says stop; returns what."""
    model, training, feed = run.model, run.settings.training, run.feed
    parameters, noise, ending = run.optimizer.parameters, torch.Generator(), ""
    while not ending:
        inputs, targets = (torch.from_numpy(part) for part in feed.batch(run.step))  # (B, T), (B, T) or (B, 1)
        state = run.state if feed.carried else model.initial_state(len(inputs))
        noise.manual_seed(_mixed(training.seed, run.step))
        with precision.autocast(run.precision):
            hidden, plain, state = model(inputs, state, noise)
            nats, hits = model.judge(hidden, targets)
        mean = nats.mean()
        gradients = gradients_of(mean + _penalty(training, hidden, plain), parameters)
        loss, length, lr = mean.item(), clip(gradients, training.clip), _rate(training, run.progress)
        if not (math.isfinite(loss) and math.isfinite(length)):
            raise DivergedError(
                f"the loss became {loss} at step {run.step:,} with learning rate {lr:.2g}: "
                f"try --set training.lr={lr / 3:.1g}"
            )
        with torch.no_grad():
            run.optimizer.step(gradients, lr)
            run.average()
        run.state = tuple(memory.detach().float() for memory in state)
        run.step += 1
        run.tokens += targets.numel()
        run.losses.append(loss)
        run.hits.append(hits.float().mean().item())
        ending = _advance(run)
        run.say(
            Stepped(
                step=run.step,
                progress=run.progress,
                loss=loss,
                accuracy=run.hits[-1],
                lr=lr,
                gradient=length,
                tokens=targets.numel(),
                seconds=run.seconds,
            )
        )
        if ending != "interrupted" and (ending or _is_due(run)):
            with run.averaging():
                ending = _evaluate(run, lr) or ending
        if not ending and training.checkpoint_every and run.seconds - run.saved_at >= training.checkpoint_every:
            checkpoints.save(run)
    return ending


def _penalty(training: TrainingConfig, dropped: Tensor, plain: Tensor) -> Tensor | float:
    """What the hidden states of the last layer, after and before dropout, cost beside their nats: (B, T, H) twice.

    Source: Merity, McCann and Socher 2017 (activation regularization, the same over time).
    """
    cost: Tensor | float = 0.0
    if training.penalty_activation:
        cost = cost + training.penalty_activation * dropped.float().square().mean()
    if training.penalty_slope and plain.shape[1] > 1:
        cost = cost + training.penalty_slope * plain.float().diff(dim=1).square().mean()
    return cost


def _advance(run: Run) -> str:
    """Move `progress` on by whichever limit is nearest; the name of a limit that is reached, or nothing."""
    training = run.settings.training
    shares: dict[str, float] = {}
    if training.time is not None:
        shares["time"] = run.seconds / max(training.time - run.reserve, 0.1)
    if training.steps is not None:
        shares["steps"] = run.step / training.steps
    if training.epochs is not None:
        shares["epochs"] = run.step / (training.epochs * run.feed.steps_per_epoch)
    limit, share = max(shares.items(), key=lambda item: item[1])
    run.progress = min(1.0, max(run.progress, share))
    if run.stop:
        return "interrupted"
    return limit if run.progress >= 1 else ""


def _rate(training: TrainingConfig, progress: float) -> float:
    """Learning rate at a share of the run: up in a straight line, then down by a half cosine or a line.

    >>> [round(_rate(TrainingConfig(lr=1.0, warmup=0.5), share), 2) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [0.05, 0.5, 1.0, 0.5, 0.0]
    """
    top = training.lr or 0.0
    if progress < training.warmup:
        return top * max(progress / training.warmup, 0.05)
    if training.decay == "none" or training.warmup >= 1:
        return top
    rest = (progress - training.warmup) / (1 - training.warmup)
    return top * (1 - rest if training.decay == "linear" else (1 + math.cos(math.pi * rest)) / 2)


def _mixed(seed: int, step: int) -> int:
    """One number from two, so that the noise of a step depends on nothing else."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> 1)


def _is_due(run: Run) -> bool:
    """Time to measure: by the share of the run, or because a text learned by heart seems to be known."""
    training = run.settings.training
    if run.corpus.by_heart and run.hits[-1] > 0.97:
        return True
    if int(run.progress * training.evaluations) <= run.evaluations:
        return False
    # Of a short time at most a sixth is spent on measuring; runs counted in steps measure at the same steps always.
    hurried = training.time is not None and not run.corpus.by_heart
    return not hurried or run.seconds - run.evaluated_at >= 5 * run.measuring


def _evaluate(run: Run, lr: float) -> str:
    """Measure, keep the best weights, tell the listeners; a reason to stop, or nothing."""
    began, training, ending = run.seconds, run.settings.training, ""
    run.evaluations = max(run.evaluations, int(run.progress * training.evaluations))
    loss, accuracy, held_out = float(np.mean(run.losses)), float(np.mean(run.hits)), None
    figure = loss
    if run.corpus.by_heart:
        right, total, best_possible = run.known()
        accuracy = right / total
        figure, ending = -accuracy, "learned" if right >= best_possible else ""
    elif run.check is not None:
        held_out = run.measured(run.check)
        figure = held_out.bits_per_byte
    is_best = figure < run.best
    run.since_best = 0 if is_best else run.since_best + 1
    if is_best:
        run.best = figure
        run.best_weights = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    elif held_out and training.patience and run.since_best >= training.patience:
        ending = "early"
    if run.check is not None and run.corpus.held_out is not None:
        again = run.past.seconds if run.past else 0.0
        run.reserve = 1.0 + again + 1.25 * (run.seconds - began) * run.corpus.held_out.tokens / max(run.check.tokens, 1)
    run.say(
        Evaluated(
            step=run.step,
            progress=run.progress,
            loss=loss,
            accuracy=accuracy,
            held_out=held_out,
            best=is_best,
            tokens_per_second=run.tokens / max(began - run.evaluated_at, 1e-9),
            lr=lr,
            seconds=run.seconds,
            weights=lambda: arrays(run.model.state_dict()),
        )
    )
    run.losses, run.hits, run.tokens, run.evaluated_at = run.losses[-1:], run.hits[-1:], 0, run.seconds
    run.measuring = run.seconds - began
    return ending


def _write(run: Run, stopped: str, baseline: Baseline) -> Outcome:
    """Measure the best weights on all held-out stories and write the model folder."""
    if run.best_weights:
        run.model.load_state_dict(run.best_weights)
    elif run.averages:
        run.model.load_state_dict(run.averages, strict=False)
    held_out = run.measured(run.corpus.held_out) if run.corpus.held_out else None
    accuracy = float(np.mean(run.hits))
    if run.corpus.by_heart:
        right, total, _ = run.known()
        accuracy = right / total
    looked_back, before = None, None
    if run.past:
        looked_back, before = run.measured(run.past.stories).bits_per_byte, run.past.bits_per_byte
    limit = run.settings.training.time
    beside = baseline.beside(held_out, None if limit is None else max(0.0, limit - run.seconds))
    about = {
        "name": run.out.resolve().name,
        "unit": run.corpus.tokenizer.unit,
        "steps": run.step,
        "stopped": stopped,
        "learned_from": dataclasses.asdict(run.corpus.train.counts) | {"stories": len(run.corpus.train.streams)},
        "by_heart": run.corpus.by_heart,
        "train_accuracy": accuracy,
        "held_out": held_out.to_json() if held_out else None,
        **dataclasses.asdict(beside),
        "digest": run.corpus.digest,
        "from_model": run.settings.training.from_model,
        "old_held_out_bits_per_byte": looked_back,
        "old_held_out_bits_per_byte_before": before,
        "parameters": run.parameters,
    }
    weights = arrays(run.model.state_dict())
    folder.write_model(
        run.out,
        settings=run.settings,
        tokenizer=run.corpus.tokenizer,
        weights=weights,
        about=about,
        card=card.write_card(about, run.settings),
    )
    run.say(Finished(step=run.step, weights=weights))
    return Outcome(
        folder=run.out, seconds=run.seconds, steps=run.step, train_accuracy=accuracy, held_out=held_out,
        baseline=beside.baseline_bits_per_byte, mixture=beside.mixture_bits_per_byte,
        mixture_weight=beside.mixture_weight, stopped=stopped, old_held_out=looked_back, old_held_out_before=before,
    )  # fmt: skip


@contextmanager
def _processor(threads: int) -> Iterator[None]:
    """The processor set up for learning, and afterwards as it was found."""
    before, tiny = torch.get_num_threads(), torch.tensor(1e-40)
    flushed = (tiny * 0.5).item() == 0.0
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # denormal numbers slow an LSTM many times over
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(flushed)


@contextmanager
def _interruptible(run: Run) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) lets the step finish and saves; the second leaves at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: object) -> None:  # noqa: ARG001
        if run.stop:
            raise KeyboardInterrupt
        run.stop = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
