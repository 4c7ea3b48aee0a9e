"""A block to its stories; knows no ids and no disk but that of the texts."""

from __future__ import annotations

from collections.abc import Iterable

from fabula.config import TextConfig
from fabula.errors import TextError
from fabula.regular import open_regular
from fabula.store import hub, parquet
from fabula.store.blocks import Block, edge
from fabula.text.cutting import stories_in
from fabula.text.encodings import without_surrogates
from fabula.text.files import quoted, read_documents
from fabula.text.stories import find_stories, has_body, trimmed
from fabula.text.tables import json_rows, said

MOST_DAMAGED = 0.01
"""Share of the characters of a block that may be undecodable; a text of more is of another encoding."""

Read = tuple[list[str], list[str]]
"""Stories, and notes on how they were read."""


def read_block(block: Block, config: TextConfig) -> Read:
    """The stories of a block, without blank lines around them; errors: TextError, MissingExtraError."""
    if block.kind == "files":
        return _files(block, config)
    if block.kind == "parquet":
        return _rows(parquet.texts(block.paths[0], block.start, block.stop, block.field or "")), []
    if block.kind == "saved":
        return _rows(hub.saved_texts(block.paths[0], block.start, block.stop, block.field or "")), []
    if block.kind == "texts":
        return _rows(block.texts), []
    data, notes = (block.data, list[str]()) if block.data is not None else _between(block)
    text, damage = _decoded(data, block)
    del data
    if block.kind == "lines":
        place = block.name if block.data is not None else f"{block.name} (from byte {block.start:,} on)"
        rows = json_rows(text, place)
        return _rows(said(row.get(block.field or "")) for row in rows), [*notes, *damage]
    return stories_in(text, block.way), [*notes, *damage]


def _files(block: Block, config: TextConfig) -> Read:
    """Several files, each read whole."""
    stories: list[str] = []
    notes: list[str] = []
    for path in block.paths:
        try:
            documents, said_of_it = read_documents([path], config)
            found, _, _ = find_stories(documents, config.stories, alone=block.alone)
        except TextError as error:
            if block.strict:
                raise
            notes.append(f"left out {error}")
            continue
        notes += said_of_it
        for document in documents:
            source, replaced = document.source, document.contents.replaced
            if source.guessed:
                notes.append(f"{quoted(source.path)} read as {source.encoding}, a guess: --encoding NAME overrules it")
            if replaced:
                notes.append(f"{quoted(source.path)} has damaged places, read as U+FFFD")
        stories += [story.text for story in found]
    return stories, notes


def _rows(texts: Iterable[str]) -> list[str]:
    """One story a row; the empty ones are left out."""
    return [story for text in texts if has_body(story := trimmed(text.replace("\r\n", "\n").replace("\r", "\n")))]


def _between(block: Block) -> tuple[bytes, list[str]]:
    """The bytes of a block: from a story's beginning to another's."""
    try:
        with open_regular(block.paths[0]) as file:
            size = file.seek(0, 2)
            (start, _), (stop, whole) = (edge(file, place, size, block) for place in (block.start, block.stop))
            file.seek(start)
            data = file.read(max(0, stop - start))
    except OSError as error:
        raise TextError(f"cannot read {block.name}: {(error.strerror or 'not a file').lower()}") from None
    said_of_it = f"{block.name} has stories of several megabytes: they were cut at a paragraph or line"
    return data, [] if whole else [said_of_it]


def _decoded(data: bytes, block: Block) -> tuple[str, list[str]]:
    """The text of some UTF-8; errors: TextError when it is none."""
    if b"\0" in data:
        raise TextError(f"{block.name} is binary, not a text: it has NUL bytes")
    notes: list[str] = []
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        text = data.decode("utf-8", "replace")
        damaged = text.count("\ufffd")
        if damaged > MOST_DAMAGED * len(text):
            raise TextError(
                f"{block.name} begins as UTF-8, but is not from byte {block.start + error.start:,} on: "
                "convert it to UTF-8, or name its --encoding"
            ) from None
        notes.append(f"{block.name} has damaged places, read as U+FFFD")
    text = without_surrogates(text.removeprefix("\ufeff"))
    return (text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text), notes
