"""Data sets by the datasets library: folders it has saved, and those of the Hugging Face Hub; knows no stories.

`hf:OWNER/NAME[:SPLIT]` is streamed, so nothing of it is kept on the disk; a saved folder is mapped into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from fabula.errors import MissingExtraError, TextError
from fabula.store.sources import HUB
from fabula.text.files import quoted
from fabula.text.tables import choose_field, said

if TYPE_CHECKING:
    from types import ModuleType

SPLIT = "train"
"""Taken where nobody names another, if there is one of that name."""

ROWS = 256
"""Rows by which is decided which field holds the text."""


def plan_saved(path: str, field: str | None, block: int) -> tuple[str, list[tuple[int, int]]]:
    """The field that holds the text, and spans of rows of about `block` bytes; errors: TextError, MissingExtraError."""
    table = _saved(path)
    field = choose_field(table[:ROWS] and _rows(table[:ROWS]), quoted(path), field)
    size = max(1, table.data.nbytes)
    each = max(1, len(table) * block // size)
    return field, [(start, min(start + each, len(table))) for start in range(0, len(table), each)]


def saved_texts(path: str, start: int, stop: int, field: str) -> Iterator[str]:
    """The texts of some rows of a saved data set."""
    table = _saved(path)
    for first in range(start, stop, ROWS):
        for value in table[first : min(first + ROWS, stop)][field]:
            yield said(value)


def stream(name: str, field: str | None) -> Iterator[str]:
    """The texts of a data set of the Hub, as they come; errors: TextError, MissingExtraError."""
    owner, _, split = name.removeprefix(HUB).partition(":")
    library = _library(f"reading {name}")
    try:
        rows = iter(library.load_dataset(owner, split=split or SPLIT, streaming=True))
        first = list(islice(rows, ROWS))
        chosen = choose_field(first, quoted(name), field)
        for row in chain(first, rows):
            yield said(row.get(chosen))
    except (OSError, ValueError, RuntimeError, LookupError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise TextError(f"cannot read {quoted(name)}: {reason}") from None


def _rows(columns: dict[str, list[object]]) -> list[dict[str, object]]:
    """Columns as rows."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _saved(path: str) -> Any:  # noqa: ANN401 - of a library that may be missing
    library = _library("reading a folder of the datasets library")
    try:
        found = library.load_from_disk(path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise TextError(f"{quoted(path)} is no data set that can be read ({type(error).__name__})") from None
    if isinstance(found, dict):
        return found[SPLIT] if SPLIT in found else next(iter(found.values()))
    return found


def _library(what: str) -> ModuleType:
    try:
        import datasets  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError(what, "data") from None
    datasets.disable_progress_bars()
    return datasets
