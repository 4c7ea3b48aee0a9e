"""JSON Lines and CSV to one text a row; finds out which field holds the text; knows no files."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from fabula.errors import TextError
from fabula.text.contents import Contents, Part
from fabula.text.encodings import decode, without_surrogates

if TYPE_CHECKING:
    from fabula.config import TextConfig

Row = Mapping[str, object]

_USUAL_FIELDS = ("text", "story", "content", "body", "document")
DELIMITERS = ",;|\t"
_LONGEST_CELL = 2**31 - 1  # the csv module stops at 131,072 characters unless told otherwise


def read_jsonl(data: bytes, name: str, config: TextConfig) -> Contents:
    """One story a line: an object with a text field, or a bare string. Errors: TextError names the line."""
    decoded = decode(data, name, config.encoding)
    return Contents.of(decoded, "rows", *_parts(json_rows(decoded.text, name), name, config.field))


def json_rows(text: str, name: str) -> list[Row]:
    """One row a line that is not empty; a bare string is one with the usual field. Errors: TextError names the line."""
    rows: list[Row] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise TextError(f"{name} must have one JSON object a line, line {number:,} is not JSON") from None
        if isinstance(row, str):
            row = {_USUAL_FIELDS[0]: row}
        if not isinstance(row, dict):
            raise TextError(f"{name} must have one JSON object a line, line {number:,} is a {type(row).__name__}")
        rows.append(row)
    return rows


def read_csv(data: bytes, name: str, config: TextConfig) -> Contents:
    """One story a row of comma- or semicolon-separated columns. Errors: TextError names the row."""
    return _read_table(data, name, config, DELIMITERS)


def read_tsv(data: bytes, name: str, config: TextConfig) -> Contents:
    """One story a row of tab-separated columns."""
    return _read_table(data, name, config, "\t")


def _read_table(data: bytes, name: str, config: TextConfig, delimiters: str) -> Contents:
    decoded = decode(data, name, config.encoding)
    heading = decoded.text.lstrip("\n").partition("\n")[0]
    cells = list(cells_of(io.StringIO(decoded.text, newline=""), name, delimiter_of(heading, delimiters)))
    if cells and config.field is None and not is_header(cells[0]):
        cells.insert(0, [f"column {i}" for i in range(1, 1 + len(cells[0]))])
    rows = _Rows(cells)
    return Contents.of(decoded, "rows", *_parts(rows, name, config.field))


class _Rows:
    """Rows by the names of their columns, made anew each time they are gone through, to spare memory."""

    def __init__(self, cells: list[list[str]]) -> None:
        self._cells = cells

    def __iter__(self) -> Iterator[Row]:
        """One after another, the names left out."""
        return (dict(zip(self._cells[0], row, strict=False)) for row in itertools.islice(self._cells, 1, None))


def cells_of(lines: Iterable[str], name: str, delimiter: str) -> Iterator[list[str]]:
    """The rows of a table that are not empty."""
    before = csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        yield from (row for row in reader if row)
    except csv.Error:
        raise TextError(f"{name} is not a regular table: look at the quotes near line {reader.line_num:,}") from None
    finally:
        csv.field_size_limit(before)


def delimiter_of(heading: str, delimiters: str = DELIMITERS) -> str:
    """What separates the columns of a table that begins so.

    >>> delimiter_of("title;text")
    ';'
    """
    return max(delimiters, key=heading.count)


def is_header(row: Sequence[str]) -> bool:
    """True when a first row names columns: no name is as long as a sentence."""
    return all(len(cell.split()) < 4 and len(cell) < 40 for cell in row)


def _parts(rows: Iterable[Row], name: str, field: str | None) -> list[Part]:
    """The text and title of each row. Errors: TextError when there is no such field or no text at all."""
    field = choose_field(rows, name, field)
    return [Part(said(row.get(field)), said(row.get("title")).strip() or None) for row in rows]


def choose_field(rows: Iterable[Row], name: str, field: str | None) -> str:
    """Which field of some rows holds the text; errors: TextError when there is none, or not the one asked for."""
    lengths: dict[str, int] = {}
    for row in rows:
        for key, value in row.items():
            lengths[key] = lengths.get(key, 0) + (len(value) if isinstance(value, str) else 0)
    if not any(lengths.values()):
        raise TextError(f"{name} has no text in its rows: each row needs a field such as {_USUAL_FIELDS[0]!r}")
    if field is None:
        field = next((usual for usual in _USUAL_FIELDS if lengths.get(usual)), max(lengths, key=lengths.__getitem__))
    if not lengths.get(field):
        known = ", ".join(repr(key)[:20] for key in list(lengths)[:4])
        raise TextError(f"{name} has no text in a field {field[:20]!r}: its fields are {known}")
    return field


def said(value: object) -> str:
    """A field as text; JSON may spell characters that no text can hold."""
    return without_surrogates(value) if isinstance(value, str) else ""
