"""What a training says while it runs; whoever wants to show, write down or draw it listens. Knows nobody's answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabula.config import Settings
from fabula.evaluation import Measure
from fabula.forecast import Forecast
from fabula.tokens import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Began:
    """Everything is chosen; the first step comes next."""

    folder: Path
    settings: Settings
    tokenizer: Tokenizer
    parameters: int
    precision: str
    notes: tuple[str, ...]
    opening: str
    step: int
    """0, or where an earlier run stopped."""
    backward: bool = False
    """Every story is read from its end to its beginning ..."""
    closing: str = ""
    """... and ends, when told on the way, with these words."""


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """One update of the weights."""

    step: int
    progress: float
    """0 .. 1 of the run; it may end before 1."""
    loss: float
    """Nats a unit, of this step's batch."""
    accuracy: float
    lr: float
    gradient: float
    """Length of the gradient before clipping."""
    tokens: int
    """Units learned from in this step."""
    seconds: float
    """Since the start of the program."""


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A measurement on the way; `weights()` copies the network as it is."""

    step: int
    progress: float
    loss: float
    accuracy: float
    """Running averages over the training text since the last measurement; exact when learned by heart."""
    held_out: Measure | None
    best: bool
    tokens_per_second: float
    lr: float
    seconds: float
    weights: Callable[[], Mapping[str, NDArray[np.float32]]]

    def to_json(self) -> dict[str, Any]:
        """One line of metrics.jsonl."""
        return {
            "step": self.step,
            "progress": round(self.progress, 4),
            "seconds": round(self.seconds, 3),
            "train_loss": round(self.loss, 5),
            "train_accuracy": round(self.accuracy, 5),
            "held_out_bits_per_byte": round(self.held_out.bits_per_byte, 5) if self.held_out else None,
            "held_out_accuracy": round(self.held_out.accuracy, 5) if self.held_out else None,
            "tokens_per_second": round(self.tokens_per_second, 1),
            "lr": self.lr,
        }


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """What the training will come to, as far as one can say early on."""

    forecast: Forecast
    epochs: float
    """Times that the text will have been read by then."""
    dropout: float = 0.0
    """What suits that."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A checkpoint lies on the disk."""

    step: int


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something went wrong that the training survives."""

    message: str


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The model folder is complete; `weights` are the ones in it."""

    step: int
    weights: Mapping[str, NDArray[np.float32]]


Event = Began | Stepped | Evaluated | Foretold | Saved | Warned | Finished
Listener = Callable[[Event], None]
