"""Learning: corpus and settings in, model folder out; it tells no stories and prints nothing (see events).

The loop is `_learn`; everything above it is preparation, everything below it a named part of one step.
"""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabula import card, folder, precision, recipe
from fabula.cells import State
from fabula.config import Settings, TrainingConfig, resolve
from fabula.corpus import Corpus, Part, count, prepare, with_unit
from fabula.errors import DivergedError, FolderError, TextError
from fabula.evaluation import Measure, measure
from fabula.events import Began, Evaluated, Finished, Listener, Saved, Stepped, Warned
from fabula.model import LanguageModel, NumpyScorer
from fabula.optimizers import OPTIMIZERS, Optimizer, clip
from fabula.streams import Feed, Lanes, Windows, ceiling
from fabula.tokens import from_json as tokenizer_from_json
from fabula.pretrained import initial_embedding

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
    stopped: str
    """time, steps, epochs, learned (by heart), early (no more gain), or interrupted."""

    def to_json(self) -> dict[str, Any]:
        """What `fabula train --json` prints."""
        return {
            "folder": str(self.folder),
            "seconds": round(self.seconds, 3),
            "steps": self.steps,
            "train_accuracy": round(self.train_accuracy, 5),
            "held_out_bits_per_byte": round(self.held_out.bits_per_byte, 5) if self.held_out else None,
            "stopped": self.stopped,
        }


@dataclass
class _Run:
    """One training under way: all that changes while it learns, and what it is measured by."""

    out: Path
    settings: Settings
    corpus: Corpus
    model: LanguageModel
    optimizer: Optimizer
    feed: Feed
    check: Part | None
    listeners: Sequence[Listener]
    begun: float
    """`time.perf_counter()` when the program started, moved back by what earlier runs used."""
    precision: str
    state: State
    step: int = 0
    progress: float = 0.0
    reserve: float = 0.5
    """Seconds kept back for the last measurement and for saving."""
    evaluations: int = 0
    best: float = math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    since_best: int = 0
    losses: list[float] = field(default_factory=list)
    hits: list[float] = field(default_factory=list)
    tokens: int = 0
    evaluated_at: float = 0.0
    saved_at: float = 0.0
    stop: bool = False

    @property
    def seconds(self) -> float:
        """Since the start of the program."""
        return time.perf_counter() - self.begun

    def say(self, event: Any) -> None:
        """Tell every listener."""
        for listener in self.listeners:
            listener(event)


# --- preparation ---------------------------------------------------------------------------------------------------


def train(
    paths: Sequence[str | Path],
    out: str | Path,
    settings: Settings | None = None,
    *,
    size: str | None = None,
    held_out: Sequence[str | Path] = (),
    force: bool = False,
    listeners: Sequence[Listener] = (),
    begun: float | None = None,
) -> Outcome:
    """Learn from texts and write a model folder.

    Errors: TextError, UsageError, FolderError (the folder is in the way), DivergedError. Ctrl-C finishes the step,
    saves and returns an outcome whose `stopped` is "interrupted".
    """
    begun = time.perf_counter() if begun is None else begun
    settings, out = settings or Settings(), Path(out)
    folder.check_claim(out, force=force)
    corpus = prepare(paths, settings.text, held_out=held_out)
    names = {"paths": tuple(map(str, paths)), "held_out_paths": tuple(map(str, held_out))}
    settings = replace(settings, text=replace(with_unit(settings.text, corpus), **names))
    facts = recipe.Facts(
        tokens=corpus.train.tokens, vocabulary=corpus.tokenizer.size, unit=corpus.tokenizer.unit, by_heart=corpus.by_heart
    )
    settings, said = recipe.choose(settings, facts, size)
    corpus = replace(corpus, notes=(*corpus.notes, f"unit: {corpus.tokenizer.unit} ({corpus.unit_reason})", said))
    run = _assemble(out, settings, corpus, listeners, begun)
    folder.claim(out, force=force)
    return _finish(run)


