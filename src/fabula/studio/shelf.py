"""The models that the studio can write with, and what their folders tell of them; knows no HTTP."""

from __future__ import annotations

import base64
import json
import math
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from fabula import folder
from fabula.config import resolve
from fabula.engine import Engine, Integers
from fabula.errors import FabulaError
from fabula.report import page
from fabula.report.history import from_folder
from fabula.rounding import choose as choose_precision
from fabula.serve.app import House
from fabula.serve.refusals import Refusal
from fabula.serve.rows import name as name_of
from fabula.storyteller import Storyteller
from fabula.studio import inside
from fabula.studio.views import settings_of
from fabula.tale import UNHEARD

READ = 200
"""Units of a text that the network is watched at."""

LETTERS = 4000
"""Characters of a text that are looked at at all."""

EXPECTED = 5
"""Units told as what the network expects next."""

NEIGHBOURS = 12
"""Units told as the nearest to another."""


class Shelf:
    """The models of a house by their names; `home` is the folder of those that were learned here."""

    def __init__(self, house: House, home: Path) -> None:
        self._house, self._home, self._lock = house, home, threading.Lock()
        self._networks: dict[str, tuple[int, str]] = {}

    def names(self) -> list[str]:
        """All models that are there, those learned meanwhile by somebody else among them."""
        with suppress(OSError):
            for path in sorted(self._home.iterdir()):
                if path.name not in self._house.folders and is_model(path):
                    self._house.folders[path.name] = path
        return list(self._house.folders)

    def teller(self, name: str) -> Storyteller:
        """A model that writes, read when it is first needed. Errors: Refusal, FolderError."""
        return self._house.teller(self._known(name))

    def network(self, name: str) -> str:
        """A model's fingerprint: another when it was learned anew."""
        path = self._path(name)
        self._house.refresh(name)
        try:
            stamp = (path / folder.MANIFEST).stat().st_mtime_ns
        except OSError:
            raise Refusal(404, f"the folder of {name!r} is gone", param="model", code="model_not_found") from None
        with self._lock:
            if self._networks.get(name, (0, ""))[0] != stamp:
                self._networks[name] = stamp, folder.fingerprint(path)
            return self._networks[name][1]

    def listed(self) -> list[dict[str, Any]]:
        """What stands on the shelf."""
        return [about for name in self.names() if (about := self._about(name)) is not None]

    def card(self, name: str) -> str:
        """The model's README.md."""
        return folder.read_text(self._path(name), "README.md") or ""

    def report(self, name: str) -> str:
        """The report of its training, drawn anew: never a page that lies in the folder. Errors: FolderError."""
        return page.render(from_folder(self._path(name)).to_json())

    def inside(self, name: str, text: str, layer: int, kind: str | None) -> dict[str, Any]:
        """What the units of a layer do while the network reads a text. Errors: Refusal."""
        teller = self.teller(name)
        config, tokenizer, kinds = teller.settings.model, teller.tokenizer, inside.KINDS[teller.settings.model.cell]
        kind = kind or kinds[0]
        if kind not in kinds:
            raise Refusal(400, f"of must be one of {', '.join(kinds)}", param="of")
        if not 0 <= layer < (config.layers or 0):
            raise Refusal(400, f"layer must be between 0 and {(config.layers or 1) - 1}", param="layer")
        begun = text[:LETTERS]
        if len(text) > LETTERS:  # to the end of a word: half of one may be no symbol at all
            begun = begun[: max(begun.rfind(" "), begun.rfind("\n"))]
        whole = tokenizer.encode_prompt(begun)
        ids = whole[:READ].astype(np.int64)
        if not len(ids):
            raise Refusal(400, "there is no word in it", param="text")
        engine = teller.engine
        assert isinstance(engine, Engine)
        nats, expected = _foretold(teller, ids)
        *_, seen = (one for one, _ in zip(inside.look(config, engine.weights, ids), range(layer + 1), strict=False))
        values = seen[kind]  # (T, H)
        low, high = float(values.min()), float(values.max())
        grey = np.rint((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
        return {
            "layers": config.layers, "hidden": config.hidden, "kinds": kinds, "of": kind, "layer": layer,
            "units": [
                {"text": name_of(tokenizer, unit), "bits": round(cost / math.log(2), 2), "next": after}
                for unit, cost, after in zip(ids.tolist(), nats, expected, strict=True)
            ],
            "low": round(low, 4), "high": round(high, 4), "values": base64.b64encode(grey.tobytes()).decode(),
            "order": inside.order(values).tolist(), "cut": len(whole) > READ or len(text) > LETTERS,
        }  # fmt: skip

    def near(self, name: str, word: str) -> dict[str, Any]:
        """The units that the network takes for the neighbours of one. Errors: Refusal where it is none."""
        teller = self.teller(name)
        tokenizer, engine = teller.tokenizer, teller.engine
        assert isinstance(engine, Engine)
        try:
            ids = tokenizer.encode_prompt(word[:LETTERS]).astype(np.int64)
        except FabulaError:
            ids = np.empty(0, np.int64)
        if not len(ids):
            raise Refusal(404, f"this model has no such word: it reads {tokenizer.unit}", param="word")
        found = inside.near(engine.weights["embedding.weight"], ids, NEIGHBOURS + 512)
        rows = [{"text": tokenizer.decode([unit]), "similarity": round(cosine, 4)} for unit, cosine in found]
        words = [row for row in rows if any(map(str.isalnum, str(row["text"])))]  # no bytes, and no marks
        return {"word": tokenizer.decode(ids.tolist()), "near": words[:NEIGHBOURS]}

    def _known(self, name: str) -> str:
        if name not in self._house.folders and name not in self.names():
            raise _unknown()
        return name

    def _path(self, name: str) -> Path:
        """Where a model lies. Errors: Refusal."""
        path = self._house.folders.get(self._known(name))
        if path is None:  # removed in this moment
            raise _unknown()
        return path

    def _about(self, name: str) -> dict[str, Any] | None:
        """One model without its weights; None where the folder tells of none."""
        try:
            path = self._path(name)
            said = json.loads(folder.read_text(path, "config.json") or "{}")
            about, settings = said["about"], resolve({"model": said["model"], "sampling": said["sampling"]})
        except (ValueError, KeyError, TypeError, RecursionError, FabulaError, Refusal):
            return None
        loaded = self._house.tellers.get(name)
        model = settings.model
        return {
            "name": name, "unit": about.get("unit"), "parameters": about.get("parameters"),
            "vocabulary": loaded.tokenizer.size if loaded else _vocabulary(path),
            "cell": model.cell, "layers": model.layers, "hidden": model.hidden,
            "words": _of(about.get("learned_from"), "words"),
            "bits_per_byte": _of(about.get("held_out"), "bits_per_byte"),
            "baseline_bits_per_byte": about.get("baseline_bits_per_byte"),
            "precision": loaded.precision if loaded else choose_precision("auto", about),
            "novelty": (path / folder.INDEX).is_file(), "learned_here": path.parent == self._home,
            "sampling": settings_of(settings.sampling),
        }  # fmt: skip


def _foretold(teller: Storyteller, ids: Integers) -> tuple[list[float], list[list[list[Any]]]]:
    """Nats of each of some units (T,), and which units the network expects after each, with their chances."""
    engine, window, end = teller.engine, teller.settings.model.window, teller.tokenizer.end
    state, nats, expected = engine.initial_state(1), list[float](), list[list[list[Any]]]()
    scores, state = engine.step(np.array([end]), state)
    for place, unit in enumerate(ids.tolist()):
        nats.append(min(-float(scores[0, unit]), UNHEARD))
        if window:
            seen = np.concatenate([np.full(window, end), ids[: place + 1]])[None, -window:]
            scores, _ = engine.step(seen[:, -1], engine.read(seen[:, :-1], engine.initial_state(1)))
        else:
            scores, state = engine.step(np.array([unit]), state)
        top = np.argsort(-scores[0], kind="stable")[:EXPECTED].tolist()
        expected.append([[name_of(teller.tokenizer, one), round(math.exp(scores[0, one]), 4)] for one in top])
    return nats, expected


def _unknown() -> Refusal:
    return Refusal(404, "there is no such model on the shelf", param="model", code="model_not_found")


def is_model(path: Path) -> bool:
    """Whether a folder holds a model."""
    return not path.name.startswith(".") and (path / folder.MANIFEST).is_file()


def _of(part: object, name: str) -> Any:  # noqa: ANN401 - whatever the folder says
    return part.get(name) if isinstance(part, Mapping) else None


def _vocabulary(path: Path) -> int | None:
    """Units of a model, as its report tells; None where nobody knows."""
    said = page.carried(folder.read_text(path, "report.html") or "").get("vocabulary")
    return said if isinstance(said, int) else None
