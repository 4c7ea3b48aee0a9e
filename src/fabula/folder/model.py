"""The model in its folder: written whole beside an older one, verified when it is read."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabula import config as settings_of
from fabula import disk
from fabula.config import Section, Settings
from fabula.engine import check_weights, expected_shapes
from fabula.errors import FabulaError, FolderError
from fabula.folder.names import ARRIVING, BACKWARD, FORMAT, INDEX, LOGS, MANIFEST, NETWORK
from fabula.folder.sealed import (
    DAMAGE,
    DTYPES,
    FACTS_LIMIT,
    HEADER_LIMIT,
    as_json,
    contents,
    digest,
    expect,
    has,
    header,
    listed_in,
    load_tensors,
    metadata,
    newest,
    parsed,
    read_text,
    reason,
    refuse_infinity,
    signed,
    tensors_of,
)
from fabula.folder.steps import latest_step
from fabula.machine import free_memory
from fabula.novelty import Index
from fabula.tokens import Tokenizer
from fabula.tokens import from_json as tokenizer_from_json
from fabula.version import __version__

Weights = Mapping[str, NDArray[np.float32]]
_TOKENIZER_LIMIT = 128 << 20
_INDEX_LIMIT = 2 << 30
_INDEX_DTYPES = {"hashes": "U64", "follows": "U32"}


@dataclass(frozen=True)
class Model:
    """A network as read from its folder."""

    settings: Settings
    tokenizer: Tokenizer
    weights: dict[str, NDArray[np.float32]]
    about: dict[str, Any]
    """Facts of the training: name, bits per byte, accuracy, size of the text."""


def write_model(
    path: Path,
    *,
    settings: Settings,
    tokenizer: Tokenizer,
    weights: Weights,
    about: Mapping[str, Any],
    card: str,
    index: Index | None = None,
) -> None:
    """Write the network and everything said about it; an older model stays whole until this one is.

    `index` are the runs of the training text, which `about["digest"]` names. Errors: OSError, and DivergedError for
    weights that are no numbers; nothing has changed then.
    """
    from safetensors.numpy import save  # noqa: PLC0415 - reading a model's header needs no safetensors

    refuse_infinity(weights)
    described = {
        "format": FORMAT,
        "fabula": __version__,
        "vocabulary": tokenizer.size,
        "model": _chosen(settings.model),
        "sampling": _chosen(settings.sampling),
        "about": dict(about),
    }
    files = {
        "model.safetensors": save(dict(weights)),
        "tokenizer.json": as_json(tokenizer.to_json()),
        "config.json": as_json(described),
        "training.toml": settings_of.to_toml(settings).encode("utf-8", "surrogateescape"),  # a path may be no Unicode
        "README.md": card.encode("utf-8", "backslashreplace"),
    }
    if index is not None:
        files[INDEX] = save({name: getattr(index, name) for name in _INDEX_DTYPES}, {"digest": about["digest"]})
    listed = {name: digest(data) for name, data in files.items()}
    listed |= {name: digest((path / name).read_bytes()) for name in LOGS if (path / name).exists()}
    _settle(path)
    with disk.new_folder(path / ARRIVING) as draft:
        for name, data in files.items():
            disk.write_new(draft / name, data)
        disk.write_new(draft / MANIFEST, as_json({"format": FORMAT, "files": listed}))
    _settle(path)


def _settle(path: Path) -> None:
    """Move a whole new model to its places, the manifest last; a kill on the way leaves what is read as that model."""
    arriving = path / ARRIVING
    if has(arriving / MANIFEST) and not arriving.is_symlink():
        if INDEX not in parsed(contents(arriving / MANIFEST, FACTS_LIMIT))["files"]:
            (path / INDEX).unlink(missing_ok=True)
        for name in sorted(entry.name for entry in arriving.iterdir() if entry.name != MANIFEST):
            (arriving / name).replace(path / name)
        disk.sync(path)
        (arriving / MANIFEST).replace(path / MANIFEST)
        disk.sync(path)
    disk.remove(arriving)


def _chosen(section: Section) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(section).items() if value is not None}


def read_backward(path: str | Path) -> Model:
    """Read and verify the model in a model's folder that reads its units from the end; errors: FolderError."""
    inside = Path(path) / BACKWARD
    if not os.path.lexists(inside):
        read_model(path)  # what is no model at all is told first
        raise FolderError(f"{str(path)!r} cannot write towards a given end: train it with --both-ways")
    if inside.is_symlink():
        raise FolderError(f"{str(inside)!r} must be a folder, got a link: copy the model anew")
    if not os.path.lexists(inside / MANIFEST):
        raise FolderError(f"{str(path)!r} has not learned both ways yet: fabula train --resume {str(path)!r} goes on")
    model = read_model(inside, backward=True)
    if read_text(inside, "tokenizer.json") != read_text(Path(path), "tokenizer.json"):
        raise FolderError(f"{str(inside)!r} has other units than {str(path)!r}: train both anew with --force")
    return model