def resume(
    out: str | Path,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    listeners: Sequence[Listener] = (),
    begun: float | None = None,
) -> Outcome:
    """Go on with a training from its newest checkpoint; `overrides` may give it more time, steps or epochs.

    Errors: FolderError when there is no checkpoint, TextError when the text has changed.
    """
    begun = time.perf_counter() if begun is None else begun
    out = Path(out)
    saved, skipped = folder.read_checkpoint(out)
    if saved is None:
        raise FolderError(f"{str(out)!r} has no checkpoint to go on from: fabula train makes a new model (-o, --force)")
    settings = resolve(saved.state["settings"], overrides or {})
    tokenizer = tokenizer_from_json(saved.state["tokenizer"])
    corpus = prepare(settings.text.paths, settings.text, held_out=settings.text.held_out_paths, tokenizer=tokenizer)
    if corpus.digest != saved.state["digest"]:
        raise TextError(f"the text of {str(out)!r} has changed since its training stopped: bring it back or start anew with --force")
    notes = tuple(f"checkpoint {name} was damaged and is skipped" for name in skipped)
    run = _assemble(out, settings, replace(corpus, notes=(*notes, f"going on from step {saved.step:,}")), listeners, begun)
    _restore(run, saved)
    return _finish(run)


def _assemble(out: Path, settings: Settings, corpus: Corpus, listeners: Sequence[Listener], begun: float) -> _Run:
    """A run at its very beginning."""
    training, model_config, end = settings.training, settings.model, corpus.tokenizer.end
    torch.set_flush_denormal(True)  # denormal numbers slow an LSTM many times over
    torch.set_num_threads(training.threads or len(os.sched_getaffinity(0)))
    assert training.batch and training.length
    streams = corpus.train.streams
    if model_config.window:
        feed: Feed = Windows(streams, end, window=model_config.window, batch=training.batch, seed=training.seed)
    else:
        feed = Lanes(streams, end, batch=training.batch, length=training.length, seed=training.seed)
    generator = torch.Generator().manual_seed(training.seed)
    model_config, start, said = initial_embedding(settings, corpus)
    settings = replace(settings, model=model_config)
    model = LanguageModel(model_config, corpus.tokenizer.size, generator)
    if start is not None:
        model.set_embedding(start, frozen=training.freeze_vectors)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return _Run(
        out=out,
        settings=settings,
        corpus=replace(corpus, notes=(*corpus.notes, *said)),
        model=model,
        optimizer=OPTIMIZERS[training.optimizer](parameters, weight_decay=training.weight_decay),
        feed=feed,
        check=corpus.held_out.first(CHECK_TOKENS, corpus.held_out_stories) if corpus.held_out else None,
        listeners=listeners,
        begun=begun,
        # A text learned by heart is known before a probe would pay.
        precision="fp32" if corpus.by_heart and training.precision == "auto" else precision.choose(training.precision),
        state=model.initial_state(feed.batch(0)[0].shape[0]),
    )


# --- the loop ------------------------------------------------------------------------------------------------------


def _learn(run: _Run) -> str:
    """Learn until something says stop; returns what."""
    model, training, feed = run.model, run.settings.training, run.feed
    parameters, noise = run.optimizer.parameters, torch.Generator()
    ending = ""
    while not ending:
        inputs, targets = (torch.from_numpy(part) for part in feed.batch(run.step))  # (B, T), (B, T) or (B, 1)
        state = run.state if feed.carried else model.initial_state(len(inputs))
        noise.manual_seed(_mixed(training.seed, run.step))
        with precision.autocast(run.precision):
            nats, hits, state = model.loss(inputs, targets, state, noise)
        loss = nats.mean()
        gradients = list(torch.autograd.grad(loss, parameters))
        length = clip(gradients, training.clip)
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(length)):
            raise DivergedError(
                f"the loss became {value} at step {run.step:,} (learning rate {_rate(training, run.progress):.2g}): "
                "try --set training.lr with a third of it"
            )
        lr = _rate(training, run.progress)
        with torch.no_grad():
            run.optimizer.step(gradients, lr)
        run.state = tuple(memory.detach().float() for memory in state)
        run.step += 1
        run.tokens += targets.numel()
        run.losses.append(value)
        run.hits.append(float(hits.float().mean()))
        ending = _advance(run)
        run.say(
            Stepped(
                step=run.step, progress=run.progress, loss=value, accuracy=run.hits[-1], lr=lr, gradient=length,
                tokens=targets.numel(), seconds=run.seconds,
            )  # fmt: skip
        )
        if ending or int(run.progress * training.evaluations) > run.evaluations or _seems_known(run):
            ending = _evaluate(run, lr) or ending
        if not ending and training.checkpoint_every and run.seconds - run.saved_at >= training.checkpoint_every:
            _save_checkpoint(run)
    return ending


