"""What a model folder tells of its training, held to what a page can show; draws nothing and listens to nobody."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fabula import folder
from fabula.config import SECTIONS
from fabula.errors import FolderError
from fabula.events import Began
from fabula.report import page
from fabula.version import __version__

MEASUREMENTS, STORIES, NOTES, PATHS = 240, 32, 24, 5
"""The most that a page shows of each: it must stay one that can be mailed."""

PROMPT, TOLD, NOTE = 200, 480, 300
"""Characters shown of a beginning, of what was told after it, and of a note."""

_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
_FACTS = ("settings", "parameters", "precision", "unit", "vocabulary", "notes", "opening")
T = TypeVar("T")


class History:
    """A training so far: its facts, its curve, and what its folder holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: dict[str, Any] = {}
        """What was chosen before the first step; empty when nobody remembers."""
        self.steps: list[list[Any]] = []
        self.state: dict[str, Any] = {"ended": None}
        """How it stands: `ended` (None while it runs), `error`, `progress`, `seconds`, `written`."""
        self._rows: dict[str, list[dict[str, Any]]] = {"metrics.jsonl": [], "samples.jsonl": []}
        self._read = dict.fromkeys(self._rows, 0)

    def recall(self) -> bool:
        """Take what an earlier page of this folder said that stands nowhere else; False when there is none."""
        said = page.carried(folder.read_text(self.path, "report.html") or "")
        self.facts = {name: said[name] for name in _FACTS if name in said}
        self.steps = [point for point in _listed(said.get("steps")) if isinstance(point, list) and len(point) == 6]
        self.state = said["state"] if isinstance(said.get("state"), dict) else {"ended": None}
        return bool(self.facts)

    def to_json(self) -> dict[str, Any]:
        """What the page carries."""
        self._catch_up()
        metrics, samples = self._rows["metrics.jsonl"], self._rows["samples.jsonl"]
        about = self.about() if self.state["ended"] else {}
        return {
            "version": __version__,
            "name": self.path.resolve().name,
            "folder": str(self.path),
            "state": self.state,
            **self.facts,
            "about": about,
            "baseline": _baseline(about, metrics),
            "resumable": folder.latest_step(self.path) is not None,
            "steps": _some(self.steps, MEASUREMENTS),
            "metrics": _with_best(metrics),
            "samples": [_told(sample) for sample in _growing(samples, STORIES)],
        }

    def about(self) -> dict[str, Any]:
        """What config.json says of the training; nothing when it has not been written."""
        try:
            about = json.loads(folder.read_text(self.path, "config.json") or "{}")["about"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return {}
        return about if isinstance(about, dict) else {}

    def _catch_up(self) -> None:
        """Read the lines that were added since; those of steps that a resumed run takes again go."""
        for name, rows in self._rows.items():
            new, self._read[name] = folder.read_records(self.path, name, self._read[name])
            for row in new:
                if isinstance(row.get("step"), int):
                    while rows and rows[-1]["step"] >= row["step"]:
                        rows.pop()
                    rows.append(row)


def from_folder(path: Path) -> History:
    """The history of a training that somebody else ran; errors: FolderError when the folder tells of none."""
    history = History(path)
    remembered, about = history.recall(), history.about()
    if not remembered and not about:
        what = "holds no training" if path.is_dir() else "is not there"
        raise FolderError(f"expected a model folder, but {str(path)!r} {what}: fabula train makes one")
    if not remembered:
        history.facts = {"settings": _settings_of(path), **{name: about.get(name) for name in ("parameters", "unit")}}
        history.state = {"ended": str(about.get("stopped") or "unknown")}
    return history


def facts_of(event: Began) -> dict[str, Any]:
    """What was chosen before the first step."""
    return {
        "settings": _settings(dataclasses.asdict(event.settings)),
        "parameters": event.parameters,
        "precision": event.precision,
        "unit": event.tokenizer.unit,
        "vocabulary": event.tokenizer.size,
        "notes": [note[:NOTE] for note in event.notes[:NOTES]],
        "opening": event.opening[:PROMPT],
    }


def _settings(chosen: Mapping[str, Any]) -> list[list[Any]]:
    """Section, name, value and meaning of everything chosen; of a path only the name, for a page is passed around."""
    rows = []
    for section, kind in SECTIONS.items():
        values = chosen.get(section)
        if not isinstance(values, dict):
            continue
        for field in dataclasses.fields(kind):
            value = values.get(field.name)
            if isinstance(value, (list, tuple)):
                value = [Path(str(one)).name or str(one) for one in value[:PATHS]] + ["…"] * (len(value) > PATHS)
            elif field.name == "vectors" and value:
                value = Path(str(value)).name
            if value is not None and value != []:
                rows.append([section, field.name, value, field.metadata["about"]])
    return rows


def _settings_of(path: Path) -> list[list[Any]]:
    """The same from training.toml, unchecked: another version may have known others; none when it cannot be read."""
    try:
        return _settings(tomllib.loads(folder.read_text(path, "training.toml") or ""))
    except ValueError:
        return []


def _baseline(about: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> float | None:
    """Bits per byte of the n-gram model, wherever they are told."""
    held_out = about.get("held_out")
    places = (about, held_out if isinstance(held_out, dict) else {}, *metrics[-1:])
    found = (place.get("baseline_bits_per_byte") for place in places)
    return next((value for value in found if isinstance(value, int | float) and math.isfinite(value)), None)


def _with_best(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Measurements spread evenly, the best among them whatever the spacing."""
    shown = _some(metrics, MEASUREMENTS)
    key = "held_out_bits_per_byte"
    judged = [row for row in metrics if isinstance(row.get(key), int | float) and math.isfinite(row[key])]
    best = min(judged, key=lambda row: row[key], default=None)
    return shown if best is None or best in shown else sorted([*shown, best], key=lambda row: row["step"])


def _told(sample: Mapping[str, Any]) -> dict[str, Any]:
    """One story, cut to what a page shows and without characters that cannot be seen."""
    lengths = {"prompt": PROMPT, "text": TOLD}
    words = {name: str(sample.get(name, ""))[:length].translate(_CONTROLS) for name, length in lengths.items()}
    return {"step": sample["step"], "seconds": sample.get("seconds"), **words}


def _some(rows: Sequence[T], limit: int) -> list[T]:
    """At most `limit`, evenly spread, the first and the last among them.

    >>> _some(range(10), 4)
    [0, 3, 6, 9]
    """
    if len(rows) <= limit:
        return list(rows)
    return [rows[round(k * (len(rows) - 1) / (limit - 1))] for k in range(limit)]


def _growing(rows: Sequence[T], limit: int) -> list[T]:
    """At most `limit`, at growing intervals: most is learned at the beginning.

    >>> _growing(range(100), 5)
    [0, 6, 25, 56, 99]
    """
    if len(rows) <= limit:
        return list(rows)
    places = {round((len(rows) - 1) * (k / (limit - 1)) ** 2) for k in range(limit)}
    return [rows[place] for place in sorted(places)]


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
