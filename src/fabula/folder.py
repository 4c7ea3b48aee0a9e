"""The model folder: write, verify, read, and its checkpoints; the only file that knows where a model's files lie.

    my-stories/
      config.json  tokenizer.json  model.safetensors      what the network is
      training.toml                                        all settings; `fabula train --config` repeats the run
      metrics.jsonl  samples.jsonl                         every evaluation, every story told on the way
      novelty.index                                        runs of words of the training text, as hashes
      README.md  report.html                               for people: the model card, the page of the training
      checkpoints/step-000000001200/                       to go on exactly; safe to delete
      backward/                                            a model of the same units that reads stories from their ends
      arriving/                                            only after a kill: a whole model on its way up from here
      manifest.json                                        format version, size and SHA-256 of every file; written last

No pickle anywhere: tensors are safetensors, everything else is text. Every write goes to a temporary sibling, is
synced, and is then renamed (see `disk`). A new model is whole in `arriving` before a file of an older one goes, and is
read from there until all of it has moved. The manifest leaves report.html out: it may be written anew at any time.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import math
import os
import reprlib
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabula import config as settings_of
from fabula import disk
from fabula.config import Section, Settings
from fabula.engine import check_weights, expected_shapes
from fabula.errors import DivergedError, FabulaError, FolderError
from fabula.machine import free_memory
from fabula.novelty import Index
from fabula.regular import read_regular
from fabula.tokens import Tokenizer
from fabula.tokens import from_json as tokenizer_from_json
from fabula.version import __version__

FORMAT = 1
MANIFEST = "manifest.json"
INDEX = "novelty.index"
BACKWARD = "backward"
"""The folder inside a model's own of the model that reads from the end."""
NETWORK = ("config.json", "tokenizer.json", "model.safetensors")
LOGS = ("metrics.jsonl", "samples.jsonl")
ARRIVING = "arriving"
OURS = frozenset(
    {
        *NETWORK,
        MANIFEST,
        "training.toml",
        *LOGS,
        ARRIVING,
        INDEX,
        "README.md",
        "report.html",
        "checkpoints",
        "tensorboard",
        BACKWARD,
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
    if os.path.lexists(path / BACKWARD):
        check_claim(path / BACKWARD, force=True)  # it goes with the model, so it must be all ours too
    if any(path.iterdir()) and not force:
        raise FolderError(
            f"{str(path)!r} exists: --resume {str(path)!r} goes on with it, --force starts anew, -o names another"
        )


def claim(path: Path, *, force: bool) -> None:
    """Make the folder of a new run.

    With `force` an older model stays readable until the new one is complete; its checkpoints and logs go at once, and
    so does the model that reads from the end.
    """
    check_claim(path, force=force)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"cannot make the folder {str(path)!r}: {error.strerror}") from None
    disk.sync(path.parent)
    for name in ("checkpoints", BACKWARD):
        disk.remove(path / name)
    for name in (*LOGS, "report.html"):
        (path / name).unlink(missing_ok=True)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """A folder for one training alone, rid of what a killed one left half-written; errors: FolderError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"cannot make the folder {str(path)!r}: {error.strerror}") from None
    with disk.alone_in(path) as alone:
        if not alone:
            raise FolderError(f"another training is writing to {str(path)!r}: let it end, or choose another with -o")
        disk.clear_drafts(path, OURS)
        disk.clear_drafts(path / "checkpoints")
        yield


def _is_ours(name: str) -> bool:
    """True for a file of ours and for a temporary sibling that a kill has left behind."""
    return name in OURS or (name.startswith(".") and name[1:].rpartition(".")[0] in OURS)


def append(path: Path, name: str, record: Mapping[str, Any]) -> None:
    """Add one line to `metrics.jsonl` or `samples.jsonl`, or nothing; errors: OSError."""
    disk.append(path / name, (json.dumps(record, ensure_ascii=False) + "\n").encode())


def log_lengths(path: Path) -> dict[str, int]:
    """How far both logs reach, safe on the disk: where a training that goes on from here goes on writing them."""
    return {name: disk.length(path / name) for name in LOGS}


def rewind_logs(path: Path, lengths: Mapping[str, int]) -> list[str]:
    """Cut the logs back to where a checkpoint left them; returns the names of those that have lost lines since."""
    short = []
    for name in LOGS:
        wanted = lengths.get(name)
        there = (path / name).stat().st_size if (path / name).is_file() else 0
        if wanted is None or there == wanted:
            continue
        if there < wanted:
            short.append(name)
        else:
            with suppress(OSError):
                os.truncate(path / name, wanted)
    return short


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
        return _newest(path, name, _FACTS_LIMIT if name == "config.json" else _PAGE_LIMIT).decode()
    except (OSError, ValueError):
        return None


def publish(target: Path, data: bytes) -> None:
    """Replace a file that people look at: never half of it, but without waiting for the disk."""
    draft = disk.draft_of(target)
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
    """Write the network and everything said about it; an older model stays whole until this one is.

    `index` are the runs of the training text, which `about["digest"]` names. Errors: OSError, and DivergedError for
    weights that are no numbers; nothing has changed then.
    """
    from safetensors.numpy import save  # noqa: PLC0415 - reading a model's header needs no safetensors

    _refuse_infinity(weights)
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
    listed = {name: _digest(data) for name, data in files.items()}
    listed |= {name: _digest((path / name).read_bytes()) for name in LOGS if (path / name).exists()}
    _settle(path)
    with disk.new_folder(path / ARRIVING) as draft:
        for name, data in files.items():
            disk.write_new(draft / name, data)
        disk.write_new(draft / MANIFEST, _json({"format": FORMAT, "files": listed}))
    _settle(path)


def _settle(path: Path) -> None:
    """Move a whole new model to its places, the manifest last; a kill on the way leaves what is read as that model."""
    arriving = path / ARRIVING
    if _has(arriving / MANIFEST) and not arriving.is_symlink():
        if INDEX not in _parsed(_contents(arriving / MANIFEST, _FACTS_LIMIT))["files"]:
            (path / INDEX).unlink(missing_ok=True)
        for name in sorted(entry.name for entry in arriving.iterdir() if entry.name != MANIFEST):
            (arriving / name).replace(path / name)
        disk.sync(path)
        (arriving / MANIFEST).replace(path / MANIFEST)
        disk.sync(path)
    disk.remove(arriving)


def _newest(folder: Path, name: str, limit: int) -> bytes:
    """A file of the model: the one on its way where a new model is arriving, else the one in its place."""
    arriving = folder / ARRIVING
    if _has(arriving / MANIFEST) and not arriving.is_symlink():
        with suppress(FileNotFoundError):
            return _contents(arriving / name, limit)
    return _contents(folder / name, limit)


def _has(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


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
    if not _has(folder / MANIFEST) and not _has(folder / ARRIVING / MANIFEST):
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
    except (*_DAMAGE, FabulaError) as error:
        raise FolderError(f"{str(path)!r} is damaged ({_reason(error)}): train it again or copy it anew") from None


def _read(folder: Path) -> Model:
    """Read a model, once more when a new one took its place meanwhile."""
    before = _newest(folder, MANIFEST, _FACTS_LIMIT)
    try:
        return _parts(folder)
    except (OSError, ValueError):
        if _newest(folder, MANIFEST, _FACTS_LIMIT) == before:
            raise
        return _parts(folder)


def _parts(folder: Path) -> Model:
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
        digest = _parsed(_newest(folder, "config.json", _FACTS_LIMIT))["about"]["digest"]
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
    """Write one checkpoint, whole or not at all; older ones beyond `KEEP` go after this one has been read back.

    So do newer ones, which `read_checkpoint` would not have skipped were they sound. Errors: OSError when it could not
    be written, or reads back otherwise; DivergedError when it holds what is no number.
    """
    from safetensors.numpy import save  # noqa: PLC0415

    _refuse_infinity(checkpoint.tensors)
    home = path / "checkpoints"
    if not home.is_dir():
        home.mkdir(parents=True)
        disk.sync(path)
    final = home / f"step-{checkpoint.step:012d}"
    if final.exists():
        if _is_sound(final):
            return
        disk.remove(final)
    files = {"tensors.safetensors": save(checkpoint.tensors), "state.json": _json(checkpoint.state)}
    with disk.new_folder(final) as draft:
        for name, data in files.items():
            disk.write_new(draft / name, data)
        listing = {"format": FORMAT, "files": {name: _digest(data) for name, data in files.items()}}
        disk.write_new(draft / MANIFEST, _json(listing))
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


def _is_sound(step: Path) -> bool:
    try:
        _verified(step)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


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


def _refuse_infinity(tensors: Mapping[str, NDArray[Any]]) -> None:
    """No file of ours ever holds NaN or infinity; errors: DivergedError."""
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise DivergedError(f"{name} became NaN or infinite, so it was not saved: try a lower --set training.lr")


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
    manifest = _parsed(_newest(folder, MANIFEST, _FACTS_LIMIT))
    _expect(manifest["format"] == FORMAT, f"format {FORMAT} expected, got {reprlib.repr(manifest['format'])}"[:80])
    files = manifest["files"]
    _expect(manifest.keys() == {"format", "files"} and files.keys() <= OURS, "manifest.json lists other things")
    return files


def _signed(folder: Path, name: str, files: Mapping[str, Any], limit: int) -> bytes:
    """A file's bytes, held to what the manifest says of them."""
    data = _newest(folder, name, min(limit, int(files[name]["size"])))
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
