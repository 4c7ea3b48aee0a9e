"""A run to a checkpoint and back: which of its parts are kept so that it goes on exactly; writes no files itself.

Kept: the network, its best weights and what they measured, averages, optimiser, carried state, every counter, the time
used, and how far the logs reach. Made anew, as functions of the settings and the text: the order of the text and the
masks of dropout (of seed and step), the rate (of the progress), the n-gram model and the index beside it.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch

from fabula import folder, precision
from fabula.config import SECTIONS
from fabula.corpus import Part
from fabula.evaluation import Counts, Measure
from fabula.events import Saved, Warned
from fabula.forecast import Forecast
from fabula.inheritance import Past, cut
from fabula.precision import Scaling
from fabula.run import Run, arrays
from fabula.streams import Held, join

COUNTERS = (
    "since_best", "losses", "hits", "tokens", "reserve", "ready", "by_pace", "evaluations", "judged", "lr",
    "measuring", "evaluated_at", "kept",
)  # fmt: skip
"""Numbers and lists that are kept as they are."""

OF_THE_PLAN = ("progress", "ending")
"""Kept as well, but only for a run that goes on with the limits it was begun with."""

LIMITS = ("time", "steps", "epochs", "evaluations", "patience")


def save(run: Run) -> bool:
    """Write all that is needed to go on; a disk that refuses is said, not fatal. Errors: DivergedError.

    Of several processes all must call it, and the first writes the state of all lanes, so that any number of processes
    which can share them goes on.
    """
    tensors = {f"model.{name}": tensor for name, tensor in run.model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in run.best_weights.items()}
    tensors |= {f"average.{name}": tensor for name, tensor in run.averages.items()}
    tensors |= {f"carried.{number}": run.team.together(memory) for number, memory in enumerate(run.state)}
    for slot, values in run.optimizer.state.items():
        tensors |= {f"optimizer.{slot}.{number}": value for number, value in enumerate(values)}
    state = {
        "settings": {name: dataclasses.asdict(getattr(run.settings, name)) for name in SECTIONS},
        "tokenizer": run.corpus.tokenizer.to_json(),
        "digest": run.corpus.digest,
        "backward": run.corpus.backward,
        "seconds": run.seconds,
        "precision": run.precision,
        "scaling": dataclasses.asdict(run.scaling),
        "processes": run.team.size,
        "best": run.best if math.isfinite(run.best) else None,
        "forecast": dataclasses.asdict(run.forecast) if run.forecast else None,
        **{name: getattr(run, name) for name in (*COUNTERS, *OF_THE_PLAN)},
    }
    if run.best_measure:
        tensors["best_costs"] = torch.from_numpy(run.best_measure.costs.astype(np.float32))
        figures = ("nats", "tokens", "correct", "bytes", "chars", "words")
        state["best_measure"] = {name: getattr(run.best_measure, name) for name in figures}
    if run.past:
        units = join(run.past.stories.streams, run.corpus.tokenizer.end).astype(np.int64)
        tensors["past"] = torch.from_numpy(units)
        state["past"] = {
            "bits_per_byte": run.past.bits_per_byte,
            "seconds": run.past.seconds,
            "counts": dataclasses.asdict(run.past.stories.counts),
        }
    run.saved_at = run.seconds
    if not run.team.is_first:
        return True
    try:
        state["logs"] = folder.log_lengths(run.out)
        folder.write_checkpoint(run.out, folder.Checkpoint(run.step, arrays(tensors), state))
    except (OSError, MemoryError) as error:
        why = getattr(error, "strerror", None) or str(error) or "not enough memory"
        then = "" if run.stop else ": learning goes on, and so do the tries"
        run.say(Warned(message=f"could not save step {run.step:,} ({why}){then}"))
        return False
    run.say(Saved(step=run.step))
    return True


def restore(run: Run, saved: folder.Checkpoint) -> None:
    """Put a freshly assembled run to where its checkpoint stands."""
    tensors = {name: torch.from_numpy(array.copy()).to(run.model.device) for name, array in saved.tensors.items()}

    def under(prefix: str) -> dict[str, torch.Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    run.model.load_state_dict(under("model."))
    run.best_weights = under("best.")
    run.averages = under("average.") if run.settings.training.averaging else {}
    run.state = tuple(run.team.own(tensors[f"carried.{number}"]) for number in range(len(run.state)))
    for slot, values in run.optimizer.state.items():
        for number, value in enumerate(values):
            value.copy_(tensors[f"optimizer.{slot}.{number}"])
    begun_with = saved.state["settings"]["training"]
    is_same = all(begun_with[name] == getattr(run.settings.training, name) for name in LIMITS)
    for name in (*COUNTERS, *(OF_THE_PLAN if is_same else ())):
        if name in saved.state:  # an older version knew fewer
            setattr(run, name, saved.state[name])
    form = saved.state.get("precision", run.precision)
    if precision.has(form, run.settings.model.hidden or 0, run.model.device.type):
        run.precision = form
    else:
        run.say(Warned(message=f"it learned in {form}, which this machine has not: it goes on in {run.precision}"))
    if foretold := saved.state.get("forecast"):
        run.forecast = Forecast(**foretold)
    if figures := saved.state.get("best_measure"):
        run.best_measure = Measure(**figures, costs=saved.tensors["best_costs"])
    if past := saved.state.get("past"):
        stories = cut(saved.tensors["past"].astype(np.int32), run.corpus.tokenizer.end)
        part = Part(Held(stories), Counts(**past["counts"]))
        run.past = Past(stories=part, bits_per_byte=past["bits_per_byte"], seconds=past["seconds"])
    run.step = saved.step
    run.scaling = Scaling(**saved.state.get("scaling", {}))
    run.best = math.inf if saved.state["best"] is None else saved.state["best"]
    run.begun -= saved.state["seconds"]
    run.meet()
