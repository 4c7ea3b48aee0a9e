"""The model folder: write, verify, read, and its checkpoints; the only file that knows where a model's files lie.

    my-stories/
      config.json  tokenizer.json  model.safetensors      what the network is
      training.toml                                        all settings; `fabula train --config` repeats the run
      metrics.jsonl  samples.jsonl                         every evaluation, every story told on the way
      novelty.index                                        runs of words of the training text, as hashes
      README.md  report.html                               for people: the model card, the page of the training
      checkpoints/step-000000001200/                       to go on exactly; safe to delete
      manifest.json                                        format version, size and SHA-256 of every file; written last

No pickle anywhere: tensors are safetensors, everything else is text. Every write goes to a temporary sibling, is
synced, and is then renamed. The manifest leaves report.html out: it may be written anew at any time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import reprlib
import shutil
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabula import config as settings_of
from fabula.config import Section, Settings
from fabula.engine import check_weights, expected_shapes
from fabula.errors import FabulaError, FolderError
from fabula.machine import free_memory
from fabula.novelty import Index
from fabula.regular import read_regular
from fabula.tokens import Tokenizer
from fabula.tokens import from_json as tokenizer_from_json
from fabula.version import __version__

FORMAT = 1
MANIFEST = "manifest.json"
INDEX = "novelty.index"
NETWORK = ("config.json", "tokenizer.json", "model.safetensors")
OURS = frozenset(
    {
        *NETWORK,
        MANIFEST,
        "training.toml",
        "metrics.jsonl",
        "samples.jsonl",
        INDEX,
        "README.md",
        "report.html",
        "checkpoints",
        "tensorboard",
    }
)
KEEP = 2
"""Checkpoints kept; an older one goes only when a newer one has been read back."""

Weights = Mapping[str, NDArray[np.float32]]
_HEADER_LIMIT = 16 << 20
_TEXT_LIMIT = 256 << 20
_FACTS_LIMIT = 4 << 20
_PAGE_LIMIT = 8 << 20
_LOG_LIMIT = 256 << 20
_TOKENIZER_LIMIT = 128 << 20
_INDEX_LIMIT = 2 << 30
_VALUES_LIMIT = 4_000_000
"""Commas and brackets in a JSON file: twice as many as the largest vocabulary has, and 150 MB as objects."""
_DTYPES = {"F32": 4, "I64": 8}
_INDEX_DTYPES = {"hashes": "U64", "follows": "U32"}
_DAMAGE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError, struct.error
)  # fmt: skip
"""What reading runs into where a file is not what it should be."""


@dataclass(frozen=True)
class Model:
    """A network as read from its folder."""

    settings: Settings
    tokenizer: Tokenizer
    weights: dict[str, NDArray[np.float32]]
    about: dict[str, Any]
    """Facts of the training: name, bits per byte, accuracy, size of the text."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything a training needs to go on."""

    step: int
    tensors: dict[str, NDArray[Any]]
    state: dict[str, Any]


# --- claiming a folder ---------------------------------------------------------------------------------------------


def check_claim(path: Path, *, force: bool) -> None:
    """Make sure that a new run may use the folder, touching nothing; errors: FolderError when it stands in the way."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise FolderError(f"output must be a folder, but {str(path)!r} is something else: choose another with -o")
    if not path.is_dir():
        return
    foreign = sorted(entry.name for entry in path.iterdir() if not _is_ours(entry.name))
    if foreign:
        raise FolderError(f"{str(path)!r} holds other files ({foreign[0]!r}): choose another folder with -o")
    if any(path.iterdir()) and not force:
        raise FolderError(
            f"{str(path)!r} exists: --resume {str(path)!r} goes on with it, --force starts anew, -o names another"
        )


def claim(path: Path, *, force: bool) -> None:
    """Make the folder of a new run.

    With `force` an older model stays readable until the new one is complete; its checkpoints and logs go at once.
    """
    check_claim(path, force=force)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"cannot make the folder {str(path)!r}: {error.strerror}") from None
    shutil.rmtree(path / "checkpoints", ignore_errors=True)
    for name in ("metrics.jsonl", "samples.jsonl", "report.html"):
        (path / name).unlink(missing_ok=True)


def _is_ours(name: str) -> bool:
    """True for a file of ours and for a temporary sibling that a kill has left behind."""
    return name in OURS or (name.startswith(".") and name[1:].rpartition(".")[0] in OURS)


def append(path: Path, name: str, record: Mapping[str, Any]) -> None:
    """Add one line to `metrics.jsonl` or `samples.jsonl`."""
    with (path / name).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def read_records(path: Path, name: str, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Whole lines from byte `start` on, and where the next one begins; what is no record of ours is passed over."""
    try:
        data = _contents(path / name, _LOG_LIMIT, start)
    except (OSError, ValueError):
        return [], start
    whole = data[: data.rfind(b"\n") + 1]
    records: list[object] = []
    for line in whole.splitlines():
        if len(line) > _FACTS_LIMIT:
            continue
        try:
            records.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return [record for record in records if isinstance(record, dict)], start + len(whole)


