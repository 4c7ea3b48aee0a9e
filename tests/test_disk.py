"""Bytes on the disk: whole or not at all, what is left behind goes, and who is there is alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fabula import disk

FULL = """
import pathlib, resource, sys
from fabula import disk
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
target = pathlib.Path(sys.argv[1])
for write in (disk.write, disk.append):
    try:
        write(target, b"x" * 101)
    except OSError as error:
        print(error.strerror)
"""


def test_where_there_is_no_room_the_old_bytes_stay(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", FULL, str(target)], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 2
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_reads_back_otherwise_was_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that takes everything and loses some of it."""
    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", lambda handle: os.ftruncate(handle, 2))
    with pytest.raises(OSError, match="reads back otherwise"):
        disk.write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_folder_is_there_when_it_is_full(tmp_path: Path) -> None:
    final = tmp_path / "final"
    with pytest.raises(ZeroDivisionError), disk.new_folder(final) as draft:
        (draft / "a").write_bytes(b"1")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with disk.new_folder(final) as draft:
        (draft / "a").write_bytes(b"1")
        assert not final.exists()
    assert (final / "a").read_bytes() == b"1"
    disk.remove(final)
    disk.remove(final)
    assert list(tmp_path.iterdir()) == []


def test_only_drafts_of_the_dead_are_cleared(tmp_path: Path) -> None:
    dead, alive = 2**22 + 1, os.getppid()  # no process has so high a number
    names = [f".a.{dead}", f".b.{dead}", f".a.{alive}", f".a.{os.getpid()}", ".a.txt", f"a.{dead}", f".a.{'9' * 40}"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    disk.clear_drafts(tmp_path, ["a"])
    assert {entry.name for entry in tmp_path.iterdir()} == {
        f".b.{dead}",
        f".a.{alive}",
        ".a.txt",
        f"a.{dead}",
        names[-1],
    }
    disk.clear_drafts(tmp_path / "missing")


def test_a_log_has_whole_lines_and_a_length(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert disk.length(log) == 0
    disk.append(log, b"one\n")
    disk.append(log, b"two\n")
    assert (log.read_bytes(), disk.length(log)) == (b"one\ntwo\n", 8)


def test_one_at_a_time(tmp_path: Path) -> None:
    with disk.alone_in(tmp_path) as first, disk.alone_in(tmp_path) as second:
        assert (first, second) == (True, False)
    with disk.alone_in(tmp_path) as third:
        assert third
