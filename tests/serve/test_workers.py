"""Several processes behind one port: all answer, none is missed, none is left behind; real processes, real signals."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from .conftest import LONG, Served, make, running, until


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make(tmp_path, "bytes", [], spread=1.0)


@pytest.fixture
def start(model: Path) -> Iterator[Callable[..., Served]]:
    """Starts a server of two workers; afterwards nothing of it must be left."""
    managers = []

    def begin(*more: str) -> Served:
        command = [sys.executable, "-m", "fabula", "serve", str(model), *more, "--port", "0", "--workers", "2"]
        manager = running(command)
        managers.append((manager, served := manager.__enter__()))
        return served

    yield begin
    for manager, served in managers:
        family = descendants(served.process.pid)
        manager.__exit__(None, None, None)
        until(lambda family=family: not any(map(alive, family)))


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return []


def descendants(pid: int) -> list[int]:
    return [found for child in children(pid) for found in (child, *descendants(child))]


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    return False


def workers(served: Served) -> list[int]:
    """Those that serve; another child only looks after shared memory."""
    found = []
    for child in children(served.process.pid):
        with suppress(OSError):
            found += [child] if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes() else []
    return found


def sockets(pid: int) -> int:
    """Sockets of a process: that of the port, those of its supervisor, and its connections."""
    return sum(str(one.readlink()).startswith("socket:") for one in Path(f"/proc/{pid}/fd").iterdir())


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that does nothing for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def tell(served: Served, **body: Any) -> Any:
    answer = served.post(temperature=1, logit_bias={"256": -100}, **body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_all_answer_and_go_on_with_one_anothers_stories(start: Callable[..., Served]) -> None:
    """Without a key of its own a server makes one, which all its workers share."""
    served = start()
    one, other = workers(served)
    begin = {"prompt": "long ago", "seed": 7}
    with stopped(other):
        whole = tell(served, **begin, max_tokens=80)["choices"][0]["text"]
        first = tell(served, **begin, max_tokens=40, keep=True)
    with stopped(one):
        then = tell(served, state=first["state"], max_tokens=40)
        assert served.get("/health").json() == {"status": "ok", "engines": {}}
        assert served.figure("fabula_units_written_total") == 40, "its own, not those of the other"
    assert first["choices"][0]["text"] + then["choices"][0]["text"] == whole


def test_a_killed_worker_is_replaced_and_the_others_go_on(
    start: Callable[..., Served], tmp_path: Path, model: Path
) -> None:
    served = start(str(make(tmp_path, "chars", ["long ago\n" * 3])))
    ask = {"model": "bytes", "prompt": "x", "max_tokens": 16_000, "logit_bias": {"256": -100}, "stream": True}
    with (
        pytest.raises(httpx2.RemoteProtocolError),
        httpx2.stream("POST", f"{served.url}/v1/completions", json=ask, timeout=LONG) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        shutil.rmtree(model)  # a worker that comes later goes without what it cannot read
        one, other = sorted(workers(served), key=sockets)  # the other has the connection
        os.kill(one, signal.SIGKILL)
        assert served.post(model="chars", prompt="lo", max_tokens=3).status_code == 200
        assert all(next(lines) is not None for _ in range(20)), "what is told by the other goes on"
        until(lambda: len(workers(served)) == 2 and one not in workers(served))
        os.kill(other, signal.SIGKILL)
        list(lines)
    until(lambda: len(workers(served)) == 2 and other not in workers(served))
    until(lambda: served.post(model="chars", prompt="lo", max_tokens=3).status_code == 200)
    assert served.post(model="bytes", prompt="lo", max_tokens=3).status_code == 503


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_in_order(start: Callable[..., Served], number: int) -> None:
    served = start()
    family = descendants(served.process.pid)
    assert served.stop(number) == 0
    until(lambda: not any(map(alive, family)))
    with socket.socket() as bare:
        assert bare.connect_ex(("127.0.0.1", served.port)) != 0
    assert served.process.stderr is not None
    (said,) = served.process.stderr.read().splitlines()
    assert "2 workers, without the studio" in said


def test_streams_are_closed_as_they_should(start: Callable[..., Served]) -> None:
    served = start()
    ask = {"prompt": "x", "max_tokens": 16_000, "logit_bias": {"256": -100}, "stream": True, "keep": True}
    lines = list[str]()
    with httpx2.stream("POST", f"{served.url}/v1/completions", json=ask, timeout=LONG) as answer:
        for line in answer.iter_lines():
            if not lines:
                served.process.send_signal(signal.SIGTERM)
            lines += [line] if line else []
    assert lines[-1] == "data: [DONE]"
    assert json.loads(lines[-2].removeprefix("data: "))["choices"][0]["finish_reason"] == "length"
    assert served.process.wait(LONG) == 0


def test_workers_end_with_a_supervisor_that_was_killed(start: Callable[..., Served]) -> None:
    served = start()
    family = descendants(served.process.pid)
    assert len(family) >= 2
    ask = {"prompt": "x", "max_tokens": 16_000, "logit_bias": {"256": -100}, "stream": True}
    with httpx2.stream("POST", f"{served.url}/v1/completions", json=ask, timeout=LONG) as answer:
        lines = answer.iter_lines()
        next(lines)
        served.process.kill()
        until(lambda: not any(map(alive, family)), 10)
        assert list(lines)[-2:] == ["data: [DONE]", ""], "in order all the same"
    with socket.create_server(("127.0.0.1", served.port)):
        pass  # nobody listens there any more


def test_workers_are_replaced_one_after_another_by_those_that_can_begin(
    start: Callable[..., Served], model: Path
) -> None:
    served = start("--quiet")
    before = set(workers(served))
    served.process.send_signal(signal.SIGHUP)
    answers = list[int]()
    while before & set(workers(served)):
        with suppress(httpx2.RemoteProtocolError, httpx2.ReadError):  # taken by one that was just leaving
            answers.append(served.post(prompt="x", max_tokens=2).status_code)
    assert answers.count(200) > len(answers) * 0.9
    until(lambda: len(workers(served)) == 2)
    after = set(workers(served))
    (model / "manifest.json").unlink()
    served.process.send_signal(signal.SIGHUP)
    assert served.process.stderr is not None
    assert served.process.stderr.readline() == "fabula: a new worker could not begin: the old ones go on\n"
    assert set(workers(served)) == after
    assert served.post(prompt="x", max_tokens=2).status_code == 200


def test_nobody_reads_the_address(model: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "fabula", "serve", str(model), "--port", "0", "--workers", "2"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )  # fmt: skip - which waits for all that could still complain, the workers among them
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_studio_is_for_one_process(start: Callable[..., Served]) -> None:
    served = start()
    refused = served.get("/")
    assert refused.status_code == 404
    assert "leave --workers out" in refused.json()["error"]["message"]
    assert served.get("/studio/models").status_code == 404


def test_what_cannot_be_served_is_told_once(model: Path, tmp_path: Path) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    empty = tmp_path / "empty"
    empty.mkdir()
    for place, given, why in ((tmp_path, [str(model)], "model.safetensors"), (empty, [], "must have a model")):
        done = subprocess.run(
            [sys.executable, "-m", "fabula", "serve", *given, "--port", "0", "--workers", "3"],
            capture_output=True, text=True, check=False, timeout=60, cwd=place,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert why in done.stderr
        assert done.stdout == ""
