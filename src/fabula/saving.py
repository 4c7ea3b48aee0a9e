"""How a run ends: its best weights are measured on all that was kept aside, and the model folder is written."""

from __future__ import annotations

import dataclasses
import math
from contextlib import nullcontext, suppress

import numpy as np

from fabula import card, checkpoints, folder
from fabula.baseline import Beside
from fabula.corpus import Part
from fabula.errors import SavingError
from fabula.evaluation import Measure
from fabula.events import Finished, Warned
from fabula.outcome import Outcome
from fabula.run import Interruption, Run, arrays


def leave(run: Run) -> Outcome:
    """Save where it stands and write what it knows by now, quickly; errors: SavingError."""
    run.expect_numbers()
    if not checkpoints.save(run):
        last = folder.latest_step(run.out)
        then = f"; fabula train --resume {str(run.out)!r} goes on from {last}" if last else ""
        raise SavingError(f"stopped, but step {run.step:,} could not be saved: make room in {str(run.out)!r}{then}")
    run.hurry()
    return write(run, "interrupted")


def write(run: Run, stopped: str) -> Outcome:
    """Measure the best weights on all held-out stories and write the model folder; leaves the run as it was.

    Errors: Interruption while nothing is written yet; SavingError, and what lay there before is untouched.
    """
    with run.finest():
        return _written(run, stopped)


def _written(run: Run, stopped: str) -> Outcome:
    kept = run.corpus.held_out
    held_out = run.best_measure or (_judged(run, kept) if kept else None)
    accuracy = float(np.mean(run.hits)) if run.hits else 0.0
    if run.corpus.by_heart:
        with suppress(Interruption) if run.stop else nullcontext():
            right, total, _ = run.known()
            accuracy = right / total
    looked_back, before = None, None
    if run.past:
        found = _judged(run, run.past.stories)
        looked_back, before = found.bits_per_byte if found else None, run.past.bits_per_byte
    if not run.team.is_first:
        return _outcome(run, stopped, accuracy, held_out, looked_back=looked_back, before=before)
    limit = run.limit

    def patience() -> float | None:
        """Seconds that what was made beside the training may still take; None for no limit."""
        if stopped == "interrupted":
            return 0.0
        return None if limit is None else max(0.0, limit - run.lasted - run.saving)

    def has_no_time() -> bool:
        return not run.is_wanted or (run.team.size > 1 and bool(run.heard))

    beside = run.baseline.beside(held_out, patience(), has_no_time) if run.baseline else Beside()
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
    about["int8_cost"] = None if stopped == "interrupted" else run.rounding_cost(weights)
    left = None if stopped == "interrupted" else patience()
    index = run.source.index(left, until=has_no_time) if run.source else None
    if index is None and run.source and run.source.is_indexing and stopped != "interrupted":
        run.say(
            Warned(message="its text was not indexed in time, so stories cannot say what they copied: give more time")
        )
    if run.stop and stopped != "interrupted" and run.team.size == 1:
        raise Interruption
    try:
        folder.write_model(
            run.out,
            settings=run.settings,
            tokenizer=run.corpus.tokenizer,
            weights=weights,
            about=about,
            card=card.write_card(about, run.settings),
            index=index,
        )
    except OSError as error:
        why = error.strerror or str(error)
        goes_on = folder.latest_step(run.out) or checkpoints.save(run)
        then = f", then fabula train --resume {str(run.out)!r} goes on" if goes_on else ""
        raise SavingError(f"the model could not be written to {str(run.out)!r} ({why}): make room{then}") from None
    run.say(Finished(step=run.step, weights=weights))
    return _outcome(
        run, stopped, accuracy, held_out, looked_back=looked_back, before=before, beside=beside,
        int8_cost=about["int8_cost"],
    )  # fmt: skip


def _outcome(
    run: Run,
    stopped: str,
    accuracy: float,
    held_out: Measure | None,
    *,
    looked_back: float | None,
    before: float | None,
    beside: Beside = Beside(),  # noqa: B008 - it is frozen
    int8_cost: float | None = None,
) -> Outcome:
    """What the run came to; those that do not write know less of it."""
    return Outcome(
        folder=run.out, seconds=run.lasted, steps=run.step, train_accuracy=accuracy, held_out=held_out,
        baseline=beside.baseline_bits_per_byte, mixture=beside.mixture_bits_per_byte,
        mixture_weight=beside.mixture_weight, stopped=stopped, forecast=run.forecast,
        epochs=run.epochs, old_held_out=looked_back, old_held_out_before=before, int8_cost=int8_cost,
        signal=run.stop if stopped == "interrupted" else 0, processes=run.team.size,
    )  # fmt: skip


def _judged(run: Run, part: Part) -> Measure | None:
    """A measurement for the folder; None when somebody cannot wait for it. Errors: Interruption, DivergedError."""
    try:
        found = run.measured(part)
    except Interruption:
        if run.until == math.inf:
            raise
        return None
    if not math.isfinite(found.nats):
        raise run.diverged(f"the held-out figure became {found.bits_per_byte}")
    return found