def read_text(path: Path, name: str) -> str | None:
    """One of the folder's texts, unverified; None when it is not there or not readable."""
    try:
        return _contents(path / name, _FACTS_LIMIT if name == "config.json" else _PAGE_LIMIT).decode()
    except (OSError, ValueError):
        return None


def publish(target: Path, data: bytes) -> None:
    """Replace a file that people look at: never half of it, but without waiting for the disk."""
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


# --- the model -----------------------------------------------------------------------------------------------------


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
    """Write the network and everything said about it; the manifest comes last and makes it whole.

    `index` are the runs of the training text, which `about["digest"]` names.
    """
    from safetensors.numpy import save  # noqa: PLC0415 - reading a model's header needs no safetensors

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
        "tokenizer.json": _json(tokenizer.to_json()),
        "config.json": _json(described),
        "training.toml": settings_of.to_toml(settings).encode("utf-8", "surrogateescape"),  # a path may be no Unicode
        "README.md": card.encode("utf-8", "backslashreplace"),
    }
    if index is not None:
        files[INDEX] = save({name: getattr(index, name) for name in _INDEX_DTYPES}, {"digest": about["digest"]})
    else:
        (path / INDEX).unlink(missing_ok=True)
    for name, data in files.items():
        _write(path / name, data)
    for name in ("metrics.jsonl", "samples.jsonl"):
        if (path / name).exists():
            files[name] = (path / name).read_bytes()
    _write(path / MANIFEST, _json({"format": FORMAT, "files": {name: _digest(data) for name, data in files.items()}}))


def read_model(path: str | Path) -> Model:
    """Read and verify a model; errors: FolderError, one line, before anything large is allocated."""
    folder = Path(path)
    if not (folder / MANIFEST).is_file() or (folder / MANIFEST).is_symlink():
        if latest_step(folder) is not None:
            raise FolderError(
                f"{str(path)!r} is an unfinished training: fabula train --resume {str(path)!r} goes on with it"
            )
        what = "holds no manifest.json" if folder.is_dir() else "is not there"
        raise FolderError(f"expected a model folder, but {str(path)!r} {what}: fabula train makes one")
    try:
        return _read(folder)
    except FolderError:
        raise
    except (*_DAMAGE, FabulaError) as error:
        raise FolderError(f"{str(path)!r} is damaged ({_reason(error)}): train it again or copy it anew") from None


def _read(folder: Path) -> Model:
    files = _listed(folder)
    described = _parsed(_signed(folder, "config.json", files, _FACTS_LIMIT))
    _expect(
        set(described) == {"format", "fabula", "vocabulary", "model", "sampling", "about"}, "config.json has other keys"
    )
    _expect(described["format"] == FORMAT, "config.json is of another format")
    _expect(isinstance(described["about"], dict), "config.json tells nothing of the training")
    settings = settings_of.resolve({"model": described["model"], "sampling": described["sampling"]})
    tokenizer = tokenizer_from_json(_parsed(_signed(folder, "tokenizer.json", files, _TOKENIZER_LIMIT)))
    _expect(tokenizer.size == described["vocabulary"], "tokenizer and network have different vocabularies")
    data = _signed(folder, "model.safetensors", files, _weights_limit(settings, tokenizer))
    check_weights(settings.model, tokenizer.size, _header(data))
    weights = _tensors(data)
    for name, tensor in weights.items():
        _expect(bool(np.isfinite(tensor).all()), f"{name} holds NaN or infinity")
    return Model(settings, tokenizer, weights, described["about"])


