"""Paths to documents: files, folders, archives and standard input; knows no stories.

What the user names must be readable; what is merely found in a folder or an archive is left out and counted.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from fabula.errors import TextError
from fabula.regular import open_regular
from fabula.text.archives import MOST_BYTES, ZipArchive, unpack_gzip
from fabula.text.contents import Contents
from fabula.text.encodings import is_wide
from fabula.text.formats import READERS, Reader, read_plain
from fabula.text.tables import read_jsonl

if TYPE_CHECKING:
    from fabula.config import TextConfig

STDIN = "-"
_LONGEST_NAME = 60
_BEGINNING = 1 << 20
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Source:
    """One document: where it came from and how it was read."""

    path: str
    """As the user named it, `archive.zip:member` in an archive, `-` for standard input; safe to print."""
    encoding: str
    guessed: bool
    size: int
    """Bytes, after unpacking."""


@dataclass(frozen=True)
class Document:
    """A source with what it holds."""

    source: Source
    contents: Contents


def read_documents(
    paths: Sequence[str | Path], config: TextConfig, stdin: BinaryIO | None = None
) -> tuple[list[Document], list[str]]:
    """All documents below some paths in order, and notes to say aloud; `-` reads `stdin`, or the process's own.

    Errors: TextError, MissingExtraError.
    """
    if not paths or "" in map(str, paths):
        raise TextError("give a text to read: a file, a folder, an archive, or - for standard input")
    desk = _Desk(config)
    for path in paths:
        if str(path) == STDIN:
            desk.read_stdin(stdin)
        else:
            desk.read_path(Path(path))
    return desk.documents, desk.notes()


def quoted(path: str | Path) -> str:
    """A path for a message: in quotes, without control characters, the middle left out when it is long.

    >>> quoted("tales\\n.txt")
    "'tales\\\\n.txt'"
    """
    name = printable(str(path))
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME // 2]}...{name[-_LONGEST_NAME // 2 :]}"
    return f"'{name}'"


def printable(path: str) -> str:
    """A path with escapes in place of what cannot be shown or written as UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in path)


