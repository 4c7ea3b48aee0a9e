"""Opens .gz and .zip in memory, within limits, so that no archive can fill memory or write a file; knows no formats."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from fabula.errors import TextError

MOST_MEMBERS = 100_000
MOST_BYTES = 2 << 30
"""More than the text of any one file; also the limit for files that are not packed."""

HIGHEST_RATIO = 200
"""Text shrinks about 3 to 10 times; what shrinks more than this (beyond the first megabytes) is a bomb."""

_FREE_BYTES = 4 << 20  # the ratio does not matter below this size
_CHUNK = 1 << 20
_DIRECTORY_ENTRY = b"PK\x01\x02"
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError)


class _Meter:
    """Counts what comes out of one archive and stops it at the limits."""

    def __init__(self, name: str, packed: int) -> None:
        self._name = name
        self._most = min(MOST_BYTES, max(_FREE_BYTES, packed * HIGHEST_RATIO))
        self._unpacked = 0

    def read(self, stream: IO[bytes] | gzip.GzipFile) -> bytes:
        """All bytes of a member; errors: TextError at the limit."""
        chunks: list[bytes] = []
        while chunk := stream.read(_CHUNK):
            self._unpacked += len(chunk)
            if self._unpacked > self._most:
                raise TextError(
                    f"{self._name} unpacks to more than {self._most >> 20:,} MB, like an archive bomb: "
                    "unpack it yourself and give the files"
                )
            chunks.append(chunk)
        return b"".join(chunks)


def unpack_gzip(data: bytes, name: str, meter: _Meter | None = None) -> bytes:
    """What a .gz file holds; errors: TextError when it is damaged or too large."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            return (meter or _Meter(name, len(data))).read(stream)
    except _DAMAGED:
        raise TextError(f"{name} is damaged or no gzip file: pack it again") from None


def _check_count(members: int, name: str) -> None:
    """Errors: TextError for more members than any honest archive of texts has."""
    if members > MOST_MEMBERS:
        raise TextError(f"{name} must have at most {MOST_MEMBERS:,} files in it, got {members:,}")


class ZipArchive:
    """The members of a .zip file by name; nothing is ever written to disk."""

    def __init__(self, data: bytes, name: str) -> None:
        self._name = name
        self._meter = _Meter(name, len(data))
        _check_count(data.count(_DIRECTORY_ENTRY), name)  # before the module makes an object of each
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except _DAMAGED:
            raise TextError(f"{name} is damaged or no zip file: pack it again") from None
        members = self._archive.infolist()
        _check_count(len(members), name)
        self._members = {member.filename: member for member in members if member.filename[-1:] not in ("", "/")}

    def __contains__(self, member: str) -> bool:
        return member in self._members

    def __iter__(self) -> Iterator[str]:
        """Names of the members, sorted, folders left out."""
        return iter(sorted(self._members))

    def read(self, member: str) -> bytes:
        """The bytes of one member, a .gz unpacked; errors: TextError when it is damaged, locked or too large."""
        info = self._members[member]
        if info.flag_bits & 1:
            raise TextError(f"{self._name} is locked with a password: unpack it yourself and give the files")
        # Not bzip2: the module unpacks some bytes of it to gigabytes at once, before anybody can count them.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise TextError(f"{self._name} is packed by method {info.compress_type}: pack it again with deflate")
        try:
            with self._archive.open(info) as stream:
                data = self._meter.read(stream)
        except _DAMAGED:
            raise TextError(f"{self._name} is damaged: pack it again") from None
        # On the same meter: many small bombs are a large one.
        return unpack_gzip(data, self._name, self._meter) if member.lower().endswith(".gz") else data
