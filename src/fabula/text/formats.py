"""Which reader opens which suffix: a plain table; knows no file system and no stories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fabula.text.books import read_book
from fabula.text.contents import Contents, Part
from fabula.text.encodings import decode
from fabula.text.pages import declared_encoding, page_text
from fabula.text.tables import read_csv, read_jsonl, read_tsv

if TYPE_CHECKING:
    from fabula.config import TextConfig

Reader = Callable[[bytes, str, "TextConfig"], Contents]


def read_plain(data: bytes, name: str, config: TextConfig) -> Contents:
    """Running text, plain or Markdown."""
    decoded = decode(data, name, config.encoding)
    return Contents.of(decoded, "text", Part(decoded.text))


def read_page(data: bytes, name: str, config: TextConfig) -> Contents:
    """The visible text of an HTML page."""
    decoded = decode(data, name, config.encoding, declared_encoding(data))
    return Contents.of(decoded, "text", Part(page_text(decoded.text, name)))


READERS: Mapping[str, Reader] = {
    ".txt": read_plain,
    ".text": read_plain,
    ".md": read_plain,
    ".markdown": read_plain,
    ".tokens": read_plain,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".html": read_page,
    ".htm": read_page,
    ".xhtml": read_page,
    ".epub": read_book,
}
"""How a file is read, by the end of its name."""
