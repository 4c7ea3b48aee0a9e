"""EPUB to chapters in reading order; knows no file system: everything happens in memory."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING
from urllib.parse import unquote
from xml.parsers import expat  # document types, and so entities, are refused below

from fabula.errors import TextError
from fabula.text.archives import ZipArchive
from fabula.text.contents import Contents, Part
from fabula.text.encodings import decode
from fabula.text.pages import declared_encoding, page_text

if TYPE_CHECKING:
    from fabula.config import TextConfig

Element = tuple[str, dict[str, str]]
"""Local name and attributes."""

_WANTED = frozenset({"rootfile", "item", "itemref"})
_MOST_ELEMENTS = 100_000
_PAGES = ("application/xhtml+xml", "text/html")


def read_book(data: bytes, name: str, config: TextConfig) -> Contents:
    """The chapters of an EPUB. Errors: TextError when it is damaged or has no text, MissingExtraError."""
    archive = ZipArchive(data, name)
    parts: list[Part] = []
    found = Contents((), "chapters", "utf-8")
    for page in _reading_order(archive, name):
        raw = archive.read(page)
        decoded = decode(raw, name, config.encoding, declared_encoding(raw))
        text = page_text(decoded.text, name)
        if text:
            parts.append(Part(text))
            found = Contents.of(decoded, "chapters")
    if not parts:
        raise TextError(f"{name} has no chapters with text: is it a book of pictures?")
    return Contents(tuple(parts), "chapters", found.encoding, found.guessed, found.replaced)


def _reading_order(archive: ZipArchive, name: str) -> list[str]:
    """Names of the archive's pages in the order of the book's spine, its table of contents left out."""
    container = _elements(archive, "META-INF/container.xml", name)
    package = next((attributes.get("full-path", "") for tag, attributes in container if tag == "rootfile"), "")
    elements = _elements(archive, package, name)
    items = {attributes.get("id"): attributes for tag, attributes in elements if tag == "item"}
    spine = [items.get(attributes.get("idref"), {}) for tag, attributes in elements if tag == "itemref"]
    folder = posixpath.dirname(package)
    pages = [
        posixpath.normpath(posixpath.join(folder, unquote(item.get("href", ""))))
        for item in spine
        if item.get("media-type") in _PAGES and "nav" not in item.get("properties", "").split()
    ]
    pages = list(dict.fromkeys(pages))  # a book that names one page a million times has it once
    missing = [page for page in pages if page not in archive]
    if missing:
        raise TextError(f"{name} lacks {len(missing):,} of its {len(pages):,} pages: the book is damaged")
    return pages


def _elements(archive: ZipArchive, member: str, name: str) -> list[Element]:
    """The elements of an XML file that name pages. Errors: TextError when it is missing, broken, huge or has a DTD."""
    if member not in archive:
        raise TextError(f"{name} is no EPUB: it has no META-INF/container.xml or no package file")
    found: list[Element] = []

    def begin(tag: str, attributes: dict[str, str]) -> None:
        if (local := tag.rpartition(" ")[2]) in _WANTED:
            found.append((local, attributes))
        if len(found) > _MOST_ELEMENTS:
            raise TextError(f"{name} must have at most {_MOST_ELEMENTS:,} pages: the book is damaged")

    def refuse(*_: object) -> None:
        raise TextError(f"{name} has a document type in its package file, which is refused: convert it to EPUB 3")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = begin
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(archive.read(member), True)
    except (expat.ExpatError, LookupError, ValueError):
        raise TextError(f"{name} has a broken package file: the book is damaged") from None
    return found