def _advance(run: _Run) -> str:
    """Move `progress` on by whichever limit is nearest; the name of a limit that is reached, or nothing."""
    training = run.settings.training
    shares = {}
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


# --- measuring -----------------------------------------------------------------------------------------------------


def _evaluate(run: _Run, lr: float) -> str:
    """Measure, keep the best weights, tell the listeners; a reason to stop, or nothing."""
    begun, training, reason = time.perf_counter(), run.settings.training, ""
    run.evaluations = max(run.evaluations + 1, int(run.progress * training.evaluations))
    accuracy, held_out = float(np.mean(run.hits)), None
    if run.corpus.by_heart:
        right, total, best_possible = _known(run)
        accuracy = right / total
        reason = "learned" if right >= best_possible else ""
        figure = -accuracy
    elif run.check is not None:
        held_out = _measured(run, run.check)
        figure = held_out.bits_per_byte
    else:
        figure = float(np.mean(run.losses))
    is_best = figure < run.best
    run.since_best = 0 if is_best else run.since_best + 1
    if is_best:
        run.best = figure
        run.best_weights = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    if not run.corpus.by_heart and training.patience and run.since_best >= training.patience:
        reason = "early"
    speed = run.tokens / max(run.seconds - run.evaluated_at, 1e-9)
    run.say(
        Evaluated(
            step=run.step, progress=run.progress, loss=float(np.mean(run.losses)), accuracy=accuracy,
            held_out=held_out, best=is_best, tokens_per_second=speed, lr=lr, seconds=run.seconds,
            weights=lambda: _arrays(run.model.state_dict()),
        )  # fmt: skip
    )
    if run.corpus.held_out is not None and run.check is not None:
        spent = time.perf_counter() - begun
        run.reserve = 0.5 + spent * run.corpus.held_out.tokens / max(run.check.tokens, 1)
    run.losses, run.hits, run.tokens, run.evaluated_at = run.losses[-1:], run.hits[-1:], 0, run.seconds
    return reason


def _seems_known(run: _Run) -> bool:
    """True when the last step of a text learned by heart was nearly all right: time to look exactly."""
    return run.corpus.by_heart and run.hits[-1] > 0.98 and run.step % 2 == 0


def _known(run: _Run) -> tuple[int, int, int]:
    """Of a text learned by heart: predictions that are right, all predictions, and how many can be right.

    With a fixed window only units that have that many before them count, as in the article.
    """
    window, streams = run.settings.model.window, run.corpus.train.streams
    if window and (best := ceiling(streams, window)).total:
        rows = np.concatenate([np.lib.stride_tricks.sliding_window_view(s, window + 1) for s in streams if len(s) > window])
        scorer = NumpyScorer(run.model)
        inputs, targets = rows[:, :-1].astype(np.int64), rows[:, -1:].astype(np.int64)  # (N, W), (N, 1)
        _, right, _ = scorer.score(inputs, targets, scorer.initial_state(len(rows)))
        return int(right.sum()), best.total, best.right
    whole = _measured(run, run.corpus.train)
    return whole.correct, whole.tokens, whole.tokens


def _measured(run: _Run, part: Part) -> Measure:
    """The network as it is, on some stories."""
    scorer, end, window = NumpyScorer(run.model), run.corpus.tokenizer.end, run.settings.model.window
    return measure(scorer, part.streams, end, part.counts, window=window)


# --- keeping -------------------------------------------------------------------------------------------------------


def _finish(run: _Run) -> Outcome:
    """Learn, then measure the best network on everything kept aside and write its folder."""
    run.say(
        Began(
            folder=run.out, settings=run.settings, tokenizer=run.corpus.tokenizer, step=run.step,
            parameters=sum(parameter.numel() for parameter in run.model.parameters()),
            precision=run.precision, notes=run.corpus.notes, opening=run.corpus.opening,
        )  # fmt: skip
    )
    run.saved_at = run.evaluated_at = run.seconds
    try:
        with _interruptible(run):
            stopped = _learn(run)
    except DivergedError:
        if run.best_weights:
            _write(run, run.best_weights)
        raise
    every = run.settings.training.checkpoint_every
    if stopped == "interrupted" or (every and run.seconds >= every):
        _save_checkpoint(run)
    return _write(run, run.best_weights, stopped)


