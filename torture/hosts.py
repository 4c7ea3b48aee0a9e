"""Two machines of two processes each, one cut off and returned: network namespaces of this one, started by torchrun.

Cut off, the one that is left goes on alone from the last save, with half of the processes; when the other is started
again, all four go on. In the end the model folder is whole. Needs root and `ip`; without them nothing is asked.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fabula import folder
from torture import workshop
from torture.ranks import Found
from torture.runner import Answer

PROMISE = "a machine cut off: the other goes on alone from the last save; returned: both go on together"
QUICK, FULL = 0, 1

WITHIN = 120.0
"""Seconds until something is saved anew: an answer is waited for, and then whether another machine comes."""

NAMES = ("fabula-a", "fabula-b")
ADDRESSES = ("10.77.0.1", "10.77.0.2")


@contextmanager
def machines() -> Iterator[None]:
    """Two machines with a wire between them."""
    _take_away()
    known = "127.0.0.1 localhost\n" + "".join(
        f"{address} {name}\n" for name, address in zip(NAMES, ADDRESSES, strict=True)
    )
    for name in NAMES:
        _ip("netns", "add", name)
        files = Path("/etc/netns") / name  # what lies there stands in place of /etc for programs on that machine
        files.mkdir(parents=True, exist_ok=True)
        (files / "hosts").write_text(known, encoding="ascii")
    _ip("link", "add", "wire-a", "netns", NAMES[0], "type", "veth", "peer", "name", "wire-b", "netns", NAMES[1])
    for name, wire, address in zip(NAMES, ("wire-a", "wire-b"), ADDRESSES, strict=True):
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", wire)
        _ip("-n", name, "link", "set", wire, "up")
        _ip("-n", name, "link", "set", "lo", "up")
    try:
        yield
    finally:
        _take_away()


def _take_away() -> None:
    for name in NAMES:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def begin(number: int, text: Path, out: Path) -> subprocess.Popen[bytes]:
    """torchrun on one of the machines."""
    words = workshop.command(text, out, steps=10**9)
    for one in ("training.checkpoint_every=10", "training.evaluations=1", "training.decay=none"):
        words += ["--set", one]
    run = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", "1:2", "--nproc-per-node", "2",
        "--max-restarts", "100", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"{ADDRESSES[0]}:29400",
        "--rdzv-id", "library", "--local-addr", ADDRESSES[number], "--rdzv-conf", "last_call_timeout=5",
        "-m", "fabula", *words,
    ]  # fmt: skip
    wires = {"GLOO_SOCKET_IFNAME": f"wire-{'ab'[number]}", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    host = ["ip", "netns", "exec", NAMES[number], "unshare", "--uts", "sh", "-c"]
    named = f'hostname {NAMES[number]}; exec "$@"'
    said = (out.parent / f"said-{number}").open("ab")
    return subprocess.Popen(
        [*host, named, "sh", *run], stdout=said, stderr=said, env=os.environ | wires, start_new_session=True
    )


def _processes(out: Path) -> int:
    """How many learned together when it was last saved."""
    saved, _ = folder.read_checkpoint(out)
    return int(saved.state["processes"]) if saved else 0


def _until(out: Path, count: int, within: float) -> bool:
    """Whether so many processes have saved in time."""
    end = time.perf_counter() + within
    while time.perf_counter() < end:
        if _processes(out) == count:
            return True
        time.sleep(0.2)
    return False


def _end(process: subprocess.Popen[bytes], number: int) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def show(text: Path, out: Path, found: Found) -> None:
    """One machine is cut off and returned."""
    with machines():
        first, second = begin(0, text, out), begin(1, text, out)
        try:
            if not _until(out, 4, WITHIN):
                found.failed += 1
                found.wrong.append("four processes did not begin: " + (out.parent / "said-0").read_text()[-500:])
                return
            begun = time.perf_counter()
            found.harms += 1
            _ip("-n", NAMES[1], "link", "set", "wire-b", "down")
            if not _until(out, 2, WITHIN):
                found.hangs += 1
                found.wrong.append("the other machine did not go on alone")
                return
            found.slowest = round(time.perf_counter() - begun, 1)
            _end(second, signal.SIGTERM)
            _ip("-n", NAMES[1], "link", "set", "wire-b", "up")
            second = begin(1, text, out)
            if not _until(out, 4, WITHIN):
                found.hangs += 1
                found.wrong.append("returned, it was not taken in again")
        finally:
            for process in (first, second):
                _end(process, signal.SIGTERM)
    found.failed += not _goes_on_alone(out)


def _goes_on_alone(out: Path) -> bool:
    """Whether what is left is sound."""
    return bool(folder.read_checkpoint(out)[0]) and bool(folder.read_model(out))


def ask(count: int | None, seed: int, work: Path, workers: int) -> Answer:  # noqa: ARG001 - the machines are two
    """One machine cut off, and as a control one that nobody started."""
    begun, found = time.perf_counter(), Found()
    if os.geteuid() or not shutil.which("ip") or not shutil.which("unshare"):
        return Answer("hosts", PROMISE, 0, (), {"not asked: it needs root, ip and unshare": True}, 0.0)
    text = workshop.tell_tales(work / "tales.txt")
    for number in range(count or FULL):
        (work / str(number)).mkdir()
        show(text, work / str(number) / "model", found)
    alone = work / "alone"
    alone.mkdir()
    with machines():
        first = begin(0, text, alone / "model")
        never = not _until(alone / "model", 4, 20.0)
        _end(first, signal.SIGTERM)
    return workshop.answer("hosts", PROMISE, found.harms, found, {"the other was never started": never}, begun)
