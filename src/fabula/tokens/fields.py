"""Strict reading of the fields of `tokenizer.json`; knows which shapes are sound, not what a unit does with them."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence, Sized
from typing import NoReturn

from fabula.errors import FolderError

MAX_ENTRIES = 2_000_000
"""More units than any vocabulary has."""


def refuse(expected: str, got: object) -> NoReturn:
    """One line for a file that cannot be a tokenizer of ours."""
    raise FolderError(
        f"tokenizer.json {expected}, got {reprlib.repr(got)[:60]}: the model folder is damaged, copy or train it anew"
    )


def check_keys(data: Mapping[str, object], *names: str) -> None:
    """FolderError unless `data` has `unit` and exactly these fields."""
    expected = {"unit", *names}
    if data.keys() != expected:
        refuse(f"must have exactly the fields {', '.join(sorted(expected))}", sorted(map(str, data)))


def read_list(data: Mapping[str, object], name: str) -> list[object]:
    """A list of bearable length."""
    values = data[name]
    if not isinstance(values, list):
        refuse(f"field {name} must be a list", type(values).__name__)
    _check_length(name, values)
    return values


def _check_length(name: str, values: Sized) -> None:
    if len(values) > MAX_ENTRIES:
        refuse(f"field {name} must have at most {MAX_ENTRIES:,} entries", len(values))


def read_texts(data: Mapping[str, object], name: str) -> list[str]:
    """A list of different texts, none of them empty."""
    return check_texts(name, read_list(data, name))


def check_texts(name: str, values: Sequence[object]) -> list[str]:
    """The values as texts: different ones, not empty, of Unicode characters."""
    _check_length(name, values)
    seen: dict[str, None] = {}
    for value in values:
        if not isinstance(value, str) or not value:
            refuse(f"field {name} must hold texts", value)
        if value in seen:
            refuse(f"field {name} must name each unit once", value)
        if any("\ud800" <= character <= "\udfff" for character in value):
            refuse(f"field {name} must hold Unicode characters", value)
        seen[value] = None
    return list(seen)


def read_numbers(data: Mapping[str, object], name: str) -> list[int]:
    """A list of whole numbers, none below zero."""
    return check_numbers(name, read_list(data, name))


def check_numbers(name: str, values: Sequence[object]) -> list[int]:
    """The values as whole numbers from 0 to 2**53."""
    numbers: list[int] = []
    for value in values:
        if type(value) is not int or not 0 <= value <= 2**53:
            refuse(f"field {name} must hold whole numbers from 0 on", value)
        numbers.append(value)
    return numbers
