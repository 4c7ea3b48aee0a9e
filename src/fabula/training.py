"""Learning: corpus and settings in, model folder out; it tells no stories and prints nothing (see events).

The loop is `_learn`; how a run is put together stands in `assembly`.
"""

from __future__ import annotations

import dataclasses
import math
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fabula import assembly, card, checkpoints, folder, precision, processor, recipe
from fabula.baseline import Baseline, Beside
from fabula.cells import State
from fabula.config import Settings, TrainingConfig
from fabula.corpus import Corpus
from fabula.errors import DivergedError
from fabula.events import Began, Evaluated, Finished, Foretold, Listener, Stepped
from fabula.forecast import forecast
from fabula.inheritance import Ancestor
from fabula.optimizers import clip, gradients_of
from fabula.outcome import Outcome
from fabula.run import Run, arrays
from fabula.source import Source

EARLY = 0.04
"""Share of the learning after which its speed is known well enough to foretell its end."""

COOLDOWN = 0.5
"""Share of a run, its end, in which the rate falls."""


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
    run = assembly.begin(corpus, out, settings, size=size, ancestor=ancestor, listeners=listeners, begun=begun)
    folder.claim(out, force=force)
    return _carry_out(run)


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
    run = assembly.again(corpus, out, settings, saved, listeners=listeners, begun=begun)
    _advance(run)  # not restored: the limits may have moved
    run.evaluations = int(run.progress * settings.training.evaluations)
    return _carry_out(run)


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
            backward=run.corpus.backward,
            closing=run.corpus.closing,
        )
    )
    run.saved_at = run.evaluated_at = run.seconds
    run.ready = run.ready or run.seconds
    run.learning_from = (run.progress, run.epochs)
    run.baseline = Baseline(run.corpus)
    run.source = None if run.corpus.backward else Source(run.corpus)
    with processor.ready(run.settings.training.threads):
        try:
            with _interruptible(run):
                stopped = _learn(run)
        except DivergedError:
            if run.best_weights:
                _write(run, "diverged")
            raise
        training = run.settings.training
        late = training.checkpoint_every and run.seconds >= training.checkpoint_every
        half = training.both_ways and not run.corpus.backward  # to go on from when the other half is cut short
        if stopped == "interrupted" or late or half:
            checkpoints.save(run)
        return _write(run, stopped)


# --- the loop ------------------------------------------------------------------------------------------------------


def _learn(run: Run) -> str:
    """Learn until something says stop; returns what."""
    model, feed = run.model, run.feed
    parameters, noise, ending = run.optimizer.parameters, torch.Generator(model.device), ""
    while not ending:
        training = run.settings.training  # its rate may be chosen again
        inputs, targets = (
            torch.from_numpy(part).to(model.device) for part in feed.batch(run.step)
        )  # (B, T), (B, T) or (B, 1)
        state = run.state if feed.carried else model.initial_state(len(inputs))
        noise.manual_seed(_mixed(training.seed, run.step))
        with precision.autocast(run.precision, model.device.type):
            hidden, plain, state = model(inputs, state, noise)
            nats, hits = model.judge(hidden, targets, noise)
        mean = nats.mean()
        gradients = gradients_of(mean, parameters, also=_penalties(training, hidden, plain))
        loss, length, lr = mean.item(), clip(gradients, training.clip), _rate(training, run.progress)
        if not (math.isfinite(loss) and math.isfinite(length)):
            raise DivergedError(
                f"the loss became {loss} at step {run.step:,} with learning rate {lr:.2g}: "
                f"try --set training.lr={lr / 3:.1g}"
            )
        with torch.no_grad():
            run.optimizer.step(gradients, lr)
            run.average()
        run.state = _carried(state, model.initial_state(len(inputs)), training.reset or 0.0, noise)
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
        if run.by_pace or run.forecast is None:
            _look_ahead(run)
        if ending != "interrupted" and (ending or _is_due(run)):
            with run.averaging():
                ending = _evaluate(run, lr) or ending
        if not ending and training.checkpoint_every and run.seconds - run.saved_at >= training.checkpoint_every:
            checkpoints.save(run)
    return ending


def _look_ahead(run: Run) -> None:
    """Once its pace is known: choose again what hangs on it, and say what this will come to; not of a text by heart."""
    if run.corpus.by_heart:
        return
    if run.baseline and run.baseline.is_fitting:  # beside it learning is slower than it will be
        run.learning_from = (run.progress, run.epochs)
        return
    progress, epochs = run.learning_from
    share = (run.progress - progress) / max(1 - progress, 1e-9)
    if share < EARLY:
        return
    epochs += (run.epochs - epochs) / share
    if run.by_pace:
        run.settings = recipe.settle(run.settings, assembly.facts_of(run.corpus), epochs, run.by_pace)
        run.model.config = run.settings.model
        run.by_pace.clear()
    bits = run.baseline.bits_per_byte if run.baseline else None
    if bits is not None:
        run.forecast = forecast(bits, epochs, run.corpus.train.tokens)
        run.say(Foretold(forecast=run.forecast, epochs=epochs, dropout=run.settings.model.dropout or 0.0))


def _carried(state: State, fresh: State, reset: float, noise: torch.Generator) -> State:
    """What the next step begins with: the state, or for a share of the lanes a fresh one.

    A network that never began anew while it learned foretells badly for thousands of units when it does.
    """
    carried = tuple(memory.detach().float() for memory in state)
    if not reset:
        return carried
    kept = torch.empty(len(carried[0]), 1, device=noise.device).bernoulli_(1 - reset, generator=noise).bool()  # (B, 1)
    return tuple(torch.where(kept, memory, new) for memory, new in zip(carried, fresh, strict=True))


