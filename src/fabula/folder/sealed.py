"""Bytes of a folder's files: read within limits, held to what the manifest says, taken apart without surprises.

No function here follows a link, and none allocates what a file merely claims to hold.
"""

from __future__ import annotations

import hashlib
import json
import reprlib
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabula.errors import DivergedError
from fabula.folder.names import ARRIVING, FORMAT, MANIFEST, OURS
from fabula.regular import read_regular

HEADER_LIMIT = 16 << 20
TEXT_LIMIT = 256 << 20
FACTS_LIMIT = 4 << 20
PAGE_LIMIT = 8 << 20
LOG_LIMIT = 256 << 20
_VALUES_LIMIT = 4_000_000
"""Commas and brackets in a JSON file: twice as many as the largest vocabulary has, and 150 MB as objects."""
DTYPES = {"F32": 4, "I64": 8}
DAMAGE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError, struct.error
)  # fmt: skip
"""What reading runs into where a file is not what it should be."""


def as_json(value: object) -> bytes:
    """A file of JSON."""
    # A path may hold half a surrogate pair, in place of a byte that is no UTF-8: written as JSON's own escape.
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")


def refuse_infinity(tensors: Mapping[str, NDArray[Any]]) -> None:
    """No file of ours ever holds NaN or infinity; errors: DivergedError."""
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise DivergedError(f"{name} became NaN or infinite, so it was not saved: try a lower --set training.lr")


def digest(data: bytes) -> dict[str, object]:
    """What a manifest says of a file."""
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def expect(condition: bool, otherwise: str) -> None:
    """Errors: ValueError that says what is wrong."""
    if not condition:
        raise ValueError(otherwise)


def reason(error: Exception) -> str:
    """Why something could not be read, short enough for a line."""
    said = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
    return "".join(c if c.isprintable() else "\ufffd" for c in said.splitlines()[0][:80])


def contents(path: Path, limit: int, start: int = 0) -> bytes:
    """A regular file's bytes from `start` on; never more than `limit`, never through a link."""
    return read_regular(path, limit, start, links=False)


def listed_in(folder: Path) -> dict[str, Any]:
    """What the manifest says of each file; a name that is none of ours is one of ours with a flipped bit."""
    manifest = parsed(newest(folder, MANIFEST, FACTS_LIMIT))
    expect(manifest["format"] == FORMAT, f"format {FORMAT} expected, got {reprlib.repr(manifest['format'])}"[:80])
    files = manifest["files"]
    expect(manifest.keys() == {"format", "files"} and files.keys() <= OURS, "manifest.json lists other things")
    return files


def signed(folder: Path, name: str, files: Mapping[str, Any], limit: int) -> bytes:
    """A file's bytes, held to what the manifest says of them."""
    data = newest(folder, name, min(limit, int(files[name]["size"])))
    expect(digest(data) == files[name], f"{name} is not what the manifest says")
    return data


def parsed(data: bytes) -> Any:  # noqa: ANN401 - JSON may hold anything
    """JSON in which each name stands once: what two readers understand differently is refused."""
    expect(sum(map(data.count, (b",", b"[", b"{"))) <= _VALUES_LIMIT, "it holds more than any model has")
    return json.loads(data, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    expect(len(found) == len(pairs), "a name stands in it twice")
    return found


def header(data: bytes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Names, types and shapes of the tensors in a safetensors file, read without allocating any of them."""
    found = _raw_header(data)
    found.pop("__metadata__", None)
    return {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in found.items()}


def metadata(data: bytes) -> dict[str, str]:
    """What a safetensors file says of itself."""
    return _raw_header(data).get("__metadata__", {})


def _raw_header(data: bytes) -> dict[str, Any]:
    (size,) = struct.unpack_from("<Q", data)
    expect(size <= min(HEADER_LIMIT, len(data) - 8), "it has no sound header")
    return parsed(data[8 : 8 + size])


def tensors_of(data: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file, of types that a network has; errors: ValueError."""
    for dtype, _ in header(data).values():
        expect(dtype in DTYPES, f"tensors of type {dtype!r} are not expected"[:80])
    return load_tensors(data)


def load_tensors(data: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file, whatever they are; errors: ValueError."""
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.numpy import load  # noqa: PLC0415

    try:
        return load(data)
    except SafetensorError as error:
        raise ValueError(str(error)) from None


def newest(folder: Path, name: str, limit: int) -> bytes:
    """A file of the model: the one on its way where a new model is arriving, else the one in its place."""
    arriving = folder / ARRIVING
    if has(arriving / MANIFEST) and not arriving.is_symlink():
        with suppress(FileNotFoundError):
            return contents(arriving / name, limit)
    return contents(folder / name, limit)


def has(path: Path) -> bool:
    """Whether a file is there, and no link to one."""
    return path.is_file() and not path.is_symlink()


def read_text(path: Path, name: str) -> str | None:
    """One of the folder's texts, unverified; None when it is not there or not readable."""
    try:
        return newest(path, name, FACTS_LIMIT if name == "config.json" else PAGE_LIMIT).decode()
    except (OSError, ValueError):
        return None
