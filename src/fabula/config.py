"""Every setting there is, one frozen dataclass a concern, checked when made; knows no text, no network, no file layout.

A field left at None has not been chosen: `recipe` fills it from the text at hand and the time there is.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from fabula.errors import UsageError
from fabula.regular import read_regular

UNITS = ("symbols", "words", "subwords", "chars", "bytes")
CELLS = ("lstm", "gru")
HEADS = ("full", "tied", "sampled", "adaptive")
OPTIMIZERS = ("adamw", "rmsprop", "sgd")
SIZES: Mapping[str, Mapping[str, int]] = {
    "tiny": {"layers": 1, "hidden": 128},
    "small": {"layers": 1, "hidden": 512},
    "medium": {"layers": 2, "hidden": 512},
    "large": {"layers": 2, "hidden": 1024},
}
"""The one dial: what `--size` stands for."""

_TOML_LIMIT = 16 << 20


def setting(
    default: Any,
    about: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    duration: bool = False,
    rhythm: bool = False,
    commas: bool = False,
) -> Any:
    """A dataclass field with its meaning and its bounds (both inclusive), the source of checks, help and docs."""
    rules = {"low": low, "high": high, "choices": choices, "duration": duration, "rhythm": rhythm, "commas": commas}
    return dataclasses.field(default=default, metadata={"about": about, **rules})


@dataclass(frozen=True, kw_only=True)
class Section:
    """Base of the settings; checks each field against its type, bounds and choices."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        hints = _hints(type(self))
        for field in dataclasses.fields(self):
            label = f"{self.name}.{field.name}"
            value = _checked(label, getattr(self, field.name), hints[field.name], field.metadata)
            object.__setattr__(self, field.name, value)


@functools.cache
def _hints(section: type[Section]) -> dict[str, Any]:
    """The types of its fields: Python compiles our own annotations for that, once and not for each folder read."""
    return get_type_hints(section)


