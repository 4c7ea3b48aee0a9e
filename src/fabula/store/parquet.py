"""Parquet files, a group of rows at a time, by pyarrow; knows no stories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fabula.errors import MissingExtraError, TextError
from fabula.text.files import quoted
from fabula.text.tables import choose_field, said

if TYPE_CHECKING:
    from types import ModuleType

TEXTS = ("string", "large_string")
"""What pyarrow calls a column of texts, which may be stored once each and numbered."""

ROWS = 256
"""Rows that are decoded at once."""


@dataclass(frozen=True)
class Group:
    """Groups of rows that make a block, or the texts of one that is larger."""

    start: int
    stop: int
    field: str
    size: int
    texts: Iterator[str] | None = None


def plan(path: str, field: str | None, block: int) -> Iterator[Group]:
    """Groups of rows of about `block` bytes each; errors: TextError, MissingExtraError."""
    file = _opened(path)
    field = _field(file, path, field)
    sizes = [_size(file.metadata.row_group(one), field) for one in range(file.num_row_groups)]
    start = size = 0
    for one, bytes_of_it in enumerate(sizes):
        if bytes_of_it > 2 * block or (size and size + bytes_of_it > block):
            if one > start:
                yield Group(start, one, field, size)
            start, size = one, 0
        if bytes_of_it > 2 * block:
            yield Group(one, one + 1, field, bytes_of_it, texts(path, one, one + 1, field))
            start = one + 1
        else:
            size += bytes_of_it
    if start < len(sizes):
        yield Group(start, len(sizes), field, size)


def texts(path: str, start: int, stop: int, field: str) -> Iterator[str]:
    """The texts of some groups of rows; errors: TextError."""
    file = _opened(path)
    try:
        for batch in file.iter_batches(ROWS, list(range(start, stop)), [field], use_threads=False):
            for value in batch.column(0).to_pylist():
                yield said(value)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None


def _size(rows: Any, field: str) -> int:  # noqa: ANN401 - of a library that may be missing
    """Bytes of one column in a group of rows; a column of lists counts as several there."""
    columns = map(rows.column, range(rows.num_columns))
    return sum(int(one.total_uncompressed_size) for one in columns if one.path_in_schema == field)


def _field(file: Any, path: str, field: str | None) -> str:  # noqa: ANN401
    """The column that holds the text, by the first rows."""
    names = [
        one.name for one in file.schema_arrow if str(one.type).removeprefix("dictionary<values=").startswith(TEXTS)
    ]
    if field is not None and field not in names:
        known = ", ".join(repr(name)[:20] for name in names[:4]) or "none"
        raise TextError(f"{quoted(path)} has no text in a field {field[:20]!r}: its columns of texts are {known}")
    try:
        rows = next(file.iter_batches(ROWS, columns=names, use_threads=False)).to_pylist() if names else []
    except StopIteration:
        rows = list[dict[str, object]]()
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None
    return choose_field(rows, quoted(path), field)


def _opened(path: str) -> Any:  # noqa: ANN401
    try:
        return _library().ParquetFile(path, memory_map=True, pre_buffer=False)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None


def _library() -> ModuleType:
    try:
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("reading .parquet files", "data") from None
    return parquet


def _damaged(path: str, error: Exception) -> TextError:
    reason = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
    return TextError(f"{quoted(path)} is damaged or no parquet file ({reason})")
