"""Texts that were given to learn from: files in one folder, by plain names; knows no format and no HTTP."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from fabula.errors import FolderError
from fabula.serve.refusals import Refusal

LARGEST = 64 << 20
"""Bytes of one text."""

ALL = 1 << 30
"""Bytes of all of them."""

CHECKED = 4 << 20
"""Bytes of a text that come between two looks at how much there is of all."""

LEFT = 3600.0
"""Seconds after which a file that nobody goes on writing was left behind by a kill."""

NAME, BYTES = 100, 200
"""Most characters of a name, and bytes, for a file system counts those."""

RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{one}{n}" for one in ("com", "lpt") for n in range(10))})
"""Names that are none on Windows, whatever comes after a dot."""


class Texts:
    """The texts in a folder, which is made when the first one comes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def listed(self) -> list[dict[str, Any]]:
        """Names and sizes, by name."""
        return [{"name": name, "bytes": size} for name, size in sorted(self._sizes().items()) if name[0] != "."]

    def named(self, name: str) -> Path:
        """The file of a text. Errors: Refusal where there is none."""
        if not any(one["name"] == name for one in self.listed()):
            raise Refusal(404, "there is no such text", code="not_found")
        return self.path / name

    async def keep(self, name: str, parts: AsyncIterator[bytes]) -> dict[str, Any]:
        """Keep what comes under a plain name, in place of an older text of that name. Errors: Refusal, FolderError."""
        plain = plain_name(name)
        if not plain:
            raise Refusal(400, "a text needs a name", param="name")
        draft, size, checked = self.path / f".{secrets.token_hex(8)}", 0, 0
        too_much = Refusal(
            413, f"that is too much: {LARGEST >> 20} MiB a text, {ALL >> 30} GiB in all", code="too_long"
        )
        file: BinaryIO | None = None
        try:
            file = await asyncio.to_thread(self._begin, draft)
            async for part in parts:
                size += len(part)
                if size > LARGEST:
                    raise too_much
                await asyncio.to_thread(file.write, part)  # a slow disk holds up nobody else
                if size - checked >= CHECKED or not checked:
                    checked = size
                    if await asyncio.to_thread(self._held, plain) > ALL:
                        raise too_much
            if not size:
                raise Refusal(400, "the text is empty", code="empty")
            await asyncio.to_thread(file.close)
            if await asyncio.to_thread(self._held, plain) > ALL:
                raise too_much
            draft.replace(self.path / plain)
        except OSError as error:
            raise FolderError(f"cannot keep the text: {error.strerror}") from None
        finally:
            with suppress(OSError):
                if file is not None:
                    file.close()
            with suppress(OSError):
                draft.unlink()
        return {"name": plain, "bytes": size}

    def remove(self, name: str) -> None:
        """It is gone. Errors: Refusal where there is none."""
        try:
            self.named(name).unlink(missing_ok=True)
        except OSError as error:
            raise FolderError(f"cannot remove the text: {error.strerror}") from None

    def _sizes(self) -> dict[str, int]:
        """Bytes of all files, those that are still coming among them by names with a dot before."""
        sizes = dict[str, int]()
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.path) as entries:
            for one in entries:
                with suppress(FileNotFoundError):  # gone meanwhile
                    if one.is_file(follow_symlinks=False):
                        sizes[one.name] = one.stat(follow_symlinks=False).st_size
        return sizes

    def _held(self, replaced: str) -> int:
        """Bytes of all but the one that is to be replaced, with whatever is coming at the same time."""
        return sum(size for name, size in self._sizes().items() if name != replaced)

    def _begin(self, draft: Path) -> BinaryIO:
        """A new file, and none of those that a killed server left behind."""
        self.path.mkdir(parents=True, exist_ok=True)
        for path in self.path.glob(".*"):
            with suppress(OSError):
                if re.fullmatch(r"\.[0-9a-f]{16}", path.name) and time.time() - path.stat().st_mtime > LEFT:
                    path.unlink()
        return draft.open("xb")


def plain_name(given: str) -> str:
    r"""A name that a file can have on any system, and that leads nowhere; nothing where nothing is left of it.

    >>> plain_name("../My tales.txt"), plain_name("C:\\a\\..b?.txt"), plain_name(".."), plain_name("老鼠.txt")
    ('My tales.txt', 'b_.txt', '', '老鼠.txt')
    """
    last = re.split(r"[/\\]", given)[-1]
    clean = "".join(one if one.isprintable() and one not in '<>:"|?*' else "_" for one in last)
    stem, dot, suffix = clean.strip(" .").rpartition(".")
    if not dot:
        stem, suffix = suffix, ""
    ending = f".{suffix[:11]}" if dot else ""
    if stem.partition(".")[0].rstrip().casefold() in RESERVED:
        stem = f"_{stem}"
    stem, room = stem[: NAME - len(ending)].encode("utf-8", "replace"), BYTES - len(ending.encode("utf-8", "replace"))
    return f"{stem[:room].decode(errors='ignore')}{ending}".strip(" .")
