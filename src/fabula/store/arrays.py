"""Arrays on the disk: written whole or not at all, opened as maps of memory, never trusted; knows no stories."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabula import disk
from fabula.regular import open_regular, read_regular

Listed = Mapping[str, Any]
"""What is written down of a file: its size and its SHA-256."""

_HEADER = 4096
"""Bytes that the header of an array has at most."""

_PIECE = 1 << 20


def write_array(path: Path, array: NDArray[Any]) -> dict[str, object]:
    """Write an array; what is to be written down of it. Errors: OSError."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return write_bytes(path, buffer.getvalue())


def write_json(path: Path, value: object) -> dict[str, object]:
    """Write a file of JSON; what is to be written down of it. Errors: OSError."""
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, data: bytes) -> dict[str, object]:
    """Write a file; what is to be written down of it. Errors: OSError."""
    disk.write(path, data)
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def read_json(path: Path, limit: int) -> Any:  # noqa: ANN401 - JSON may hold anything
    """A file of JSON. Errors: OSError, ValueError."""
    return json.loads(read_regular(path, limit, links=False))


def open_array(path: Path, dtypes: tuple[str, ...], ndim: int = 1) -> NDArray[Any]:
    """A view of an array on the disk, of one of some types; errors: OSError, ValueError, before anything is read."""
    with open_regular(path, links=False) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{path.name} is of another version")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=_HEADER)
        if dtype.str not in dtypes or fortran or len(shape) != ndim:
            raise ValueError(f"{path.name} holds something else")
        start, size = file.tell(), os.fstat(file.fileno()).st_size
        count = int(np.prod(shape, dtype=object))
        if size != start + count * dtype.itemsize:
            raise ValueError(f"{path.name} is cut off or too long")
        if not count:
            return np.empty(shape, dtype)
        return np.asarray(np.memmap(file, dtype, "r", start, shape))


def digest_of(path: Path) -> dict[str, object]:
    """Size and SHA-256 of a file as it is now; errors: OSError."""
    total, size = hashlib.sha256(), 0
    with open_regular(path, links=False) as file:
        while piece := file.read(_PIECE):
            total.update(piece)
            size += len(piece)
    return {"size": size, "sha256": total.hexdigest()}
