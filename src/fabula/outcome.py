"""What a training came to, for people and programs; knows no network and no folder inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabula.evaluation import Measure
from fabula.forecast import Forecast


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
    epochs: float
    """Times the text was read."""
    stopped: str
    """time, steps, epochs, learned (by heart), early (no more gain), or interrupted."""
    forecast: Forecast | None = None
    """What was foretold of `held_out` early on."""
    mixture: float | None = None
    """Bits per byte of both mixed, each half of the predictions judged with the weight that fits the other."""
    mixture_weight: float | None = None
    """The network's weight that fits all of them."""
    old_held_out: float | None = None
    old_held_out_before: float | None = None
    """Bits per byte for stories that the model it started from had kept aside: of this model, and of that one."""

    int8_cost: float | None = None
    """Share by which writing in whole numbers raises the cost of held-out text; None where it is not worth trying."""
    processes: int = 1
    """How many learned together."""
    signal: int = 0
    """Number of the signal that interrupted it."""
    backward: Outcome | None = None
    """What the model came to that reads every story from its end, where one was trained."""

    @property
    def interrupted(self) -> bool:
        """Whether it may be gone on with."""
        return self.stopped == "interrupted" or (self.backward is not None and self.backward.interrupted)

    @property
    def stopped_by(self) -> int:
        """Number of the signal that interrupted it, or the model inside; 0 for none."""
        return self.signal or (self.backward.stopped_by if self.backward else 0)

    def to_json(self) -> dict[str, Any]:
        """What `fabula train --json` prints; of two models the one that reads forwards, and the other inside."""
        both = {"backward": self.backward.to_json()} if self.backward else {}
        return {
            "folder": str(self.folder),
            "seconds": round(self.seconds, 3),
            "steps": self.steps,
            "train_accuracy": round(self.train_accuracy, 5),
            "held_out_bits_per_byte": round(self.held_out.bits_per_byte, 5) if self.held_out else None,
            "baseline_bits_per_byte": round(self.baseline, 5) if self.baseline else None,
            "forecast_bits_per_byte": self.forecast.to_json() if self.forecast else None,
            "epochs": round(self.epochs, 3),
            "mixture_bits_per_byte": _rounded(self.mixture),
            "mixture_weight": _rounded(self.mixture_weight),
            "old_held_out_bits_per_byte": _rounded(self.old_held_out),
            "old_held_out_bits_per_byte_before": _rounded(self.old_held_out_before),
            "int8_cost": _rounded(self.int8_cost),
            "stopped": self.stopped,
            "processes": self.processes,
            **both,
        }


def recorded(folder: Path, about: Mapping[str, Any], seconds: float) -> Outcome:
    """What a training came to that ended earlier, as its model folder says; `seconds` is what it took."""
    told = about["forecast_bits_per_byte"]
    return Outcome(
        folder=folder, seconds=seconds, steps=about["steps"], train_accuracy=about["train_accuracy"],
        held_out=Measure.from_json(about["held_out"]) if about["held_out"] else None,
        baseline=about["baseline_bits_per_byte"], mixture=about["mixture_bits_per_byte"],
        mixture_weight=about["mixture_weight"], stopped=about["stopped"],
        forecast=Forecast(bits_per_byte=told[1], low=told[0], high=told[2]) if told else None, epochs=about["epochs"],
        old_held_out=about["old_held_out_bits_per_byte"],
        old_held_out_before=about["old_held_out_bits_per_byte_before"],
    )  # fmt: skip


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 5)