def _weights_limit(settings: Settings, tokenizer: Tokenizer) -> int:
    """Most bytes that the weights of such a network can have. Errors: FolderError when memory cannot hold them."""
    shapes = expected_shapes(settings.model, tokenizer.size).values()
    size, free = max(_DTYPES.values()) * sum(map(math.prod, shapes)), free_memory()
    if free is not None and size > free:
        raise FolderError(f"this model needs {size / 1e9:,.1f} GB of memory, {free / 1e9:,.1f} GB are free")
    return size + _HEADER_LIMIT + 8


def fingerprint(path: str | Path) -> str:
    """Hash of what a model's network is made of; errors: FolderError.

    Two folders with the same fingerprint tell the same stories.
    """
    try:
        listed = _listed(Path(path))
        parts = [listed[name]["sha256"] for name in NETWORK]
        return hashlib.sha256("".join(parts).encode()).hexdigest()
    except _DAMAGE:
        raise FolderError(f"expected a model folder, but {str(path)!r} has no sound manifest.json") from None


def read_index(path: str | Path) -> Index | None:
    """The runs of the text that a model learned from; None for a model without; errors: FolderError."""
    folder = Path(path)
    try:
        files = _listed(folder)
        if files.get(INDEX) is None:
            return None
        data = _signed(folder, INDEX, files, _INDEX_LIMIT)
        digest = _parsed(_contents(folder / "config.json", _FACTS_LIMIT))["about"]["digest"]
        _expect(_metadata(data).get("digest") == digest, "it is that of another model")
        shapes = _header(data)
        _expect({name: dtype for name, (dtype, _) in shapes.items()} == _INDEX_DTYPES, "it holds something else")
        _expect(len({shape for _, shape in shapes.values()}) == 1, "its parts are not of one length")
        _expect({len(shape) for _, shape in shapes.values()} == {1}, "its parts are no lists")
        index = Index(**_load(data))
        _expect(index.is_sound, "it is not sorted")
    except _DAMAGE as error:
        raise FolderError(
            f"{INDEX} of {str(path)!r} cannot be used ({_reason(error)}): copy the model anew or train it again"
        ) from None
    return index


# --- checkpoints ---------------------------------------------------------------------------------------------------


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write one checkpoint, whole or not at all; older ones beyond `KEEP` go after this one has been read back."""
    from safetensors.numpy import save  # noqa: PLC0415

    home = path / "checkpoints"
    home.mkdir(parents=True, exist_ok=True)
    final = home / f"step-{checkpoint.step:012d}"
    if final.exists():
        return
    files = {"tensors.safetensors": save(checkpoint.tensors), "state.json": _json(checkpoint.state)}
    with _sibling(final) as draft:
        for name, data in files.items():
            _write(draft / name, data)
        listing = {"format": FORMAT, "files": {name: _digest(data) for name, data in files.items()}}
        _write(draft / MANIFEST, _json(listing))
        draft.rename(final)
    _sync(home)
    _verified(final)
    for old in _steps(path)[KEEP:]:
        shutil.rmtree(old, ignore_errors=True)


def read_checkpoint(path: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that verifies, and the names of newer ones that were skipped because they do not."""
    skipped: list[str] = []
    for step in _steps(path):
        try:
            files = _verified(step)
            number = int(step.name.removeprefix("step-"))
            return Checkpoint(number, _tensors(files["tensors.safetensors"]), json.loads(files["state.json"])), skipped
        except (OSError, ValueError, KeyError, TypeError, FolderError):
            skipped.append(step.name)
    return None, skipped