@dataclass(frozen=True, kw_only=True)
class TextConfig(Section):
    """How files become stories and stories become units."""

    name: ClassVar[str] = "text"
    unit: str = setting("auto", "what the network reads and writes", choices=("auto", *UNITS))
    vocabulary: int | None = setting(None, "most units to know (words, subwords)", low=257, high=1_000_000)
    encoding: str | None = setting(None, "encoding of the text files; detected when not given")
    stories: str = setting(
        "auto",
        "where stories begin and end",
        choices=("auto", "file", "title", "separator", "endoftext", "field", "whole"),
    )
    field: str | None = setting(None, "field or column that holds the text in .jsonl and .csv")
    paths: tuple[str, ...] = setting((), "files and folders to learn from")
    held_out_paths: tuple[str, ...] = setting((), "texts of your own to measure on, in place of a share")
    held_out: float = setting(0.05, "share of the stories kept aside to measure on", low=0.0, high=0.5)


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Section):
    """The shape of the network."""

    name: ClassVar[str] = "model"
    cell: str = setting("lstm", "kind of recurrent cell", choices=CELLS)
    layers: int | None = setting(None, "recurrent layers on top of each other", low=1, high=16)
    hidden: int | None = setting(None, "units in each layer", low=1, high=16_384)
    embedding: int | None = setting(None, "width of the word vectors", low=1, high=16_384)
    ngrams: int | None = setting(
        None, "longest run of units with a vector of its own, beside those of single units", low=2, high=4
    )
    buckets: int | None = setting(None, "vectors that those runs share by hashing; 0 for none", low=0, high=1 << 24)
    head: str = setting(
        "auto",
        "output layer: own weights, word vectors again (all of them, or a sample), or clusters by frequency",
        choices=("auto", *HEADS),
    )
    forget_bias: float | None = setting(
        None, "bias of the LSTM's forget gates before learning: above 0 it remembers longer", low=-10.0, high=10.0
    )
    dropout: float | None = setting(None, "share of activations silenced while learning", low=0.0, high=0.9)
    dropout_input: float | None = setting(
        None, "share silenced of what enters the first layer; as dropout when not given", low=0.0, high=0.9
    )
    dropout_hidden: float | None = setting(
        None, "share silenced of what goes from layer to layer; as dropout when not given", low=0.0, high=0.9
    )
    dropout_output: float | None = setting(
        None, "share silenced of what leaves the last layer; as dropout when not given", low=0.0, high=0.9
    )
    dropout_embedding: float = setting(0.0, "share of the words silenced whole in each step", low=0.0, high=0.9)
    dropout_weight: float = setting(
        0.0, "share of the weights between moments silenced in each step (DropConnect)", low=0.0, high=0.9
    )
    window: int = setting(0, "units seen before each prediction; 0 carries the state without limit", low=0, high=512)

    @property
    def judged(self) -> int:
        """Numbers that the output layer hears: of the last layer, and of the runs of units where they have vectors."""
        assert self.hidden
        assert self.embedding
        return self.hidden + (self.embedding if self.buckets else 0)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Section):
    """How the network learns."""

    name: ClassVar[str] = "training"
    seed: int = setting(1, "number that fixes every random choice", low=0, high=2**63 - 1)
    time: float | None = setting(
        None, "seconds from the start of the program to its end (60, 90s, 3m, 1h)", low=1.0, high=10**8, duration=True
    )
    epochs: float | None = setting(None, "times the whole text is read", low=0.01, high=10**6)
    steps: int | None = setting(None, "updates of the weights", low=1, high=10**12)
    optimizer: str = setting("adamw", "rule of the updates", choices=OPTIMIZERS)
    lr: float | None = setting(None, "learning rate at its highest", low=0.0, high=1000.0)
    warmup: float = setting(0.02, "share of the run in which the learning rate rises", low=0.0, high=1.0)
    decay: str = setting(
        "linear",
        "how the learning rate falls afterwards: wsd stays, and falls in a line over the last half",
        choices=("linear", "cosine", "wsd", "none"),
    )
    weight_decay: float = setting(0.0, "pull of the weights towards zero (AdamW)", low=0.0, high=10.0)
    clip: float = setting(1.0, "longest gradient allowed; 0 for no limit", low=0.0, high=10**6)
    penalty_activation: float | None = setting(
        None, "cost of the square of what leaves the last layer, after dropout (AR)", low=0.0, high=1000.0
    )
    penalty_slope: float | None = setting(
        None, "cost of the square of its change between moments, before dropout (TAR)", low=0.0, high=1000.0
    )
    averaging: float = setting(
        0.0, "weights measured and saved: averages that lag by this share of the steps; 0 for none", low=0.0, high=0.5
    )
    batch: int | None = setting(None, "parallel lanes of text", low=1, high=65_536)
    length: int | None = setting(None, "units per lane between two updates", low=1, high=65_536)
    accumulate: int = setting(
        1, "parts that the lanes of a step are computed in, one after another, to save memory", low=1, high=4096
    )
    reset: float | None = setting(
        None, "chance that a lane forgets its state after a step, so that stories may begin anywhere", low=0.0, high=1.0
    )
    device: str = setting(
        "auto",
        "processor that learns: auto takes an NVIDIA or AMD GPU where torch finds one, others when named",
        choices=("auto", "cpu", "cuda", "mps", "xpu"),
    )
    precision: str = setting("auto", "number format of the products", choices=("auto", "fp32", "bf16", "fp16"))
    threads: int | None = setting(None, "CPU threads; all cores when not given", low=1, high=1024)
    evaluations: int = setting(10, "times to measure and to tell a story on the way", low=1, high=10_000)
    patience: int = setting(3, "measurements without a gain before stopping early; 0 never stops", low=0, high=10_000)
    checkpoint_every: str = setting(
        "60s", "between checkpoints: so many steps (500), or so much time (30s, 10m); 0 for none", rhythm=True
    )
    vectors: str | None = setting(None, "file of pretrained word vectors, or `train` for word2vec on this text")
    freeze_vectors: bool = setting(False, "keep the pretrained word vectors as they came")
    from_model: str | None = setting(None, "folder of a model to start from")
    freeze: tuple[str, ...] = setting(
        (), "parts of the network to keep as they are: embedding, cells.0, ..., head", commas=True
    )
    layer_decay: float = setting(1.0, "rate of a layer as a share of that of the layer above", low=0.0, high=1.0)
    both_ways: bool = setting(
        False,
        "a second model learns to read from the end, so that stories can end with a given line; they share the time",
    )

    @property
    def rhythm(self) -> tuple[int, float]:
        """Steps and seconds between two checkpoints; 0 for what does not count."""
        every = self.checkpoint_every
        return (int(every), 0.0) if every.isdecimal() else (0, seconds(every))


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(Section):
    """How the next unit is chosen from its probabilities."""

    name: ClassVar[str] = "sampling"
    temperature: float = setting(0.8, "1 as learned, lower is safer, 0 always takes the likeliest", low=0.0, high=100.0)
    top_k: int = setting(0, "keep only the k likeliest; 0 keeps all", low=0, high=10**9)
    top_p: float = setting(1.0, "keep the likeliest that together reach this probability", low=0.0, high=1.0)
    min_p: float = setting(0.0, "keep those at least this fraction as likely as the likeliest", low=0.0, high=1.0)
    repetition_penalty: float = setting(1.0, "above 1 makes what was said lately less likely", low=0.01, high=100.0)
    no_repeat: int = setting(0, "no run of so many units twice; 0 allows it", low=0, high=1000)
    dry: float = setting(
        0.0, "how hard to hold back the longer repetitions; 0.8 is usual, 0 allows them", low=0.0, high=100.0
    )
    ban: tuple[str, ...] = setting((), "words or phrases that must not come", commas=True)
    ban_letters: str = setting("", "letters that must not come")
    require: tuple[str, ...] = setting((), "words that must come", commas=True)
    max_copy: int | None = setting(None, "most words in a row that the training text has too", low=3, high=10**6)
    seed: int = setting(1, "number that fixes every random choice", low=0, high=2**63 - 1)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All sections together: what `training.toml` holds."""

    text: TextConfig = dataclasses.field(default_factory=TextConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    sampling: SamplingConfig = dataclasses.field(default_factory=SamplingConfig)


SECTIONS: Mapping[str, type[Section]] = {
    "text": TextConfig, "model": ModelConfig, "training": TrainingConfig, "sampling": SamplingConfig,
}  # fmt: skip

Layer = Mapping[str, Mapping[str, Any]]
"""One source of settings: section -> field -> value; only what it says, nothing else."""


def _checked(label: str, value: Any, hint: Any, rules: Mapping[str, Any]) -> Any:
    """`value` as the field's type, or a one-line UsageError that names the field."""
    kinds = (tuple,) if get_origin(hint) is tuple else get_args(hint) or (hint,)
    if value is None:
        if NoneType in kinds:
            return None
        raise UsageError(f"{label} must be given")
    kind = next(k for k in kinds if k is not NoneType)
    if kind is tuple:
        if isinstance(value, str) and rules["commas"]:
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not (isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)):
            raise UsageError(f"{label} must be a list of texts, got {_shown(value)}")
        return tuple(value)
    if rules["rhythm"]:
        value = _rhythm(label, value)
    elif isinstance(value, str) and rules["duration"]:
        value = seconds(value)
    elif isinstance(value, str) and kind is not str:
        value = _parsed(label, value, kind)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise UsageError(f"{label} must be {_NAMES[kind]}, got {_shown(value)}")
    low, high, choices = rules["low"], rules["high"], rules["choices"]
    if choices and value not in choices:
        raise UsageError(f"{label} must be one of {', '.join(choices)}, got {_shown(value)}")
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        raise UsageError(f"{label} must be between {low:g} and {high:g}, got {_shown(value)}")
    return value


