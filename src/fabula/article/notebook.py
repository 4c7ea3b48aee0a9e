"""The folder of a lesson: what was run, so that nothing is run twice or lost, and the page made of it."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from fabula.article.material import Material
from fabula.article.page import render
from fabula.article.workers import Job, Record
from fabula.errors import FolderError
from fabula.version import __version__

DATA, PAGE = "lesson.json", "lesson.html"
SHOWN = 2000
"""Symbols of the text that the page shows."""

NOTHING = {
    "command": "",
    "experiment": None,
    "article": None,
    "stories": (),
    "ceilings": (),
    "recipe": None,
    "inside": None,
}
"""What the page needs before the experiment has been made."""


class Notebook:
    """Remembers the experiment, the tips and every run of one text; each change is on disk before the next step."""

    def __init__(self, folder: Path, material: Material) -> None:
        """Open or begin; errors: FolderError for a folder of something else, of another text, or damaged."""
        self.folder = folder
        text = {
            "name": material.name,
            "symbols": list(material.symbols[:SHOWN]),
            "count": len(material.symbols),
            "vocabulary": list(material.vocabulary),
        }
        self.lesson: dict[str, Any] = {"version": __version__, "text": text, "tips": [], "runs": {}, **NOTHING}
        if (folder / DATA).exists():
            self._load(text)
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise FolderError(f"{str(folder)!r} must be a folder of a lesson or a new one, got something else: use -o")

    def _load(self, text: dict[str, Any]) -> None:
        name = str(self.folder)
        try:
            read = json.loads((self.folder / DATA).read_text(encoding="utf-8"))
            runs = {key: Record.from_json(data).to_json() for key, data in read["runs"].items()}
            tips = {tip["name"]: tip for tip in read["tips"]}
            of = {key: read["text"][key] for key in text}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise FolderError(f"{name!r} holds a damaged {DATA}: remove it, or choose another folder with -o") from None
        if of != text:
            raise FolderError(f"{name!r} holds a lesson on another text, {of['name']!r}: choose another folder with -o")
        self.lesson = {**read, "version": __version__, "tips": list(tips.values()), "runs": runs}

    def recall(self, job: Job) -> Record | None:
        """What a run came to, if it was made before."""
        data = self.lesson["runs"].get(job.key)
        return Record.from_json(data) if data else None

    def remember(self, job: Job, record: Record) -> None:
        """Keep a run."""
        self.lesson["runs"][job.key] = record.to_json()
        self._save()

    def add_tip(self, table: dict[str, Any]) -> None:
        """Keep a tip's table in place of an older one."""
        self.lesson["tips"] = [tip for tip in self.lesson["tips"] if tip["name"] != table["name"]] + [table]
        self._save()

    def add_experiment(self, findings: dict[str, Any]) -> None:
        """Keep the experiment with its stories, in place of an older one."""
        self.lesson.update(findings)
        self._save()

    def write_page(self, language: str) -> Path:
        """Make the page of all that is known; returns its path."""
        page = self.folder / PAGE
        known = {name: part for name, part in self.lesson.items() if name != "runs"}
        _replace(page, render(_finite(known), language))
        return page

    def _save(self) -> None:
        _replace(self.folder / DATA, json.dumps(_finite(self.lesson), ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:  # noqa: ANN401
    """The same with null for what JSON cannot say: NaN and infinity, of runs that went astray."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    match value:
        case dict():
            return {key: _finite(part) for key, part in value.items()}
        case list() | tuple():
            return [_finite(part) for part in value]
        case _:
            return value


def _replace(path: Path, text: str) -> None:
    """Write all of a file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
