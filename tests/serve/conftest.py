"""What the tests of the server share: models of several units, running servers, and requests down to the bytes."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from fabula import folder
from fabula.config import resolve
from fabula.engine import expected_shapes
from fabula.novelty import Index
from fabula.text import words_of
from fabula.tokens import build

FAULTY = Path(__file__).with_name("faulty.py")
LONG = 30.0
"""Seconds after which a server that does not answer is broken, however busy the machine is."""


def make(home: Path, unit: str, texts: Sequence[str], *, window: int = 0, spread: float = 0.5) -> Path:
    """A model of random weights; `spread` is how sure it is of itself."""
    tokenizer, rng = build(unit, texts), np.random.default_rng(1)
    model = {"layers": 2, "hidden": 12, "embedding": 6, "head": "full", "dropout": 0.0, "window": window}
    settings = resolve({"model": model, "sampling": {"temperature": 1.0, "seed": 3}})
    shapes = expected_shapes(settings.model, tokenizer.size)
    weights = {name: rng.normal(0, spread, shape).astype(np.float32) for name, shape in shapes.items()}
    name = f"{unit}-{window}" if window else unit
    (home / name).mkdir()
    folder.write_model(
        home / name, settings=settings, tokenizer=tokenizer, weights=weights, about={"digest": "x"}, card="# x",
        index=Index.of([words_of(text) for text in texts]),
    )  # fmt: skip
    return home / name


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, fable: Path) -> dict[str, Path]:
    """Words of the fable, letters of several scripts, bytes, and symbols in a fixed window."""
    home, text = tmp_path_factory.mktemp("served"), fable.read_text(encoding="utf-8")
    made = [
        make(home, "words", [text]),
        make(home, "chars", ["long ago, the mice. 老鼠 猫 🐭 é\n" * 3]),
        make(home, "bytes", [], spread=1.0),
        make(home, "symbols", [text], window=3),
    ]
    return {path.name: path for path in made}


@dataclass
class Served:
    """A server that runs as a process of its own."""

    url: str
    process: "subprocess.Popen[str]"
    state: Path | None = None
    errors: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def post(self, path: str = "/v1/completions", **body: Any) -> httpx2.Response:
        return httpx2.post(self.url + path, json=body, timeout=LONG)

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return httpx2.get(self.url + path, timeout=LONG, headers=headers)

    def figure(self, name: str) -> float:
        """A figure of /metrics, summed over its labels."""
        found = re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", self.get("/metrics").text, re.MULTILINE)
        return sum(map(float, found))

    def wait(self, name: str, value: float) -> None:
        """Wait until a figure has that value."""
        until(lambda: self.figure(name) == value)

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        """A bare connection."""
        bare = socket.socket()
        if receive_buffer:
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        bare.settimeout(LONG)
        bare.connect(("127.0.0.1", self.port))
        return bare

    def raw(self, data: bytes) -> bytes:
        """Send bytes, and return all that comes until the server closes the connection."""
        parts = list[bytes]()
        with closing(self.connect()) as bare, suppress(ConnectionResetError, BrokenPipeError):
            while data and not select.select([bare], [], [], 0)[0]:  # who is answered sends no more
                data = data[bare.send(data[:65536]) :]
            while part := bare.recv(65536):
                parts.append(part)
        return b"".join(parts)

    def request(self, method: str = "GET", path: str = "/v1/models", body: bytes = b"", **headers: str) -> bytes:
        """A request with exactly these headers, after which the connection is closed; underscores stand for dashes."""
        lines = {"Host": f"127.0.0.1:{self.port}", "Connection": "close"}
        lines |= {"Content-Length": str(len(body)), "Content-Type": "application/json"} if body else {}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
        return self.raw(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def say(self, word: str) -> None:
        """What the engine is to do from now on."""
        assert self.state is not None
        self.state.unlink(missing_ok=True)
        if word:
            self.state.write_text(word, encoding="utf-8")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(LONG)


def until(true: Callable[[], bool], seconds: float = LONG) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def events(text: str) -> list[Any]:
    """The values of a stream of events, which must end as it should."""
    parts = text.split("\n\n")
    assert parts[-2:] == ["data: [DONE]", ""], parts[-2:]
    return [json.loads(part.removeprefix("data: ")) for part in parts[:-2]]


@contextmanager
def running(command: Sequence[str], state: Path | None = None, **environment: str) -> Iterator[Served]:
    """A server as a process; afterwards it must have ended, and its complaints are in `errors`."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    assert process.stdout is not None
    served = Served(process.stdout.readline().strip(), process, state)
    try:
        yield served
    finally:
        if process.poll() is None:
            process.terminate()
        served.errors += (process.communicate(timeout=LONG)[1] or "").splitlines()


@pytest.fixture(scope="session")
def served(models: dict[str, Path]) -> Iterator[Served]:
    """All models on one server, as a user starts it."""
    command = [sys.executable, "-m", "fabula", "serve", *map(str, models.values()), "--port", "0"]
    with running(command) as one:
        yield one
    assert one.process.returncode == 0
    assert [line for line in one.errors if "open it in a browser" not in line] == []


@pytest.fixture
def faulty(models: dict[str, Path], tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts a server with an engine that does what it is told, and limits of one's own."""
    running_ones = []

    def start(word: str = "", **limits: float) -> Served:
        state = tmp_path / f"state-{len(running_ones)}"
        command = [sys.executable, str(FAULTY), str(models["bytes"]), str(state), json.dumps(limits)]
        manager = running(command, state)
        running_ones.append(manager)
        served = manager.__enter__()
        served.say(word)
        return served

    yield start
    for manager in running_ones:
        manager.__exit__(None, None, None)
