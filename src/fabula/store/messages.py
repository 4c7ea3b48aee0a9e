"""What processes that store a text say to each other, as JSON behind its length; knows no task."""

from __future__ import annotations

import base64
import dataclasses
import json
import struct
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from fabula.config import TextConfig
from fabula.store.blocks import Block

_LENGTH = struct.Struct("<Q")


def send(stream: IO[bytes], message: object) -> None:
    """Say something. Errors: OSError where nobody listens."""
    data = json.dumps(message, default=_plain).encode()
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:  # noqa: ANN401 - whatever was said
    """What was said; lists in place of tuples. Errors: EOFError where it ends before."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    size = _LENGTH.unpack(head)[0]
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return json.loads(data, object_hook=_made)


def _plain(value: object) -> object:
    """What JSON has no word for."""
    if isinstance(value, Block | TextConfig):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {f"!{type(value).__name__}": fields}
    if isinstance(value, bytes):
        return {"!bytes": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray):
        return {"!array": [value.dtype.str, value.tolist()]}
    if isinstance(value, np.integer | np.floating):
        return value.item()
    raise TypeError(f"cannot be said: {type(value).__name__}")


def _block(fields: dict[str, Any]) -> Block:
    made: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return Block(**made)


_MADE: dict[str, Callable[[Any], object]] = {
    "!Block": _block,
    "!TextConfig": lambda fields: TextConfig(**fields),
    "!bytes": base64.b64decode,
    "!array": lambda parts: np.array(parts[1], parts[0]),
}


def _made(found: dict[str, Any]) -> object:
    """What `_plain` wrote."""
    if len(found) == 1:
        name, value = next(iter(found.items()))
        if name in _MADE:
            return _MADE[name](value)
    return found
