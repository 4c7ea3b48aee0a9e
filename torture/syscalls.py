"""Every system call of a save fails once: is a checkpoint or a model ever lost, or read otherwise than it was written?

A process writes the third checkpoint of a folder and a new model over an old one. strace lets one of its calls fail
with EIO or ENOSPC, kills the process at it, or lets a write claim that it wrote one byte when it wrote none. Without
strace the same is done to functions of `os` inside the process: fewer calls (what Python's files do is none of them),
and it is said.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fabula import disk, folder
from fabula.config import resolve
from fabula.errors import FabulaError
from fabula.tokens import build
from torture.runner import Answer

PROMISE = "whichever system call of a save fails, no checkpoint or model is lost or read otherwise than it was written"
QUICK, FULL = 60, None

ROOT = Path(__file__).resolve().parents[1]
CALLS = (
    "openat,write,fsync,close,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,read,lseek,getdents64,"
    "newfstatat,fstat,ftruncate"
)
BEGIN, END = "/begin-of-the-save", "/end-of-the-save"
FUNCTIONS = (
    "io.open",
    "open",
    "write",
    "fsync",
    "close",
    "rename",
    "replace",
    "mkdir",
    "unlink",
    "rmdir",
    "scandir",
    "stat",
)
"""Of `os`, and the one of `io` that opens files, where there is no strace."""

SETTINGS = resolve({"model": {"layers": 1, "hidden": 4, "embedding": 3, "head": "full", "dropout": 0.0}})
TOKENIZER = build("symbols", ["the mouse and the cat"])


def tensors(number: int) -> dict[str, np.ndarray]:
    """The weights of the old model (0), the new one (1), or what a checkpoint holds."""
    units, rng = TOKENIZER.size, np.random.default_rng(number)
    shapes = {
        "embedding.weight": (units, 3), "cells.0.weight_ih": (16, 3), "cells.0.weight_hh": (16, 4),
        "cells.0.bias_ih": (16,), "cells.0.bias_hh": (16,), "head.weight": (units, 4), "head.bias": (units,),
    }  # fmt: skip
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write_model(path: Path, number: int) -> None:
    """A model that says which it is."""
    about = {"name": str(number)}
    folder.write_model(path, settings=SETTINGS, tokenizer=TOKENIZER, weights=tensors(number), about=about, card="#")


def prepare(path: Path) -> None:
    """Two checkpoints and a model."""
    for step in (1, 2):
        folder.write_checkpoint(path, folder.Checkpoint(step, tensors(step), {"step": step}))
    write_model(path, 0)


def save(path: Path, control: str, fault: str = "") -> int:
    """In a process of its own: a third checkpoint and a new model; says what it could write, as a training would."""
    if control:
        CONTROLS[control]()
    if fault:
        break_function(*fault.split(":"))
    Path(BEGIN).exists()
    for what, write in (
        ("checkpoint", lambda: folder.write_checkpoint(path, folder.Checkpoint(3, tensors(3), {"step": 3}))),
        ("model", lambda: write_model(path, 1)),
    ):
        try:
            write()
        except OSError:
            continue
        os.write(1, f"{what}\n".encode())
    Path(END).exists()
    return 0


def break_function(name: str, number: str, how: str) -> None:
    """Without strace: let one call of one function fail."""
    module, name = (io, name[3:]) if name.startswith("io.") else (os, name)
    plain, left = getattr(module, name), int(number)

    def broken(*given: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            if how == "KILL":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(getattr(errno, how), os.strerror(getattr(errno, how)))
        return plain(*given, **named)

    setattr(module, name, broken)


def write_in_place() -> None:
    """Control: files grow under their own names, and nobody reads them back."""

    def write_new(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data)

    class InPlace:
        def __init__(self, final: Path) -> None:
            self.place = final.parent if final.name == folder.ARRIVING else final

        def __enter__(self) -> Path:
            self.place.mkdir(exist_ok=True)
            return self.place

        def __exit__(self, *_: object) -> None:
            return None

    disk.write_new, disk.new_folder = write_new, InPlace


def throw_away_first() -> None:
    """Control: old checkpoints make room before the new one is there."""
    plain = folder.write_checkpoint

    def write_checkpoint(path: Path, checkpoint: folder.Checkpoint) -> None:
        shutil.rmtree(path / "checkpoints")
        plain(path, checkpoint)

    folder.write_checkpoint = write_checkpoint


CONTROLS = {control.__name__: control for control in (write_in_place, throw_away_first)}


def run(path: Path, control: str, *strace: str, fault: str = "") -> set[str]:
    """Save in a process of its own, under strace or broken inside; what it said it could write."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(path.with_name("prepared"), path)
    if fault:
        return forked(path, control, fault)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [*strace, sys.executable, "-B", "-m", __spec__.name, str(path), control],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return set(done.stdout.split())