class _Desk:
    """Collects the documents of one call and remembers what was left out."""

    def __init__(self, config: TextConfig) -> None:
        self.documents: list[Document] = []
        self._config = config
        self._hidden = 0
        self._unfit: Counter[str] = Counter()  # ends of names that no reader opens
        self._refused: list[str] = []  # why files that were found could not be read

    def read_stdin(self, stdin: BinaryIO | None) -> None:
        """One document from standard input: JSON Lines when a field is asked for, else running text."""
        stream = stdin or getattr(sys.stdin, "buffer", None)
        if stream is None:
            raise TextError("there is no standard input to read: give a file or a folder")
        rows = self._config.field is not None or self._config.stories == "field"
        data = _all_bytes(stream, "standard input", is_text=self._config.encoding is None)
        self._add(STDIN, data, read_jsonl if rows else read_plain)

    def read_path(self, path: Path) -> None:
        """A file or a folder that the user named."""
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            raise TextError(f"no file or folder {quoted(path)}: look at its spelling") from None
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from None
        if stat.S_ISDIR(mode):
            self._read_folder(path)
        elif stat.S_ISREG(mode):
            self._read_file(path)
        else:
            raise TextError(f"{quoted(path)} is a pipe or a device, not a file: give - to read standard input")

    def notes(self) -> list[str]:
        """What was left out, in sentences."""
        notes: list[str] = []
        if self._unfit:
            kinds = ", ".join(f"{count:,} {printable(suffix)}" for suffix, count in self._unfit.most_common(5))
            notes.append(f"left out {_files(self._unfit.total())} of kinds that are not read: {kinds}")
        if self._hidden:
            notes.append(f"left out {self._hidden:,} files and folders with a hidden name")
        if self._refused:
            notes.append(f"left out {_files(len(self._refused))} that could not be read: {self._refused[0]}")
        return notes

    def _read_folder(self, top: Path) -> None:
        """Every fitting file below a folder in the order of the names; links to folders are not followed."""
        before = len(self.documents), len(self._refused)
        for folder, folders, files in os.walk(
            top, onerror=lambda error: self._refused.append(str(_unreadable(top, error)))
        ):
            folders[:] = self._seen(folders)
            for path in (Path(folder, name) for name in self._seen(files)):
                if self._fits(path.name, READERS.keys() | {".zip"}):
                    with self._leniently():
                        self.read_path(path)
        self._check_found(before, f"the folder {quoted(top)}")

    def _read_file(self, path: Path) -> None:
        packed = path.suffix.lower() in (".gz", ".zip", ".epub")
        try:
            with open_regular(path) as file:
                data = _all_bytes(file, quoted(path), is_text=not packed and self._config.encoding is None)
        except OSError as error:
            raise _unreadable(path, error) from None
        if suffix_of(path.name) == ".zip":
            self._read_zip(path, data)
        else:
            self._add(str(path), unpack_gzip(data, quoted(path)) if path.suffix.lower() == ".gz" else data)

    def _read_zip(self, path: Path, data: bytes) -> None:
        """Every fitting member of an archive; archives in archives are left out, except .gz."""
        before = len(self.documents), len(self._refused)
        archive = ZipArchive(data, quoted(path))
        for member in archive:
            hidden = any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(member).parts)
            self._hidden += hidden
            if not hidden and self._fits(member, READERS.keys() - {".epub"}):
                with self._leniently():
                    self._add(f"{path}:{member}", archive.read(member))
        self._check_found(before, quoted(path))

    def _add(self, path: str, data: bytes, read: Reader | None = None) -> None:
        name = "standard input" if path == STDIN else quoted(path)
        contents = (read or READERS.get(suffix_of(path), read_plain))(data, name, self._config)
        source = Source(printable(path), contents.encoding, contents.guessed, len(data))
        self.documents.append(Document(source, contents))

    def _seen(self, names: list[str]) -> list[str]:
        """The names that are not hidden, sorted; the others are counted."""
        seen = sorted(name for name in names if not name.startswith("."))
        self._hidden += len(names) - len(seen)
        return seen

    def _fits(self, name: str, suffixes: Collection[str]) -> bool:
        """True when a reader opens files with such a name; others are counted."""
        suffix = suffix_of(name)
        if suffix not in suffixes:
            self._unfit[suffix or "without ending"] += 1
        return suffix in suffixes

    @contextmanager
    def _leniently(self) -> Generator[None]:
        """A file that was only found may be unreadable; that is remembered."""
        try:
            yield
        except TextError as error:
            self._refused.append(str(error))

    def _check_found(self, before: tuple[int, int], place: str) -> None:
        """Errors: TextError when no document came to the (documents, refusals) that were there before."""
        documents, refused = before
        if len(self.documents) > documents:
            return
        if len(self._refused) > refused:
            raise TextError(self._refused.pop())
        raise TextError(f"no text in {place}: expected files such as .txt, .md, .jsonl, .csv, .html or .epub")


def _all_bytes(stream: BinaryIO | BufferedReader, name: str, *, is_text: bool) -> bytes:
    """What a stream holds, within the limit; what `is_text` and shows that it is none is not read to its end."""
    chunks = [stream.read(_BEGINNING)]
    size, free_of_nul = len(chunks[0]), False
    if is_text and size == _BEGINNING:
        free_of_nul = not is_wide(chunks[0], name)
    while len(chunks[-1]) and (chunk := stream.read(_CHUNK)):
        size += len(chunk)
        if size > MOST_BYTES:
            raise TextError(f"{name} must have at most {MOST_BYTES >> 30} GB, but it has more: split it")
        if free_of_nul and b"\0" in chunk:
            raise TextError(f"{name} is binary, not a text: it has NUL bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def suffix_of(name: str) -> str:
    """The end of a name that tells its format, lower case, without `.gz`."""
    return PurePosixPath(name.lower().removesuffix(".gz")).suffix


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _unreadable(path: Path, error: Exception) -> TextError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else "its name cannot be used"
    return TextError(f"cannot read {quoted(path)}: {reason.lower()}")
