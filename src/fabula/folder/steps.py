"""Checkpoints in a folder: what a training needs to go on exactly; each is whole or not there."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fabula import disk
from fabula.errors import FolderError
from fabula.folder.names import FORMAT, MANIFEST
from fabula.folder.sealed import TEXT_LIMIT, as_json, contents, digest, expect, refuse_infinity, tensors_of

KEEP = 2
"""Checkpoints kept; an older one goes only when a newer one has been read back."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything a training needs to go on."""

    step: int
    tensors: dict[str, NDArray[Any]]
    state: dict[str, Any]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write one checkpoint, whole or not at all; older ones beyond `KEEP` go after this one has been read back.

    So do newer ones, which `read_checkpoint` would not have skipped were they sound. Errors: OSError when it could not
    be written, or reads back otherwise; DivergedError when it holds what is no number.
    """
    from safetensors.numpy import save  # noqa: PLC0415

    refuse_infinity(checkpoint.tensors)
    home = path / "checkpoints"
    if not home.is_dir():
        home.mkdir(parents=True)
        disk.sync(path)
    final = home / f"step-{checkpoint.step:012d}"
    if final.exists():
        if _is_sound(final):
            return
        disk.remove(final)
    files = {"tensors.safetensors": save(checkpoint.tensors), "state.json": as_json(checkpoint.state)}
    with disk.new_folder(final) as draft:
        for name, data in files.items():
            disk.write_new(draft / name, data)
        listing = {"format": FORMAT, "files": {name: digest(data) for name, data in files.items()}}
        disk.write_new(draft / MANIFEST, as_json(listing))
    if not _is_sound(final):
        disk.remove(final)
        raise OSError(errno.EIO, "it reads back otherwise than it was written")
    steps = _steps(path)
    for other in [*steps[: steps.index(final)], *steps[steps.index(final) + KEEP :]]:
        disk.remove(other)


def read_checkpoint(path: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that verifies, and the names of newer ones that were skipped because they do not."""
    skipped: list[str] = []
    for step in _steps(path):
        try:
            files = _verified(step)
            number = int(step.name.removeprefix("step-"))
            return Checkpoint(
                number, tensors_of(files["tensors.safetensors"]), json.loads(files["state.json"])
            ), skipped
        except (OSError, ValueError, KeyError, TypeError, FolderError):
            skipped.append(step.name)
    return None, skipped


def latest_step(path: Path) -> str | None:
    """Name of the newest checkpoint, verified or not; None when there is none."""
    return next((step.name for step in _steps(path)), None)


def _steps(path: Path) -> list[Path]:
    """Checkpoints, newest first."""
    return sorted((path / "checkpoints").glob("step-[0-9]*"), reverse=True)


def _is_sound(step: Path) -> bool:
    try:
        _verified(step)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _verified(step: Path) -> dict[str, bytes]:
    """The files of a checkpoint, checked against its manifest."""
    listing = json.loads(contents(step / MANIFEST, TEXT_LIMIT))["files"]
    files = {}
    for name in ("tensors.safetensors", "state.json"):
        files[name] = contents(step / name, int(listing[name]["size"]))
        expect(digest(files[name]) == listing[name], f"{name} is not what the manifest says")
    return files