def forked(path: Path, control: str, fault: str) -> set[str]:
    """Save in a fork of this process."""
    near, far = os.pipe()
    process = os.fork()
    if process == 0:
        os.dup2(far, 1)
        try:
            save(path, control, fault)
        finally:
            os._exit(0)
    os.close(far)
    with os.fdopen(near) as said:
        words = set(said.read().split())
    os.waitpid(process, 0)
    return words


def judge(path: Path, said: set[str]) -> str:
    """What is wrong with a folder after a save that something befell; nothing when all is well."""
    saved, _ = folder.read_checkpoint(path)
    if saved is None or saved.step < 2:
        return "a checkpoint is lost"
    if any((saved.tensors[name] != value).any() for name, value in tensors(saved.step).items()):
        return "a checkpoint reads wrong"
    if "checkpoint" in said and saved.step != 3:
        return "a checkpoint was said to be saved"
    try:
        model = folder.read_model(path)
    except FabulaError as error:
        return str(error)
    if any((model.weights[name] != value).any() for name, value in tensors(int(model.about["name"])).items()):
        return "a model reads wrong"
    if "model" in said and model.about["name"] != "1":
        return "a model was said to be written"
    with folder.held(path):  # whoever comes next clears up, and can save
        folder.write_checkpoint(path, folder.Checkpoint(4, tensors(4), {"step": 4}))
        write_model(path, 1)
    left = [entry.name for place in (path, path / "checkpoints") for entry in place.iterdir() if entry.name[0] == "."]
    return f"{left[0]} was left behind" if left else ""


def faults(path: Path, control: str, has_strace: bool) -> list[tuple[str, int, str]]:
    """Every call of the save, by name and number, in every way that it can fail."""
    if not has_strace:
        return [
            (name, number, how) for name in FUNCTIONS for number in range(1, 13) for how in ("EIO", "ENOSPC", "KILL")
        ]
    trace = path.with_name("trace")
    run(path, control, "strace", "-qq", "-o", str(trace), "-e", f"trace={CALLS},access,stat,newfstatat")
    counts: dict[str, int] = {}
    found, inside = [], False
    for line in trace.read_text(errors="replace").splitlines():
        if BEGIN in line or END in line:
            inside = BEGIN in line
        if not (match := re.match(r"(\w+)\(", line)):
            continue
        name = match[1]
        counts[name] = counts.get(name, 0) + 1
        if inside and name in CALLS.split(",") and BEGIN not in line:
            ways = ["error=EIO", "error=ENOSPC", "signal=KILL", *(["retval=1"] if name == "write" else [])]
            found += [(name, counts[name], way) for way in ways]
    return found


def torture(
    place: Path, most: int | None, *, control: str = "", has_strace: bool = True, workers: int = 1
) -> tuple[int, list[str]]:
    """Let so many faults happen, spread evenly over all of them; of a control only kills, until one is caught."""
    place.mkdir(exist_ok=True)
    if not (place / "prepared").exists():
        prepare(place / "prepared")
    found = faults(place / "folder", control, has_strace)
    kinds = [fault for fault in found if not control or fault[2].endswith("KILL")]
    most = min(most or len(kinds), len(kinds))
    chosen = [kinds[round(number)] for number in np.linspace(0, len(kinds) - 1, most)]

    def befall(number: int) -> str:
        name, count, how = chosen[number]
        path, inject = place / f"folder-{number % workers}", f"inject={name}:{how}:when={count}"
        strace = ["strace", "-qq", "-o", os.devnull, "-e", f"trace={name}", "-e", inject]
        said = run(path, control, *strace) if has_strace else run(path, control, fault=f"{name}:{count}:{how}")
        wrong = judge(path, said)
        return f"{name} {count} {how}: {wrong}" if wrong else ""

    done, wrong = 0, list[str]()
    with ThreadPoolExecutor(workers) as pool:
        while done < most and not (control and wrong):
            some = range(done, min(done + workers, most))
            wrong += filter(None, (pool.map if workers > 1 else map)(befall, some))
            done += len(some)
    return done, wrong


def ask(
    count: int | None,
    seed: int,  # noqa: ARG001 - spread evenly
    work: Path,
    workers: int,
    *,
    has_strace: bool | None = None,
) -> Answer:
    """So many faults, and both controls."""
    has_strace = shutil.which("strace") is not None if has_strace is None else has_strace
    begun, workers = time.perf_counter(), workers if has_strace else 1  # a process that forks has one thread
    done, wrong = torture(work, count, has_strace=has_strace, workers=workers)
    controls = {
        name: bool(torture(work, 60, control=name, has_strace=has_strace, workers=workers)[1]) for name in CONTROLS
    }
    how = "by strace" if has_strace else "inside the process, in functions of os: without strace"
    return Answer("syscalls", PROMISE, done, tuple(wrong), controls, time.perf_counter() - begun, {"how": how})


if __name__ == "__main__":
    sys.exit(save(Path(sys.argv[1]), *sys.argv[2:]))
