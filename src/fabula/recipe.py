"""The table behind the one dial: fills every setting that was not chosen, and says why; reads no text, trains nothing.

The figures come from the runs logged in docs/log.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from fabula import clusters
from fabula.config import SIZES, ModelConfig, Settings, TrainingConfig

T = TypeVar("T")

DEFAULT_SECONDS = 60.0
"""How long a training lasts when nothing is said."""

UNITS_PER_SECOND = 25_000.0
"""What one layer of 512 units with vectors of 256 learns on two cores with bf16, where it was not measured."""

SCORED = 2.5
"""What an output score costs beside a number of the layer: products with few rows are slower, and softmax is extra."""

WHOLE = 0.6
"""Speed of whole steps beside that of the layer alone, which is what was measured."""

RESET = 0.02
"""Chance that a lane forgets its state: about once in every 1,600 units, as a new story would make it."""

ONCE = 1.0
"""Epochs up to which vectors of pairs and triples of units help."""

LONG = 100_000
"""Units of a text from which they are worth their place in the model."""

BUCKETS = 32_768
"""Most vectors that those share."""

FEW = 1000
"""Below so many letters or bytes each is seen often and needs little room; words and Chinese share."""


LANES = (16, 32)
"""Lanes that are tried: more of them make a step more exact, fewer make more steps."""

WORTH = 1.2
"""How many times faster the more lanes must learn to be taken."""

MANY_LANES = 64
"""Lanes for whole words, whose steps over fewer are mostly overhead."""

WORDS = 20_000
"""Units from which a vocabulary is that of whole words of a large text."""

OFTEN = 285
"""How often a unit comes in the text, on average, that the dropout was first fitted to."""

BRIEF = 2500
"""Steps up to which the rate need not be lower."""

MANY = 4000
"""From so many units on, scoring each of them at every prediction costs more than all the rest of the network."""


@dataclass(frozen=True)
class Facts:
    """What the choice depends on."""

    predictions: int
    """Units to foretell in one reading, end marks included."""
    vocabulary: int
    unit: str
    by_heart: bool
    speeds: Mapping[int, float] = field(default_factory=dict)
    """Units a second that one such layer was seen to learn from here, by lanes (see `processor`)."""
    processes: int = 1
    """How many learn together: each takes as many lanes as one alone would."""


def choose(settings: Settings, facts: Facts, size: str | None = None) -> tuple[Settings, list[str]]:
    """Settings without gaps, and sentences on what was chosen."""
    shape, model = SIZES[size or "small"], settings.model
    fine = _is_fine(facts)
    hidden = model.hidden or shape["hidden"]
    embedding = model.embedding or _embedding(hidden, facts, fine)
    model = replace(
        model,
        layers=model.layers or shape["layers"],
        hidden=hidden,
        embedding=embedding,
        head=_head(facts, fine) if model.head == "auto" else model.head,
    )
    given = settings.training
    training = _by_heart(given, model, facts) if facts.by_heart else _at_length(given, facts, fine)
    assert training.batch
    assert training.length
    epochs = _epochs(training, model, facts)
    if training.lr is None:
        steps = epochs * facts.predictions / (training.batch * training.length)
        training = replace(training, lr=_rate(steps, training.batch, fine))
    silenced = 0.0 if facts.by_heart else _dropout(epochs, facts)
    # Vectors of pairs and triples help what is read once; what is read again they only help to learn by heart.
    enough = epochs <= ONCE and facts.predictions >= LONG and not facts.by_heart
    buckets = min(BUCKETS, facts.predictions // 16) if enough else 0
    model = replace(
        model,
        dropout=_or(model.dropout, silenced),
        ngrams=model.ngrams or 3,
        buckets=_or(model.buckets, buckets),
        forget_bias=_or(model.forget_bias, _forget_bias(facts, fine)),
    )
    why = "learned by heart" if facts.by_heart else f"{facts.predictions:,} {facts.unit} to learn from"
    said = [f"{model.layers} x {hidden} {model.cell.upper()}, {facts.vocabulary:,} {facts.unit} known: {why}"]
    if not facts.by_heart:
        times = f"{epochs:.1f} times" if epochs < 10 else f"{epochs:,.0f} times"
        said.append(f"time to read it about {times}: dropout {model.dropout:g}")
    return replace(settings, model=model, training=training), said


def chosen_by_pace(settings: Settings) -> tuple[str, ...]:
    """Which settings, left open here, hang on how often the text will be read, which only learning shows exactly."""
    if seconds(settings.training) is None:
        return ()
    given = {"lr": settings.training.lr, "dropout": settings.model.dropout}
    return tuple(name for name, value in given.items() if value is None)


def settle(settings: Settings, facts: Facts, epochs: float, names: Sequence[str]) -> Settings:
    """Choose those settings anew, now that it is known how often the text will be read."""
    training, model = settings.training, settings.model
    assert training.batch
    assert training.length
    if "lr" in names:
        steps = epochs * facts.predictions / (training.batch * training.length)
        training = replace(training, lr=_rate(steps, training.batch, _is_fine(facts)))
    if "dropout" in names:
        model = replace(model, dropout=_dropout(epochs, facts))
    return replace(settings, training=training, model=model)


def _is_fine(facts: Facts) -> bool:
    """Letters and bytes of which there are few."""
    return facts.vocabulary < FEW and facts.unit in {"chars", "bytes"}


def _embedding(hidden: int, facts: Facts, fine: bool) -> int:
    """Width of the word vectors: letters need little, and few subwords are scored so cheaply that they may be wide.

    >>> shakespeare = Facts(predictions=516_000, vocabulary=499, unit="subwords", by_heart=False)
    >>> _embedding(512, shakespeare, fine=False), _embedding(512, replace(shakespeare, vocabulary=8000), fine=False)
    (512, 256)
    """
    if facts.by_heart:
        return hidden
    return 64 if fine else hidden if facts.vocabulary < FEW else min(256, hidden)


def _head(facts: Facts, fine: bool) -> str:
    """The output layer for a vocabulary."""
    if fine or facts.by_heart:
        return "full"
    return "adaptive" if facts.vocabulary >= MANY else "tied"


def seconds(training: TrainingConfig) -> float | None:
    """How long will be learned; None where something else ends it sooner."""
    return None if _limited(training) else each(training, training.time or DEFAULT_SECONDS)


def each(training: TrainingConfig, time: float) -> float:
    """What a time limit leaves to each of the models that share it."""
    return time / 2 if training.both_ways else time


def _whole(training: TrainingConfig) -> float | None:
    """The time limit of all that is learned."""
    return training.time if _limited(training) else training.time or DEFAULT_SECONDS


def _limited(training: TrainingConfig) -> bool:
    return training.steps is not None or training.epochs is not None


def _forget_bias(facts: Facts, fine: bool) -> float:
    """The smaller the units, the more of them a memory that starts open gathers before it has learned what to keep."""
    if facts.by_heart:
        return 1.0
    return -1.0 if fine else 0.0 if facts.vocabulary < FEW else 1.0


def _at_length(training: TrainingConfig, facts: Facts, fine: bool) -> TrainingConfig:
    """Many small steps: they win on every text we measured, as long as there is time for an hour or less."""
    return replace(
        training,
        time=_whole(training),
        batch=training.batch or (32 if fine else _lanes(facts)) * facts.processes * training.accumulate,
        length=training.length or (48 if fine else 32),
        reset=_or(training.reset, RESET),
        penalty_activation=_or(training.penalty_activation, 2.0),  # as in AWD-LSTM
        penalty_slope=_or(training.penalty_slope, 1.0),
    )


def _epochs(training: TrainingConfig, model: ModelConfig, facts: Facts) -> float:
    """How often the text will be read, as far as one can say before the first step."""
    assert model.hidden
    assert model.layers
    assert training.batch
    assert training.length
    limits = [training.epochs or float("inf")]
    if training.steps:
        limits.append(training.steps * training.batch * training.length / facts.predictions)
    if training.time:
        share = _cost(256, 512, 1, 0) / _cost(model.embedding or 0, model.hidden, model.layers, _scored(model, facts))
        own = training.batch // facts.processes
        lanes = min(facts.speeds, key=lambda lanes: abs(lanes - own), default=0)  # the nearest
        speed = facts.processes * facts.speeds.get(lanes, UNITS_PER_SECOND)
        limits.append(WHOLE * each(training, training.time) * speed * share / facts.predictions)
    return min(limits)


def _cost(embedding: int, hidden: int, layers: int, scored: int) -> float:
    """Products that a unit costs, in numbers of its weights."""
    cells = 4 * hidden * (embedding + hidden + 2 * hidden * (layers - 1))
    return cells + SCORED * scored * embedding


def _scored(model: ModelConfig, facts: Facts) -> int:
    """Units that are scored at every prediction, the rarer clusters of the adaptive layer by their share."""
    return clusters.shortlist(facts.vocabulary) * 2 if model.head == "adaptive" else facts.vocabulary


def _lanes(facts: Facts) -> int:
    """How many lanes: as many as this processor learns from much faster, where the text is long enough.

    >>> _lanes(Facts(predictions=10**6, vocabulary=2000, unit="subwords", by_heart=False, speeds={16: 2e4, 32: 3e4}))
    32
    """
    if facts.predictions < LONG:
        return LANES[0]
    if facts.vocabulary >= WORDS:
        return MANY_LANES
    few, more = LANES
    return more if facts.speeds and facts.speeds[more] > WORTH * facts.speeds[few] else few


def _dropout(epochs: float, facts: Facts) -> float:
    """The oftener a text is read, and the seldomer each of its units comes in it, the more must be silenced.

    >>> aesop = Facts(predictions=210_000, vocabulary=738, unit="subwords", by_heart=False)
    >>> [_dropout(epochs, aesop) for epochs in (0.5, 2, 4.5, 9.6, 100)]
    [0.0, 0.0, 0.14, 0.4, 0.6]
    >>> _dropout(4.5, replace(aesop, vocabulary=400)), _dropout(4.5, replace(aesop, vocabulary=2000))
    (0.11, 0.28)
    """
    rare = math.log2(OFTEN * facts.vocabulary / facts.predictions)
    more = 0.1 * min(rare, 1.5) if rare > 0 else 0.03 * rare
    return min(0.6, max(0.0, round(0.24 * math.log2(max(epochs, 1.0)) - 0.38 + more, 2)))


def _rate(steps: float, lanes: int, fine: bool) -> float:
    """The learning rate at its highest: the longer a run, the more a high one holds it up; more lanes bear more.

    >>> [_rate(steps, 16, fine=False) for steps in (100, 2500, 20_000)], _rate(100, 64, fine=False)
    ([0.005, 0.005, 0.0025], 0.01)
    """
    highest = 6e-3 if fine else 5e-3 * math.sqrt(min(lanes, MANY_LANES) / LANES[0])
    return float(f"{highest * min(1.0, (BRIEF / max(steps, 1.0)) ** (1 / 3)):.2g}")


def _by_heart(training: TrainingConfig, model: ModelConfig, facts: Facts) -> TrainingConfig:
    """The whole text in every step, a high rate that does not fall; it stops when all is known."""
    parts = facts.processes * training.accumulate
    most = min(1024, facts.predictions) if model.window else min(16, max(1, facts.predictions // 8))
    batch = training.batch or max(parts, most - most % parts)
    return replace(
        training,
        time=_whole(training),
        lr=_or(training.lr, 6e-3),
        decay="none" if training.decay == "linear" else training.decay,
        warmup=0.0,
        batch=batch,
        length=training.length or min(64, -(-facts.predictions // batch)),
        reset=_or(training.reset, 0.0),
        penalty_activation=_or(training.penalty_activation, 0.0),
        penalty_slope=_or(training.penalty_slope, 0.0),
    )


def _or(chosen: T | None, otherwise: T) -> T:
    return otherwise if chosen is None else chosen
