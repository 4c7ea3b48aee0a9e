"""Texts that were given to learn from: files in one folder, by plain names; knows no format and no HTTP."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fabula.errors import FolderError
from fabula.serve.refusals import Refusal

LARGEST = 64 << 20
"""Bytes of one text."""

ALL = 1 << 30
"""Bytes of all of them."""

NAME = 100
"""Most characters of a name."""


class Texts:
    """The texts in a folder, which is made when the first one comes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def listed(self) -> list[dict[str, Any]]:
        """Names and sizes, by name."""
        if not self.path.is_dir():
            return []
        with os.scandir(self.path) as entries:
            files = [one for one in entries if one.is_file(follow_symlinks=False) and one.name[0] != "."]
        return [{"name": one.name, "bytes": one.stat().st_size} for one in sorted(files, key=lambda one: one.name)]

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
        room = ALL - sum(one["bytes"] for one in self.listed() if one["name"] != plain)
        draft, size = self.path / f".{secrets.token_hex(8)}", 0
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with draft.open("xb") as file:
                async for part in parts:
                    size += len(part)
                    if size > min(LARGEST, room):
                        most = f"{LARGEST >> 20} MiB a text, {ALL >> 30} GiB in all"
                        raise Refusal(413, f"that is too much: {most}", code="too_long")
                    file.write(part)
            if not size:
                raise Refusal(400, "the text is empty", code="empty")
            draft.replace(self.path / plain)
        except OSError as error:
            raise FolderError(f"cannot keep the text: {error.strerror}") from None
        finally:
            draft.unlink(missing_ok=True)
        return {"name": plain, "bytes": size}

    def remove(self, name: str) -> None:
        """It is gone. Errors: Refusal where there is none."""
        self.named(name).unlink(missing_ok=True)


def plain_name(given: str) -> str:
    r"""A name that a file can have on any system, and that leads nowhere; nothing where nothing is left of it.

    >>> plain_name("../My tales.txt"), plain_name("C:\\a\\..b?.txt"), plain_name(".."), plain_name("老鼠.txt")
    ('My tales.txt', 'b_.txt', '', '老鼠.txt')
    """
    last = re.split(r"[/\\]", given)[-1]
    clean = "".join(one if one.isprintable() and one not in '<>:"|?*' else "_" for one in last)
    stem, dot, suffix = clean.strip(" .").rpartition(".")
    short = clean.strip(" .") if not dot else f"{stem[: NAME - 12]}.{suffix[:11]}"
    return short[:NAME].strip(" .").encode("utf-8", "replace").decode()