def _shown(value: object) -> str:
    """A value for a message: whatever it is, short."""
    return reprlib.repr(value)[:60]


_NAMES: Mapping[type, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _parsed(label: str, value: str, kind: type) -> Any:
    """A value that came as text (from a flag or the environment)."""
    try:
        return _BOOLS[value.lower()] if kind is bool else kind(value)
    except (ValueError, KeyError):
        raise UsageError(f"{label} must be {_NAMES[kind]}, got {_shown(value)}") from None


def seconds(text: str) -> float:
    """A length of time in seconds; errors: UsageError.

    >>> seconds("90"), seconds("90s"), seconds("1.5m"), seconds("2h")
    (90.0, 90.0, 90.0, 7200.0)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not match:
        raise UsageError(f"a time must look like 60s, 3m or 1h, got {_shown(text)}")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]


def _rhythm(label: str, value: Any) -> str:
    """So many steps or so much time, spelled in one way; a number with a point, as older files have it, is seconds.

    >>> [_rhythm("every", value) for value in (500, "500", "30s", "1.5m", 60.0, "0.25", 0.0)]
    ['500', '500', '30s', '90s', '60s', '0.25s', '0']
    """
    text = f"{value:.6f}" if isinstance(value, float) else str(value).strip()
    try:
        every = seconds(text)
    except UsageError:
        every = -1.0
    if isinstance(value, bool) or not 0 <= every <= 10**8:
        raise UsageError(f"{label} must be a number of steps (500) or a time (30s, 10m), got {value!r}")
    if text.isdecimal():
        return str(int(text))
    return f"{every:.6f}".rstrip("0").rstrip(".") + "s" if every else "0"


def resolve(*layers: Layer) -> Settings:
    """Settings from several sources; a later one overrules an earlier one.

    >>> resolve({"training": {"lr": 0.1}}, {"training": {"lr": "0.002"}}).training.lr
    0.002
    """
    merged: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for layer in layers:
        for section, fields in layer.items():
            if section not in SECTIONS:
                raise UsageError(f"unknown section {_shown(section)}: sections are {', '.join(SECTIONS)}")
            if not isinstance(fields, Mapping):
                raise UsageError(f"[{section}] must be a table of settings, got {_shown(fields)}")
            known = {field.name for field in dataclasses.fields(SECTIONS[section])}
            for field, value in fields.items():
                if field not in known:
                    raise UsageError(
                        f"unknown setting {section}.{str(field)[:40]}: {section} has {', '.join(sorted(known))}"
                    )
                merged[section][field] = value
    return Settings(**{name: kind(**merged[name]) for name, kind in SECTIONS.items()})  # pyrefly: ignore


def merge(*layers: Layer) -> dict[str, dict[str, Any]]:
    """Several sources as one, unchecked; a later one overrules an earlier one, None says nothing."""
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for section, fields in layer.items():
            given = {name: value for name, value in fields.items() if value is not None}
            merged.setdefault(section, {}).update(given)
    return merged


def from_assignments(assignments: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """`("training.lr=0.002",)` as a layer of settings."""
    layer: dict[str, dict[str, Any]] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        section, dot, field = key.strip().partition(".")
        if not (equals and dot):
            raise UsageError(f"--set must look like training.lr=0.002, got {_shown(text)}")
        layer.setdefault(section, {})[field] = value.strip()
    return layer


def from_environment(environment: Mapping[str, str] = os.environ) -> dict[str, dict[str, Any]]:
    """`FABULA_TRAINING_LR=0.002` and the like as a layer of settings."""
    layer: dict[str, dict[str, Any]] = {}
    for section, kind in SECTIONS.items():
        for field in dataclasses.fields(kind):
            value = environment.get(f"FABULA_{section}_{field.name}".upper())
            if value is not None:
                layer.setdefault(section, {})[field.name] = value
    return layer


def from_toml(path: Path) -> dict[str, Any]:
    """The layer of settings in a TOML file; errors: UsageError when it is missing or not TOML."""
    import tomllib  # noqa: PLC0415 - who writes seldom needs it

    try:
        return tomllib.loads(read_regular(path, _TOML_LIMIT).decode("utf-8", "surrogateescape"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)[:80]
        raise UsageError(f"cannot read settings from {str(path)[-60:]!r}: {reason}") from None


def to_toml(settings: Settings) -> str:
    """The settings as TOML, each with its meaning; what is not chosen is left out."""
    lines: list[str] = []
    for section in SECTIONS:
        values = getattr(settings, section)
        lines.append(f"[{section}]")
        for field in dataclasses.fields(values):
            value = getattr(values, field.name)
            if value is not None:
                # JSON's texts and lists are TOML's too, but for one control character that TOML wants escaped.
                text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
                lines.append(f"{field.name} = {text}  # {field.metadata['about']}")
        lines.append("")
    return "\n".join(lines)