def latest_step(path: Path) -> str | None:
    """Name of the newest checkpoint, verified or not; None when there is none."""
    return next((step.name for step in _steps(path)), None)


def _steps(path: Path) -> list[Path]:
    """Checkpoints, newest first."""
    return sorted((path / "checkpoints").glob("step-[0-9]*"), reverse=True)


def _verified(step: Path) -> dict[str, bytes]:
    """The files of a checkpoint, checked against its manifest."""
    listing = json.loads(_contents(step / MANIFEST, _TEXT_LIMIT))["files"]
    files = {}
    for name in ("tensors.safetensors", "state.json"):
        files[name] = _contents(step / name, int(listing[name]["size"]))
        _expect(_digest(files[name]) == listing[name], f"{name} is not what the manifest says")
    return files


# --- bytes on the disk ---------------------------------------------------------------------------------------------


def _chosen(section: Section) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(section).items() if value is not None}


def _json(value: object) -> bytes:
    # A path may hold half a surrogate pair, in place of a byte that is no UTF-8: written as JSON's own escape.
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")


def _digest(data: bytes) -> dict[str, object]:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def _reason(error: Exception) -> str:
    """Why something could not be read, short enough for a line."""
    said = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
    return "".join(c if c.isprintable() else "\ufffd" for c in said.splitlines()[0][:80])


def _contents(path: Path, limit: int, start: int = 0) -> bytes:
    """A regular file's bytes from `start` on; never more than `limit`, never through a link."""
    return read_regular(path, limit, start, links=False)


def _listed(folder: Path) -> dict[str, Any]:
    """What the manifest says of each file; a name that is none of ours is one of ours with a flipped bit."""
    manifest = _parsed(_contents(folder / MANIFEST, _FACTS_LIMIT))
    _expect(manifest["format"] == FORMAT, f"format {FORMAT} expected, got {reprlib.repr(manifest['format'])}"[:80])
    files = manifest["files"]
    _expect(manifest.keys() == {"format", "files"} and files.keys() <= OURS, "manifest.json lists other things")
    return files


def _signed(folder: Path, name: str, files: Mapping[str, Any], limit: int) -> bytes:
    """A file's bytes, held to what the manifest says of them."""
    data = _contents(folder / name, min(limit, int(files[name]["size"])))
    _expect(_digest(data) == files[name], f"{name} is not what the manifest says")
    return data


def _parsed(data: bytes) -> Any:  # noqa: ANN401 - JSON may hold anything
    """JSON in which each name stands once: what two readers understand differently is refused."""
    _expect(sum(map(data.count, (b",", b"[", b"{"))) <= _VALUES_LIMIT, "it holds more than any model has")
    return json.loads(data, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    _expect(len(found) == len(pairs), "a name stands in it twice")
    return found


def _header(data: bytes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Names, types and shapes of the tensors in a safetensors file, read without allocating any of them."""
    header = _raw_header(data)
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in header.items()}


def _metadata(data: bytes) -> dict[str, str]:
    """What a safetensors file says of itself."""
    return _raw_header(data).get("__metadata__", {})


def _raw_header(data: bytes) -> dict[str, Any]:
    (size,) = struct.unpack_from("<Q", data)
    _expect(size <= min(_HEADER_LIMIT, len(data) - 8), "it has no sound header")
    return _parsed(data[8 : 8 + size])


def _tensors(data: bytes) -> dict[str, NDArray[Any]]:
    for dtype, _ in _header(data).values():
        _expect(dtype in _DTYPES, f"tensors of type {dtype!r} are not expected"[:80])
    return _load(data)


def _load(data: bytes) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.numpy import load  # noqa: PLC0415

    try:
        return load(data)
    except SafetensorError as error:
        raise ValueError(str(error)) from None


def _write(path: Path, data: bytes) -> None:
    """Replace a file by way of a synced temporary sibling."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    _sync(path.parent)


@contextmanager
def _sibling(final: Path) -> Iterator[Path]:
    """A temporary folder beside `final`; what is left of it at the end goes."""
    draft = final.with_name(f".{final.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Make renames in a folder last; a no-op where folders cannot be synced."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
