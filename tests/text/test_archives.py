"""Archives within limits."""

import gzip
import io
import random
import zipfile

import pytest

from fabula.errors import TextError
from fabula.text import archives
from fabula.text.archives import ZipArchive, unpack_gzip


def packed(members: dict[str, bytes | str], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_members_are_sorted_and_folders_left_out() -> None:
    archive = ZipArchive(packed({"b.txt": "two", "d/": "", "d/a.txt": "one", "c.txt.gz": gzip.compress(b"three")}), "x")
    assert list(archive) == ["b.txt", "c.txt.gz", "d/a.txt"]
    assert [archive.read(member) for member in archive] == [b"two", b"three", b"one"]


def test_members_that_are_not_compressed() -> None:
    assert ZipArchive(packed({"a": b"cat " * 99}, zipfile.ZIP_STORED), "x").read("a") == b"cat " * 99


def test_bzip2_is_refused_before_it_unpacks() -> None:
    """445 bytes of it took 860 MB before the limit was looked at."""
    with pytest.raises(TextError, match="packed by method 12"):
        ZipArchive(packed({"a": b"cat " * 99}, zipfile.ZIP_BZIP2), "x").read("a")


def test_too_many_members_are_counted_before_they_become_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("opened"))
    with pytest.raises(TextError, match="at most 3 files"):
        ZipArchive(b"PK\x01\x02" * 4, "'x'")


def test_members_with_strange_names() -> None:
    assert list(ZipArchive(packed({"aa": "x", "bb": "y"}).replace(b"bb", b"./"), "x")) == ["aa"]
    hollow = bytearray(packed({"a": "x"}))
    place = hollow.rindex(b"PK\x01\x02")
    hollow[place + 28] = 0  # the name's length in the directory
    hollow[place + 30] = 1  # its letter becomes part of an extra field
    assert list(ZipArchive(bytes(hollow), "x")) == []


def test_gzip_in_several_parts() -> None:
    assert unpack_gzip(gzip.compress(b"one ") + gzip.compress(b"two"), "x") == b"one two"


def test_bombs_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_FREE_BYTES", 1 << 20)
    zeros = bytes(8 << 20)
    with pytest.raises(TextError, match="bomb"):
        unpack_gzip(gzip.compress(zeros), "'x'")
    with pytest.raises(TextError, match="bomb"):
        ZipArchive(packed({"a": zeros}), "'x'").read("a")


def test_many_small_bombs_are_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_FREE_BYTES", 1 << 20)
    archive = ZipArchive(packed({f"{i}.gz": gzip.compress(bytes(300_000)) for i in range(10)}), "'x'")
    with pytest.raises(TextError, match="bomb"):
        for member in archive:
            archive.read(member)


def test_a_size_that_lies_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_FREE_BYTES", 1 << 20)
    data = packed({"a": bytes(8 << 20)})
    data = data.replace((8 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    with pytest.raises(TextError, match=r"bomb|damaged"):
        ZipArchive(data, "'x'").read("a")


def test_too_many_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 3)
    with pytest.raises(TextError, match="at most 3 files"):
        ZipArchive(packed(dict.fromkeys("abcd", b"")), "'x'")


def test_locked_and_unknown_methods_are_said() -> None:
    data = bytearray(packed({"a": b"cat"}))
    place = data.rindex(b"PK\x01\x02")
    locked = data.copy()
    locked[place + 8] |= 1
    with pytest.raises(TextError, match="password"):
        ZipArchive(bytes(locked), "'x'").read("a")
    data[place + 10] = 14
    with pytest.raises(TextError, match="method 14"):
        ZipArchive(bytes(data), "'x'").read("a")


CUT = gzip.compress(b"cat " * 99, mtime=0)[:-9]  # a clock in it would give the test another name in each process


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"not at all", CUT, b"\x1f\x8b\x08"])
def test_damaged_archives_are_one_line(data: bytes) -> None:
    with pytest.raises(TextError, match="damaged"):
        ZipArchive(data, "'x'")
    if data:
        with pytest.raises(TextError, match="damaged"):
            unpack_gzip(data, "'x'")


def test_flipped_bits_never_give_a_traceback() -> None:
    rng = random.Random(1)
    zipped = packed({"a.txt": b"the cat " * 50, "b.txt.gz": gzip.compress(b"sat " * 50)})
    gzipped = gzip.compress(b"the cat sat " * 50)
    for _ in range(600):
        broken = bytearray(zipped)
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        try:
            archive = ZipArchive(bytes(broken), "'x'")
            for member in archive:
                archive.read(member)
        except TextError as error:
            assert len(str(error)) < 200
        broken = bytearray(gzipped)
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
        try:
            unpack_gzip(bytes(broken), "'x'")
        except TextError as error:
            assert len(str(error)) < 200