def _write(run: _Run, weights: Mapping[str, Tensor], stopped: str = "diverged") -> Outcome:
    """Measure the given weights on all held-out stories and write the model folder."""
    run.model.load_state_dict(weights)
    held_out = _measured(run, run.corpus.held_out) if run.corpus.held_out else None
    accuracy = float(np.mean(run.hits))
    if run.corpus.by_heart:
        right, total, _ = _known(run)
        accuracy = right / total
    about = {
        "name": run.out.resolve().name,
        "unit": run.corpus.tokenizer.unit,
        "steps": run.step,
        "stopped": stopped,
        "learned_from": dataclasses.asdict(run.corpus.train.counts) | {"stories": len(run.corpus.train.streams)},
        "by_heart": run.corpus.by_heart,
        "train_accuracy": accuracy,
        "held_out": held_out.to_json() if held_out else None,
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
    }
    arrays = _arrays(weights)
    text = card.write_card(about, run.settings)
    folder.write_model(
        run.out, settings=run.settings, tokenizer=run.corpus.tokenizer, weights=arrays, about=about, card=text
    )
    run.say(Finished(step=run.step, weights=arrays))
    return Outcome(
        folder=run.out, seconds=run.seconds, steps=run.step, train_accuracy=accuracy, held_out=held_out, stopped=stopped
    )


def _save_checkpoint(run: _Run) -> None:
    """Write all that is needed to go on; a full disk is said, not fatal."""
    tensors = {f"model.{name}": tensor for name, tensor in run.model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in run.best_weights.items()}
    tensors |= {f"carried.{number}": memory for number, memory in enumerate(run.state)}
    for slot, values in run.optimizer.state.items():
        tensors |= {f"optimizer.{slot}.{number}": value for number, value in enumerate(values)}
    state = {
        "settings": {name: dataclasses.asdict(getattr(run.settings, name)) for name in ("text", "model", "training", "sampling")},
        "tokenizer": run.corpus.tokenizer.to_json(),
        "digest": run.corpus.digest,
        "precision": run.precision,
        "seconds": run.seconds,
        "best": run.best if math.isfinite(run.best) else None,
        **{name: getattr(run, name) for name in _COUNTERS},
    }
    try:
        folder.write_checkpoint(run.out, folder.Checkpoint(run.step, _arrays(tensors), state))
    except OSError as error:
        run.say(Warned(message=f"could not save step {run.step:,} ({error.strerror}): learning goes on"))
    else:
        run.say(Saved(step=run.step))
    run.saved_at = run.seconds


_COUNTERS = ("progress", "evaluations", "since_best", "losses", "hits", "tokens", "reserve")


def _restore(run: _Run, saved: folder.Checkpoint) -> None:
    """Put a run back to where its checkpoint stands."""
    tensors = {name: torch.from_numpy(array.copy()) for name, array in saved.tensors.items()}
    strip = {kind: {n.removeprefix(kind): t for n, t in tensors.items() if n.startswith(kind)} for kind in ("model.", "best.")}
    run.model.load_state_dict(strip["model."])
    run.best_weights = strip["best."]
    run.state = tuple(tensors[f"carried.{number}"] for number in range(len(run.state)))
    for slot, values in run.optimizer.state.items():
        for number, value in enumerate(values):
            value.copy_(tensors[f"optimizer.{slot}.{number}"])
    for name in _COUNTERS:
        setattr(run, name, saved.state[name])
    run.step, run.precision = saved.step, saved.state["precision"]
    run.best = math.inf if saved.state["best"] is None else saved.state["best"]
    run.begun -= saved.state["seconds"]


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """Copies as NumPy arrays."""
    return {name: tensor.detach().cpu().contiguous().numpy().copy() for name, tensor in tensors.items()}


@contextmanager
def _interruptible(run: _Run) -> Iterator[None]:
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
