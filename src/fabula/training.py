"""Learning: corpus and settings in, model folder out; it tells no stories and prints nothing (see events).

The loop is `_learn`; how a run is put together stands in `assembly`, how it ends in `saving`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fabula import assembly, checkpoints, folder, precision, processor, recipe, saving, stopping
from fabula.baseline import Baseline
from fabula.cells import State
from fabula.config import Settings, TrainingConfig
from fabula.corpus import Corpus
from fabula.errors import DivergedError
from fabula.events import Began, Evaluated, Foretold, Listener, Stepped
from fabula.forecast import forecast
from fabula.inheritance import Ancestor
from fabula.optimizers import clip, gradients_of
from fabula.outcome import Outcome
from fabula.run import Interruption, Run, arrays
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

    Errors: UsageError, FolderError (the folder is in the way), DivergedError, SavingError. Ctrl-C, SIGTERM or SIGUSR1
    finishes the step, saves and returns an outcome whose `stopped` is "interrupted".
    """
    folder.check_claim(out, force=force)
    run = assembly.begin(corpus, out, settings, size=size, ancestor=ancestor, listeners=listeners, begun=begun)
    with folder.held(out):
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
    with folder.held(out):
        run = assembly.again(corpus, out, settings, saved, listeners=listeners, begun=begun)
        _advance(run)
        # No more measurements than this are behind it where the limits have moved.
        run.evaluations = min(run.evaluations, int(run.progress * settings.training.evaluations))
        for name in folder.rewind_logs(out, saved.state.get("logs", {})):
            run.corpus = replace(run.corpus, notes=(*run.corpus.notes, f"{name} has lost lines since it was saved"))
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
    run.saved_at = run.seconds
    run.evaluated_at = run.evaluated_at or run.seconds
    run.ready = run.ready or run.seconds
    run.learning_from = (run.progress, run.epochs)
    run.baseline = Baseline(run.corpus)
    run.source = None if run.corpus.backward else Source(run.corpus)
    with processor.ready(run.settings.training.threads), stopping.listening(partial(_note, run)):
        try:
            stopped = _learn(run)
            if stopped == "interrupted":
                return saving.leave(run)
            steps, seconds = run.settings.training.rhythm
            half = run.settings.training.both_ways and not run.corpus.backward  # the other may be cut short
            if half or 0 < steps <= run.step or 0 < seconds <= run.seconds:
                checkpoints.save(run)
            try:
                return saving.write(run, stopped)
            except Interruption:
                return saving.leave(run)
        except DivergedError:
            if run.best_weights:
                with suppress(Interruption):
                    saving.write(run, "diverged")
            raise


def _note(run: Run, number: int) -> None:
    """A signal asks to stop: after this step; a second one at once."""
    if run.stop:
        raise stopping.Stopped(number)
    run.stop = number


# --- the loop ------------------------------------------------------------------------------------------------------


def _learn(run: Run) -> str:
    """Learn until something says stop; returns what."""
    model, feed = run.model, run.feed
    parameters, noise = run.optimizer.parameters, torch.Generator(model.device)
    ending = _follow(run) if run.step else ""  # it may have been stopped before what follows a step
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
        loss, length = mean.item(), clip(gradients, training.clip)
        run.lr = _rate(training, run.progress)
        if not (math.isfinite(loss) and math.isfinite(length)):
            raise run.diverged(f"the loss became {loss}")
        with torch.no_grad():
            run.optimizer.step(gradients, run.lr)
            run.average()
        run.state = _carried(state, model.initial_state(len(inputs)), training.reset or 0.0, noise)
        run.step += 1
        run.tokens += targets.numel()
        run.losses.append(loss)
        run.hits.append(hits.float().mean().item())
        limit = _advance(run)
        run.say(
            Stepped(
                step=run.step,
                progress=run.progress,
                loss=loss,
                accuracy=run.hits[-1],
                lr=run.lr,
                gradient=length,
                tokens=targets.numel(),
                seconds=run.seconds,
            )
        )
        ending = _follow(run, limit)
        steps, seconds = training.rhythm
        if not ending and ((steps and run.step % steps == 0) or 0 < seconds <= run.seconds - run.saved_at):
            run.expect_numbers()
            checkpoints.save(run)
    return ending


def _follow(run: Run, limit: str | None = None) -> str:
    """What follows a step: look ahead, and measure when it is time; a reason to stop, or nothing."""
    limit = _advance(run) if limit is None else limit
    try:
        if run.stop:
            return "interrupted"
        if run.by_pace or run.forecast is None:
            _look_ahead(run)
        if run.judged != run.step and (limit or _is_due(run)):
            with run.averaging():
                run.ending = _evaluate(run)
    except Interruption:
        return "interrupted"
    return run.ending or limit


def _look_ahead(run: Run) -> None:
    """Once its pace is known: choose again what hangs on it, and say what this will come to; not of a text by heart."""
    if run.corpus.by_heart:
        return
    training = run.settings.training
    if training.time is None:  # a run that is counted says the same whatever the machine does meanwhile
        if run.progress < EARLY:
            return
        if run.baseline:
            run.baseline.wait(until=lambda: not run.is_wanted)
        if run.stop:
            raise Interruption
        epochs = min((training.steps or math.inf) / run.feed.steps_per_epoch, training.epochs or math.inf)
    else:
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


def _evaluate(run: Run) -> str:
    """Measure, keep the best weights, tell the listeners; a reason to stop, or nothing.

    Until it has measured, which `Interruption` may end, nothing has changed.
    """
    began, training, ending = run.seconds, run.settings.training, ""
    loss, accuracy, held_out = float(np.mean(run.losses)), float(np.mean(run.hits)), None
    figure, measured_in = loss, 0.0
    if run.corpus.by_heart:
        right, total, best_possible = run.known()
        accuracy = right / total
        figure, ending = -accuracy, "learned" if right >= best_possible else ""
    elif run.check is not None:
        held_out = run.measured(run.check)
        figure, measured_in = held_out.bits_per_byte, run.seconds - began
    if not math.isfinite(figure):
        raise run.diverged(f"the held-out figure became {figure}")
    run.expect_numbers()
    run.evaluations = max(run.evaluations, int(run.progress * training.evaluations))
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
            lr=run.lr,
            seconds=run.seconds,
            weights=lambda: arrays(run.model.state_dict()),
        )
    )
    run.judged = run.step
    run.losses, run.hits, run.tokens, run.evaluated_at = run.losses[-1:], run.hits[-1:], 0, run.seconds
    run.measuring = run.seconds - began
    run.keep_back(measured_in)
    return ending
