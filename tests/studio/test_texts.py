"""Texts that are given: names that any system takes, uploads that break off, and no more of them than there may be."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.serve.conftest import Served, running, until

from fabula.errors import FolderError
from fabula.serve.refusals import Refusal
from fabula.studio import texts as room
from fabula.studio.texts import Texts, plain_name


async def parts(*given: bytes, slow: float = 0.0) -> AsyncIterator[bytes]:
    for part in given:
        await asyncio.sleep(slow)
        yield part


def test_names_are_such_as_any_system_takes() -> None:
    for given in (
        "老" * 200 + ".txt",
        "🐭" * 90,
        "x" * 300,
        "a." + "b" * 300,
        "CON",
        "nul.tar.gz",
        "com1.txt",
        "-o",
        ".a",
    ):
        plain = plain_name(given)
        assert plain
        assert plain_name(plain) == plain
        assert len(plain.encode()) <= room.BYTES
        assert len(plain) <= room.NAME
        assert plain.partition(".")[0].lower() not in room.RESERVED
        assert not plain.startswith(".")
    assert plain_name("老" * 200 + ".txt").endswith(".txt")


def test_all_of_them_are_bounded_however_many_come_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ALL", 250_000)
    monkeypatch.setattr(room, "CHECKED", 1)
    texts = Texts(tmp_path / "texts")

    async def run() -> list[object]:
        coming = (texts.keep(f"{n}.txt", parts(*[b"x" * 10_000] * 10, slow=0.005)) for n in range(6))
        return list(await asyncio.gather(*coming, return_exceptions=True))

    ends = asyncio.run(run())
    assert any(isinstance(end, Refusal) and end.status_code == 413 for end in ends)
    assert all(isinstance(end, Refusal | dict) for end in ends)
    assert sum(path.stat().st_size for path in (tmp_path / "texts").iterdir()) <= 250_000


def test_what_breaks_off_leaves_nothing_and_what_a_kill_left_goes(tmp_path: Path) -> None:
    texts = Texts(tmp_path / "texts")

    async def breaks() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionAbortedError

    with pytest.raises(FolderError):
        asyncio.run(texts.keep("a.txt", breaks()))
    assert list((tmp_path / "texts").iterdir()) == []
    for name, age in ((".0123456789abcdef", 1e6), (".fedcba9876543210", 0), (".mine", 1e6)):
        (tmp_path / "texts" / name).write_bytes(b"x")
        os.utime(tmp_path / "texts" / name, (0, 0) if age else None)
    asyncio.run(texts.keep("a.txt", parts(b"x")))
    found = sorted(path.name for path in (tmp_path / "texts").iterdir())
    assert found == [".fedcba9876543210", ".mine", "a.txt"]
    assert texts.listed() == [{"name": "a.txt", "bytes": 1}]


def test_whatever_lies_in_their_place_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "texts" / "a.txt").mkdir(parents=True)
    assert Texts(tmp_path / "file").listed() == []
    for folder in ("file", "texts"):
        with pytest.raises(FolderError, match="cannot keep the text"):
            asyncio.run(Texts(tmp_path / folder).keep("a.txt", parts(b"x")))
    (tmp_path / "texts" / "link.txt").symlink_to("/etc/hostname")
    assert Texts(tmp_path / "texts").listed() == []
    with pytest.raises(Refusal):
        Texts(tmp_path / "texts").named("link.txt")


SERVER = """
import sys
from pathlib import Path
from fabula.serve.app import House
from fabula.serve.limits import Limits
from fabula.serve.transport import Server, listen
from fabula.studio import Studio
house = House({}, limits=Limits(receive=1.0, body=50_000))
studio, listener = Studio(house, Path(sys.argv[1])), listen("127.0.0.1", 0)
begun = lambda: print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
Server(house.app, house.limits, begun=begun, farewell=studio.end).run(sockets=[listener])
"""


def send(served: Served, name: str, part: bytes, count: int, pause: float) -> bytes:
    """A text in parts; the answer, nothing where the server would not wait for it."""
    with socket.create_connection(("127.0.0.1", served.port), 30) as bare:
        try:
            length = f"Content-Length: {len(part) * count}\r\nConnection: close"
            bare.sendall(f"PUT /studio/texts/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n\r\n".encode())
            for _ in range(count):
                bare.sendall(part)
                time.sleep(pause)
            return bare.recv(12)
        except OSError:
            return b""


def test_a_long_text_may_take_its_time_as_long_as_it_comes(tmp_path: Path) -> None:
    with running([sys.executable, "-c", SERVER, str(tmp_path)]) as served:
        assert send(served, "long.txt", b"x" * 60_000, 8, 0.3) == b"HTTP/1.1 200"
        began = time.monotonic()
        assert send(served, "slow.txt", b"x", 12, 0.3) == b""
        assert time.monotonic() - began < 10
        until(lambda: [path.name for path in (tmp_path / "texts").iterdir()] == ["long.txt"])
    assert served.errors == []  # whoever leaves is no fault of ours
