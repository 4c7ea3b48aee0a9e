"""Regular files: what is none is refused at once, and nothing is read beyond a limit."""

import os
import socket
from pathlib import Path

import pytest

from fabula.regular import open_regular, read_regular


def test_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"the mouse")
    (tmp_path / "b").symlink_to("a")
    assert read_regular(tmp_path / "a", 9) == b"the mouse"
    assert read_regular(tmp_path / "b", 9, 4) == b"mouse"
    assert read_regular(tmp_path / "a", 9, 400) == b""
    with open_regular(tmp_path / "b") as file:
        assert file.read() == b"the mouse"


def test_more_than_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "giant").touch()
    os.truncate(tmp_path / "giant", 1 << 40)
    with pytest.raises(OSError, match="larger than 1,024 bytes"):
        read_regular(tmp_path / "giant", 1024)


@pytest.mark.parametrize("kind", ["fifo", "socket", "folder", "device", "link", "loop", "missing"])
def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as plug:
            plug.bind(str(path))
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "link":
        (tmp_path / "a").touch()
        path.symlink_to("a")
    elif kind == "loop":
        path.symlink_to("x")
    with pytest.raises(OSError, match=r"not a file|No such file|symbolic links"):
        read_regular(path, 1024, links=kind != "link")