def read_model(path: str | Path, *, backward: bool = False) -> Model:
    """Read and verify a model; errors: FolderError, one line, before anything large is allocated.

    One that reads from the end speaks in reverse, and is read only as such.
    """
    folder = Path(path)
    if not has(folder / MANIFEST) and not has(folder / ARRIVING / MANIFEST):
        if latest_step(folder) is not None:
            raise FolderError(
                f"{str(path)!r} is an unfinished training: fabula train --resume {str(path)!r} goes on with it"
            )
        what = "holds no manifest.json" if folder.is_dir() else "is not there"
        raise FolderError(f"expected a model folder, but {str(path)!r} {what}: fabula train makes one")
    try:
        model = _read(folder)
        if bool(model.about.get("backward")) != backward:
            if backward:
                raise FolderError(f"{str(path)!r} does not read from the end: train the model again with --both-ways")
            raise FolderError(
                f"{str(path)!r} reads stories from their ends: name the folder it lies in, {str(folder.parent)!r}"
            )
        return model
    except FolderError:
        raise
    except (*DAMAGE, FabulaError) as error:
        raise FolderError(f"{str(path)!r} is damaged ({reason(error)}): train it again or copy it anew") from None


def _read(folder: Path) -> Model:
    """Read a model, once more when a new one took its place meanwhile."""
    before = newest(folder, MANIFEST, FACTS_LIMIT)
    try:
        return _parts(folder)
    except (OSError, ValueError):
        if newest(folder, MANIFEST, FACTS_LIMIT) == before:
            raise
        return _parts(folder)


def _parts(folder: Path) -> Model:
    files = listed_in(folder)
    described = parsed(signed(folder, "config.json", files, FACTS_LIMIT))
    expect(
        set(described) == {"format", "fabula", "vocabulary", "model", "sampling", "about"}, "config.json has other keys"
    )
    expect(described["format"] == FORMAT, "config.json is of another format")
    expect(isinstance(described["about"], dict), "config.json tells nothing of the training")
    settings = settings_of.resolve({"model": described["model"], "sampling": described["sampling"]})
    tokenizer = tokenizer_from_json(parsed(signed(folder, "tokenizer.json", files, _TOKENIZER_LIMIT)))
    expect(tokenizer.size == described["vocabulary"], "tokenizer and network have different vocabularies")
    data = signed(folder, "model.safetensors", files, _weights_limit(settings, tokenizer))
    check_weights(settings.model, tokenizer.size, header(data))
    weights = tensors_of(data)
    for name, tensor in weights.items():
        expect(bool(np.isfinite(tensor).all()), f"{name} holds NaN or infinity")
    return Model(settings, tokenizer, weights, described["about"])


def _weights_limit(settings: Settings, tokenizer: Tokenizer) -> int:
    """Most bytes that the weights of such a network can have. Errors: FolderError when memory cannot hold them."""
    shapes = expected_shapes(settings.model, tokenizer.size).values()
    size, free = max(DTYPES.values()) * sum(map(math.prod, shapes)), free_memory()
    if free is not None and size > free:
        raise FolderError(f"this model needs {size / 1e9:,.1f} GB of memory, {free / 1e9:,.1f} GB are free")
    return size + HEADER_LIMIT + 8


def fingerprint(path: str | Path) -> str:
    """Hash of what a model's network is made of; errors: FolderError.

    Two folders with the same fingerprint tell the same stories.
    """
    try:
        listed = listed_in(Path(path))
        parts = [listed[name]["sha256"] for name in NETWORK]
        return hashlib.sha256("".join(parts).encode()).hexdigest()
    except DAMAGE:
        raise FolderError(f"expected a model folder, but {str(path)!r} has no sound manifest.json") from None


def read_index(path: str | Path) -> Index | None:
    """The runs of the text that a model learned from; None for a model without; errors: FolderError."""
    folder = Path(path)
    try:
        files = listed_in(folder)
        if files.get(INDEX) is None:
            return None
        data = signed(folder, INDEX, files, _INDEX_LIMIT)
        digest = parsed(newest(folder, "config.json", FACTS_LIMIT))["about"]["digest"]
        expect(metadata(data).get("digest") == digest, "it is that of another model")
        shapes = header(data)
        expect({name: dtype for name, (dtype, _) in shapes.items()} == _INDEX_DTYPES, "it holds something else")
        expect(len({shape for _, shape in shapes.values()}) == 1, "its parts are not of one length")
        expect({len(shape) for _, shape in shapes.values()} == {1}, "its parts are no lists")
        index = Index(**load_tensors(data))
        expect(index.is_sound, "it is not sorted")
    except DAMAGE as error:
        raise FolderError(
            f"{INDEX} of {str(path)!r} cannot be used ({reason(error)}): copy the model anew or train it again"
        ) from None
    return index