def _penalties(training: TrainingConfig, dropped: Tensor, plain: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Gradients by which the hidden states of the last layer, after and before dropout, are penalised: (B, T, H) twice.

    What is added to the loss is `penalty_activation` times the mean square of the first, and `penalty_slope` times the
    mean square of how the second change from moment to moment. Only the gradients are computed, for nobody reads the
    sum. Source: Merity, McCann and Socher 2017 (activation regularization, the same over time).
    """
    found: list[tuple[Tensor, Tensor]] = []
    dropped_now, plain_now = dropped.detach(), plain.detach()
    if training.penalty_activation and dropped.requires_grad:
        found.append((dropped, dropped_now * (2 * training.penalty_activation / dropped.numel())))
    if training.penalty_slope and plain.requires_grad and plain.shape[1] > 1:
        changes = functional.pad(plain_now.diff(dim=1), (0, 0, 1, 1))  # (B, T+1, H) nothing before and after
        share = 2 * training.penalty_slope / plain_now[:, 1:].numel()
        found.append((plain, (changes[:, :-1] - changes[:, 1:]) * share))
    return found


def _advance(run: Run) -> str:
    """Move `progress` on by whichever limit is nearest; the name of a limit that is reached, or nothing."""
    training = run.settings.training
    shares: dict[str, float] = {}
    if run.limit is not None:
        shares["time"] = (run.seconds - run.ready) / max(run.limit - run.reserve - run.ready, 0.1)
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
    """Learning rate at a share of the run: up in a straight line, then down as `training.decay` says.

    Source of "wsd" (warmup, stable, decay): Hu et al. 2024, arXiv:2404.06395.

    >>> [round(_rate(TrainingConfig(lr=1.0, warmup=0.5), share), 2) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [0.05, 0.5, 1.0, 0.5, 0.0]
    """
    top = training.lr or 0.0
    if progress < training.warmup:
        return top * max(progress / training.warmup, 0.05)
    if training.decay == "none" or training.warmup >= 1:
        return top
    rest = (progress - training.warmup) / (1 - training.warmup)
    if training.decay == "cosine":
        return top * (1 + math.cos(math.pi * rest)) / 2
    # A run that stays at its highest rate until progress 1 - COOLDOWN falls to zero in a line from there.
    return top * (1 - rest if training.decay == "linear" else min(1.0, (1 - progress) / COOLDOWN))


def _is_falling(training: TrainingConfig, progress: float) -> bool:
    """Whether the rate no longer stands at its highest: a fall mends what looked learned by heart before it."""
    return training.decay != "wsd" or progress > 1 - COOLDOWN


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
    figure, measured_in = loss, 0.0
    if run.corpus.by_heart:
        right, total, best_possible = run.known()
        accuracy = right / total
        figure, ending = -accuracy, "learned" if right >= best_possible else ""
    elif run.check is not None:
        held_out = run.measured(run.check)
        figure, measured_in = held_out.bits_per_byte, run.seconds - began
    is_best = figure < run.best
    run.since_best = 0 if is_best else run.since_best + 1
    if is_best:
        run.best = figure
        run.best_weights = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
        run.best_measure = held_out if run.check is run.corpus.held_out else None
    elif held_out and training.patience and run.since_best >= training.patience and _is_falling(training, run.progress):
        ending = "early"
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
    run.keep_back(measured_in)
    return ending


def _write(run: Run, stopped: str) -> Outcome:
    """Measure the best weights on all held-out stories and write the model folder."""
    if run.best_weights:
        run.model.load_state_dict(run.best_weights)
    elif run.averages:
        run.model.load_state_dict(run.averages, strict=False)
    held_out = run.best_measure or (run.measured(run.corpus.held_out) if run.corpus.held_out else None)
    accuracy = float(np.mean(run.hits))
    if run.corpus.by_heart:
        right, total, _ = run.known()
        accuracy = right / total
    looked_back, before = None, None
    if run.past:
        looked_back, before = run.measured(run.past.stories).bits_per_byte, run.past.bits_per_byte
    limit = run.limit
    patience = None if limit is None else max(0.0, limit - run.seconds)
    beside = run.baseline.beside(held_out, patience) if run.baseline else Beside()
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
        "forecast_bits_per_byte": run.forecast.to_json() if run.forecast else None,
        "epochs": round(run.epochs, 3),
        "units": run.corpus.train.tokens,
        "digest": run.corpus.digest,
        "from_model": run.settings.training.from_model,
        "old_held_out_bits_per_byte": looked_back,
        "old_held_out_bits_per_byte_before": before,
        "parameters": run.parameters,
        "backward": run.corpus.backward,
    }
    weights = arrays(run.model.state_dict())
    about["int8_cost"] = run.rounding_cost(weights)
    folder.write_model(
        run.out,
        settings=run.settings,
        tokenizer=run.corpus.tokenizer,
        weights=weights,
        about=about,
        card=card.write_card(about, run.settings),
        index=run.source.index() if run.source else None,
    )
    run.say(Finished(step=run.step, weights=weights))
    return Outcome(
        folder=run.out, seconds=run.seconds, steps=run.step, train_accuracy=accuracy, held_out=held_out,
        baseline=beside.baseline_bits_per_byte, mixture=beside.mixture_bits_per_byte,
        mixture_weight=beside.mixture_weight, stopped=stopped, forecast=run.forecast,
        epochs=run.epochs, old_held_out=looked_back, old_held_out_before=before, int8_cost=about["int8_cost"],
    )  # fmt: skip


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
