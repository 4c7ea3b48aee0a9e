"""A run to a checkpoint and back: which of its parts are kept so that it goes on exactly; writes no files itself."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch

from fabula import folder
from fabula.config import SECTIONS
from fabula.corpus import Part
from fabula.evaluation import Counts
from fabula.events import Saved, Warned
from fabula.inheritance import Past, cut
from fabula.run import Run, arrays
from fabula.streams import join

COUNTERS = ("since_best", "losses", "hits", "tokens", "reserve", "ready", "precision", "by_pace")


def save(run: Run) -> None:
    """Write all that is needed to go on; a full disk is said, not fatal."""
    tensors = {f"model.{name}": tensor for name, tensor in run.model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in run.best_weights.items()}
    tensors |= {f"average.{name}": tensor for name, tensor in run.averages.items()}
    tensors |= {f"carried.{number}": memory for number, memory in enumerate(run.state)}
    for slot, values in run.optimizer.state.items():
        tensors |= {f"optimizer.{slot}.{number}": value for number, value in enumerate(values)}
    state = {
        "settings": {name: dataclasses.asdict(getattr(run.settings, name)) for name in SECTIONS},
        "tokenizer": run.corpus.tokenizer.to_json(),
        "digest": run.corpus.digest,
        "backward": run.corpus.backward,
        "seconds": run.seconds,
        "best": run.best if math.isfinite(run.best) else None,
        **{name: getattr(run, name) for name in COUNTERS},
    }
    if run.past:
        units = join(run.past.stories.streams, run.corpus.tokenizer.end).astype(np.int64)
        tensors["past"] = torch.from_numpy(units)
        state["past"] = {
            "bits_per_byte": run.past.bits_per_byte,
            "seconds": run.past.seconds,
            "counts": dataclasses.asdict(run.past.stories.counts),
        }
    try:
        folder.write_checkpoint(run.out, folder.Checkpoint(run.step, arrays(tensors), state))
    except OSError as error:
        run.say(Warned(message=f"could not save step {run.step:,} ({error.strerror}): learning goes on"))
    else:
        run.say(Saved(step=run.step))
    run.saved_at = run.seconds


def restore(run: Run, saved: folder.Checkpoint) -> None:
    """Put a freshly assembled run to where its checkpoint stands."""
    tensors = {name: torch.from_numpy(array.copy()).to(run.model.device) for name, array in saved.tensors.items()}

    def under(prefix: str) -> dict[str, torch.Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    run.model.load_state_dict(under("model."))
    run.best_weights = under("best.")
    run.averages = under("average.") if run.settings.training.averaging else {}
    run.state = tuple(tensors[f"carried.{number}"] for number in range(len(run.state)))
    for slot, values in run.optimizer.state.items():
        for number, value in enumerate(values):
            value.copy_(tensors[f"optimizer.{slot}.{number}"])
    for name in COUNTERS:
        setattr(run, name, saved.state[name])
    if past := saved.state.get("past"):
        stories = cut(saved.tensors["past"].astype(np.int32), run.corpus.tokenizer.end)
        part = Part(stories, Counts(**past["counts"]))
        run.past = Past(stories=part, bits_per_byte=past["bits_per_byte"], seconds=past["seconds"])
    run.step = saved.step
    run.best = math.inf if saved.state["best"] is None else saved.state["best"]
    run.begun -= saved.state["seconds"]
