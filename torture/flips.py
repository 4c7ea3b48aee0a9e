"""Is every flipped bit and every cut of a model folder found out, or does it leave the same model?"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from fabula import folder
from fabula.errors import FolderError
from torture import models
from torture.runner import Answer, in_processes

PROMISE = "every flipped bit and every cut of a model folder is one line, or the model is the same to the last bit"
QUICK, FULL = 5_000, None
CONTROLS = {"a reader that trusts the manifest unread": -1, "a reader that says it in two lines": -2}


class Bench:
    """A folder whose bits are numbered: file after file, eight of each byte; then a cut before each byte."""

    def __init__(self, work: Path) -> None:
        self.path = work / "model"
        models.make(self.path, "words", head="tied")
        self.files = models.contents(self.path)
        self.lying: dict[str, bytes] = {}
        self.sizes = {name: len(data) for name, data in self.files.items()}
        self.same = self._read()

    def warm_up(self) -> None:
        """Read the whole one."""
        assert self.attempt(-3) == "same"

    def prepare(self, case: int) -> None:
        """Break it at one place."""
        files = dict(self.files)
        if case == -1:
            files["model.safetensors"] = _flipped(files["model.safetensors"], 8_001)
            models.sign(files)  # what a reader without digests would see
        elif case == -2:
            del files["config.json"]
        elif case >= 0:
            name, files[name] = self._broken(case)
        models.lay(self.path, files, self.lying)

    def attempt(self, case: int) -> str:
        """Read it."""
        try:
            found = self._read()
        except FolderError as error:
            return "refused" if self._is_line(case, str(error)) else str(error)
        return "same" if found == self.same else "another model"

    def judge(self, case: int, outcome: str) -> str | None:
        """A line or the same model."""
        return None if outcome in ("refused", "same") else f"{self._broken(case)[0] if case >= 0 else ''}: {outcome}"

    def _is_line(self, case: int, message: str) -> bool:
        said = message.replace(str(self.path), "model") + ("\n" if case == -2 else "")
        return said.isprintable() and len(said) < 200

    def seconds(self, case: int) -> float:  # noqa: ARG002 - a promise of all benches
        """Of the processor, at most."""
        return 1.0

    def megabytes(self, case: int) -> float:  # noqa: ARG002
        """Above a good one, at most."""
        return 300.0

    def _read(self) -> Any:
        """Everything that is read from a folder, to be compared."""
        model, index = folder.read_model(self.path), folder.read_index(self.path)
        weights = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in model.weights.items()}
        runs = (index.hashes.tobytes(), index.follows.tobytes()) if index else None
        return model.settings, model.tokenizer.to_json(), weights, model.about, runs

    def _broken(self, case: int) -> tuple[str, bytes]:
        bits = 8 * sum(self.sizes.values())
        place, each = (case, 8) if case < bits else (case - bits, 1)
        for name, size in self.sizes.items():
            if place < each * size:
                data = self.files[name]
                return name, _flipped(data, place) if each == 8 else data[:place]
            place -= each * size
        raise IndexError(case)


def _flipped(data: bytes, bit: int) -> bytes:
    broken = bytearray(data)
    broken[bit // 8] ^= 1 << bit % 8
    return bytes(broken)


def ask(count: int | None, seed: int, work: Path, workers: int) -> Answer:
    """All cases, or so many drawn from them."""
    models.make(work / "model", "words", head="tied")
    total = 9 * sum(map(len, models.contents(work / "model").values()))
    cases = range(total) if count is None or count >= total else random.Random(seed).sample(range(total), count)
    return in_processes("flips", PROMISE, cases, CONTROLS, work, workers)
