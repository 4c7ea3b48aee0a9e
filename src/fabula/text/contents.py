"""What one file holds once it is read, before anybody looks for stories in it; knows no files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from fabula.text.encodings import Decoded

Kind = Literal["text", "rows", "chapters"]
"""Running text, the rows of a table, or the chapters of a book."""


class Part(NamedTuple):
    """A row, a chapter, or all of a running text."""

    text: str
    title: str | None = None


@dataclass(frozen=True)
class Contents:
    """The parts of a file and how its bytes were read."""

    parts: tuple[Part, ...]
    kind: Kind
    encoding: str
    guessed: bool = False
    replaced: int = 0
    """Undecodable places that became U+FFFD."""

    @classmethod
    def of(cls, decoded: Decoded, kind: Kind, *parts: Part) -> Contents:
        """The parts found in a decoded text."""
        return cls(parts, kind, decoded.encoding, decoded.guessed, decoded.replaced)
