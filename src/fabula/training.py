"""Learning: corpus and settings in, model folder out; it tells no stories and prints nothing (see events).

The loop is `_learn`; how a run is put together stands in `assembly`, how it ends in `saving`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from fabula import assembly, checkpoints, distributed, folder, precision, processes, processor, recipe, saving, stopping
from fabula.baseline import Baseline
from fabula.cells import State
from fabula.config import Settings
from fabula.corpus import Corpus
from fabula.errors import DivergedError
from fabula.events import Began, Evaluated, Foretold, Listener, Stepped
from fabula.forecast import forecast
from fabula.inheritance import Ancestor
from fabula.model import Noise
from fabula.optimizers import Rows, clip, pull, push
from fabula.outcome import Outcome
from fabula.penalties import penalties
from fabula.run import Interruption, Run, arrays
from fabula.schedule import is_falling, rate
from fabula.source import Source

EARLY = 0.04
"""Share of the learning after which its speed is known well enough to foretell its end."""

FIRST = 1
"""Steps that say nothing of the speed: much is made ready in them that is there ever after."""


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
    team = distributed.team(processor.device(settings.training.device))
    with team.answering():
        if team.is_first:
            folder.check_claim(out, force=force)
        run = assembly.begin(
            corpus, out, settings, size=size, ancestor=ancestor, listeners=listeners, begun=begun, team=team
        )
        if not team.is_first:
            return _carry_out(run)
        with folder.held(out):
            folder.claim(out, force=force, job=processes.job())
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
    team = distributed.team(processor.device(settings.training.device))
    with team.answering(), folder.held(out) if team.is_first else nullcontext():
        run = assembly.again(corpus, out, settings, saved, listeners=listeners, begun=begun, team=team)
        _advance(run)
        # No more measurements than this are behind it where the limits have moved.
        run.evaluations = min(run.evaluations, int(run.progress * settings.training.evaluations))
        for name in folder.rewind_logs(out, saved.state.get("logs", {})) if team.is_first else ():
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
    run.evaluated_at = run.evaluated_at or run.seconds
    run.ready = run.ready or run.seconds
    run.learning_from = (run.progress, run.epochs)
    if run.team.is_first:
        run.baseline = Baseline(run.corpus)
        run.source = None if run.corpus.backward else Source(run.corpus)
    run.meet()
    run.saved_at = run.seconds
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
    """A signal asks to stop: after this step; a second one at once.

    One of several processes hears each signal twice, from the terminal and from what started it, which does not wait
    for ever: there no signal is too many.
    """
    if run.team.size > 1:
        run.heard = number
        return
    if run.stop:
        raise stopping.Stopped(number)
    run.stop = number


# --- the loop ------------------------------------------------------------------------------------------------------


def _learn(run: Run) -> str:
    """Learn until something says stop; returns what."""
    generator = torch.Generator(run.model.device)
    ending = _follow(run) if run.step else ""  # it may have been stopped before what follows a step
    while not ending:
        training = run.settings.training  # its rate may be chosen again
        loss, hits, units = _look(run, generator)
        gradients = run.team.reduce_sparse(pull(run.optimizer.parameters))
        length = clip(gradients, training.clip, scaled=run.scaling.factor if run.precision == "fp16" else 1.0)
        loss, hits = run.meet(loss, hits)
        run.lr = rate(training, run.progress)
        sound = math.isfinite(length)
        if not (math.isfinite(loss) and (sound or (run.precision == "fp16" and run.scaling.factor > 1))):
            raise run.diverged(f"the loss became {loss}")
        run.scaling.hear(finite=sound)
        with torch.no_grad():
            if sound:
                run.optimizer.step(gradients, run.lr)
            run.average()
        run.step += 1
        run.tokens += units * run.team.size
        run.losses.append(loss)
        run.hits.append(hits)
        limit = _advance(run)
        run.say(
            Stepped(
                step=run.step,
                progress=run.progress,
                loss=loss,
                accuracy=run.hits[-1],
                lr=run.lr,
                gradient=length,
                tokens=units * run.team.size,
                seconds=run.seconds,
            )
        )
        ending = _follow(run, limit)
        steps, seconds = training.rhythm
        if not ending and ((steps and run.step % steps == 0) or 0 < seconds <= run.seconds - run.saved_at):
            run.expect_numbers()
            checkpoints.save(run)
    return ending


def _look(run: Run, generator: torch.Generator) -> tuple[float, float, int]:
    """Read what comes next, and push the gradients; mean nats and hits, and how many units it was, of this process.

    The lanes may be computed in parts, and by several processes: together they are the batch of one.
    """
    model, training, carried = run.model, run.settings.training, run.feed.carried
    inputs, targets = (processor.moved(part, model.device) for part in run.feed.batch(run.step))  # (B, T) and its like
    before = run.state if carried else model.initial_state(len(inputs))
    parts, after, gathered = training.accumulate, list[State](), Rows(run.optimizer.parameters)
    loss, right, each = 0.0, 0.0, len(inputs) // parts
    for number in range(parts):
        rows = slice(number * each, (number + 1) * each)
        generator.manual_seed(_mixed(training.seed, run.step))
        noise = Noise(generator, run.team.rank * parts + number, run.team.size * parts)
        with precision.autocast(run.precision, model.device.type):
            nats, hits, hidden, plain, state = run.learner(
                inputs[rows], targets[rows], tuple(memory[rows] for memory in before), noise
            )
        mean, scale = nats.mean() / parts, run.scaling.factor if run.precision == "fp16" else 1.0
        with run.team.gathering(run.learner, is_last=number == parts - 1):
            alone = run.optimizer.parameters if parts == run.team.size == 1 else None
            push(mean * scale, also=penalties(training, hidden, plain, scale / parts), alone=alone)
        if parts > 1:
            gathered.take()
        loss, right = loss + mean.item(), right + hits.float().mean().item() / parts
        after.append(_carried(state, model.initial_state(each), training.reset or 0.0, noise))
    gathered.give()
    run.state = tuple(torch.cat(memories) for memories in zip(*after, strict=True)) if parts > 1 else after[0]
    return loss, right, targets.numel()


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
        if run.baseline and run.team.size == 1:
            run.baseline.wait(until=lambda: not run.is_wanted)
        if run.stop:
            raise Interruption
        epochs = min((training.steps or math.inf) / run.feed.steps_per_epoch, training.epochs or math.inf)
    else:
        if run.is_fitting or run.step <= FIRST:  # beside it learning is slower than it will be
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


def _carried(state: State, fresh: State, reset: float, noise: Noise) -> State:
    """What the next step begins with: the state, or for a share of the lanes a fresh one.

    A network that never began anew while it learned foretells badly for thousands of units when it does.
    """
    carried = tuple(memory.detach().float() for memory in state)
    if not reset:
        return carried
    kept = noise.lanes_but(reset, len(carried[0]))  # (B, 1)
    return tuple(torch.where(kept, memory, new) for memory, new in zip(carried, fresh, strict=True))


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
        run.meet()
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
    elif held_out and training.patience and run.since_best >= training.patience and is_falling(training, run.progress):
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
    run.meet()
    run.judged = run.step
    run.losses, run.hits, run.tokens, run.evaluated_at = run.losses[-1:], run.hits[-1:], 0, run.seconds
    run.measuring = run.seconds - began
    run.keep_back(measured_in)
    return ending
