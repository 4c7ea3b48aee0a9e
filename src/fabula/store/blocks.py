"""Sources to blocks, each the work of one process and one shard; looks at beginnings, and reads only streams.

A block either says where its text lies or brings it along: what is packed, a table, or of another encoding than UTF-8
can only be read from its beginning on.
"""

from __future__ import annotations

import codecs
import gzip
import io
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import IO, cast

from fabula.config import TextConfig
from fabula.errors import TextError
from fabula.regular import open_regular
from fabula.store import hub, parquet
from fabula.store.sources import Source
from fabula.text.archives import HIGHEST_RATIO
from fabula.text.cutting import find_cut, find_way
from fabula.text.encodings import decode
from fabula.text.files import quoted, suffix_of
from fabula.text.tables import cells_of, choose_field, delimiter_of, is_header, json_rows, said

BEGINNING = 4 << 20
"""Bytes by which is decided how a text is encoded, falls into stories, which field holds them."""

_CHUNK = 1 << 20
_FREE = 64 << 20  # what a packed file may come to in any case


@dataclass(frozen=True)
class Block:
    """What becomes one shard."""

    source: int
    part: int
    kind: str
    """files, text, lines, texts, parquet, saved."""
    paths: tuple[str, ...]
    size: int = 0
    """About how many bytes of its source it has."""
    start: int = 0
    stop: int = 0
    """Bytes of a file, or rows, or groups of rows."""
    way: str = ""
    field: str | None = None
    alone: bool = False
    strict: bool = True
    """Whether a file that cannot be read is an error."""
    data: bytes | None = None
    texts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For messages."""
        return quoted(self.paths[0])


def blocks_of(number: int, source: Source, config: TextConfig, *, alone: bool) -> Iterator[Block]:
    """The blocks of one source in their order; errors: TextError, MissingExtraError."""
    path, first = source.paths[0], Block(number, 0, source.kind, source.paths, source.size, alone=alone)
    if source.kind == "files":
        yield replace(first, strict=source.named)
    elif source.kind == "parquet":
        yield from _numbered(first, parquet.plan(path, config.field, source.block), source.block)
    elif source.kind == "saved":
        field, spans = hub.plan_saved(path, config.field, source.block)
        each = source.size // max(1, len(spans))
        for part, (start, stop) in enumerate(spans):
            yield replace(first, part=part, start=start, stop=stop, field=field, size=each)
    elif source.kind == "hub":
        yield from _of_texts(first, hub.stream(path, config.field), source.block)
    elif source.kind == "table":
        yield from _of_texts(first, _rows_of_table(path, config), source.block)
    else:
        yield from _of_text(first, source, config)


def _of_text(first: Block, source: Source, config: TextConfig) -> Iterator[Block]:
    """Running text or lines of JSON."""
    path = source.paths[0]
    with _opened(path) as file:
        data = _read(file, path, BEGINNING)
    data = data[: data.rfind(b"\n") + 1] or data
    decoded = decode(data, quoted(path), config.encoding)
    if first.kind == "lines":
        first = replace(first, field=choose_field(json_rows(decoded.text, quoted(path)), quoted(path), config.field))
    else:
        first = replace(first, way=find_way(decoded.text, config.stories, alone=first.alone))
    if source.is_packed or decoded.encoding != "utf-8":
        yield from _streamed(first, decoded.encoding, source.block)
        return
    count = -(-source.size // source.block)
    edges = [source.size * part // count for part in range(count + 1)]
    for part, (start, stop) in enumerate(pairwise(edges)):
        yield replace(first, part=part, start=start, stop=stop, size=stop - start)


def _streamed(first: Block, encoding: str, block: int) -> Iterator[Block]:
    """What must be read from its beginning on, cut where stories end."""
    path, part, buffer, told = first.paths[0], 0, b"", 0
    packed = path.lower().endswith(".gz")
    most = max(_FREE, HIGHEST_RATIO * Path(path).stat().st_size) if packed else 1 << 62
    reader = codecs.getincrementaldecoder(encoding)("replace")
    with _opened(path) as file:
        while chunk := _read(file, path):
            told += len(chunk)
            if told > most:
                raise TextError(f"{quoted(path)} unpacks to more than {most >> 20:,} MB, like an archive bomb")
            buffer += chunk if encoding == "utf-8" else reader.decode(chunk).encode()
            while len(buffer) >= 2 * block:
                rest = buffer[block:]
                cut = block + (find_cut(rest, first.way)[0] if first.way else rest.find(b"\n") + 1)
                if cut == block:  # a line that has not ended yet
                    break
                yield replace(first, part=part, data=buffer[:cut], size=cut)
                part, buffer = part + 1, buffer[cut:]
        buffer += b"" if encoding == "utf-8" else reader.decode(b"", final=True).encode()
    if buffer:
        yield replace(first, part=part, data=buffer, size=len(buffer))


def _of_texts(first: Block, texts: Iterable[str], block: int) -> Iterator[Block]:
    """Texts as they come, in blocks."""
    together: list[str] = []
    size = part = 0
    for text in texts:
        together.append(text)
        size += len(text.encode("utf-8", "surrogatepass"))
        if size >= block:
            yield replace(first, kind="texts", part=part, texts=tuple(together), size=size)
            together, size, part = list[str](), 0, part + 1
    if together:
        yield replace(first, kind="texts", part=part, texts=tuple(together), size=size)


def _numbered(first: Block, plan: Iterable[parquet.Group], block: int) -> Iterator[Block]:
    """Groups of rows; those that are too large for one block bring their texts along."""
    part = 0
    for group in plan:
        if group.texts is None:
            yield replace(first, part=part, start=group.start, stop=group.stop, field=group.field, size=group.size)
            part += 1
            continue
        for one in _of_texts(first, group.texts, block):
            yield replace(one, part=part)
            part += 1


def _rows_of_table(path: str, config: TextConfig) -> Iterator[str]:
    """The texts of a table, row by row."""
    name = quoted(path)
    with _opened(path) as file:
        data = _read(file, path, BEGINNING)
        found = decode(data[: data.rfind(b"\n") + 1] or data, name, config.encoding)
        delimiter = "\t" if suffix_of(path) == ".tsv" else delimiter_of(found.text.lstrip("\n").partition("\n")[0])
        file.seek(0)
        lines = io.TextIOWrapper(file, encoding="utf-8-sig" if found.encoding == "utf-8" else found.encoding,
                                 errors="replace", newline="")  # fmt: skip
        cells = cells_of(lines, name, delimiter)
        first = list(islice(cells, 1000))
        if first and config.field is None and not is_header(first[0]):
            first.insert(0, [f"column {number}" for number in range(1, 1 + len(first[0]))])
        header = first[0] if first else []
        field = choose_field([dict(zip(header, row, strict=False)) for row in first[1:]], name, config.field)
        column = header.index(field)
        for row in chain(first[1:], cells):
            if len(row) > column:
                yield said(row[column])


@contextmanager
def _opened(path: str) -> Generator[IO[bytes]]:
    """A file, unpacked if it is packed; errors: TextError."""
    try:
        file = open_regular(path)
    except OSError as error:
        raise TextError(f"cannot read {quoted(path)}: {(error.strerror or 'not a file').lower()}") from None
    with file:
        if path.lower().endswith(".gz"):
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield cast("IO[bytes]", unpacked)
        else:
            yield file


def _read(file: IO[bytes], path: str, most: int = _CHUNK) -> bytes:
    try:
        return file.read(most)
    except (OSError, EOFError, ValueError) as error:
        raise TextError(f"{quoted(path)} is damaged or cannot be read ({type(error).__name__}): copy it anew") from None


def edge(file: IO[bytes], place: int, size: int, block: Block) -> tuple[int, bool]:
    """Where near byte `place` of a file a story begins, and whether one truly does: every block finds the same."""
    if place <= 0 or place >= size:
        return min(max(place, 0), size), True
    file.seek(place - 1)
    if block.way:
        found, true = find_cut(file.read(BEGINNING), block.way)
        return min(size, place - 1 + found), true
    while chunk := file.read(_CHUNK):
        if (found := chunk.find(b"\n")) >= 0:
            return file.tell() - len(chunk) + found + 1, True
    return os.fstat(file.fileno()).st_size, True
