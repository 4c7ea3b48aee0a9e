"""What the tortures share: a tiny training started in a moment; knows no way of disturbing it.

torch is imported once, here; every training is a fork of this process that runs the command `fabula train` as it is.
That takes a tenth of a second in place of three, so a thousand of them fit into a coffee break. What a fork cannot show
is the time before `fabula.cli.main`, in which nothing has begun.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a fork must find no threads

import onnx
import onnxruntime
import torch
from torch.fx.experimental import symbolic_shapes

import fabula.cli
from fabula import folder, training
from fabula.report import Reporter
from fabula.storyteller import Storyteller
from torture.runner import Answer

torch.set_num_threads(1)
IMPORTED = (onnx, onnxruntime, symbolic_shapes, Reporter, Storyteller)
"""What a training imports on its way: it is there before the first fork."""

BEASTS, PLACES = ("fox", "hen", "mouse", "bear", "owl"), ("the mill", "the well", "a barn", "the hill")
STEPS, EVERY = 40, 5
"""Of the tiny training: steps in all, and between two checkpoints."""

SETTINGS = {
    "training.threads": 1, "training.checkpoint_every": EVERY, "training.evaluations": 4, "training.batch": 4,
    "training.length": 8, "training.lr": 0.01, "training.averaging": 0.2, "training.patience": 0, "model.hidden": 16,
    "model.embedding": 8, "model.dropout": 0.2,
}  # fmt: skip

Sabotage = Callable[[], None]
"""Breaks something in the process it is called in: the control that a torture has to catch."""


def tell_tales(path: Path) -> Path:
    """Sixty small stories."""
    stories = [
        f"# Story {number}\n\nA {BEASTS[number % 5]} went to {PLACES[number % 4]}. There it met a "
        f"{BEASTS[(number * 3 + 1) % 5]} who said: friend, what do you seek? Bread, said the {BEASTS[number % 5]}, "
        f"and a warm place to sleep. Then come with me, said the other, and they went home together.\n"
        for number in range(60)
    ]
    path.write_text("\n\n".join(stories), encoding="utf-8")
    return path


def command(text: Path, out: Path, *, resume: bool = False, steps: int = STEPS, seed: int = 1) -> list[str]:
    """`fabula train` of the tiny training, from its beginning or from where it stopped."""
    if resume:
        return ["train", "--resume", str(out)]
    chosen = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
    return [
        "train",
        str(text),
        "-o",
        str(out),
        "--unit",
        "words",
        "--steps",
        str(steps),
        "--seed",
        str(seed),
        "--force",
        *chosen,
    ]


def begin(arguments: Sequence[str], said: Path | None = None, sabotage: Sabotage | None = None) -> int:
    """Fork a process that runs the command; returns its number. What it says goes to a file."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        handle = os.open(said or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        fabula.cli.BEGUN = time.perf_counter()
        if sabotage:
            sabotage()
        code = fabula.cli.main(list(arguments))
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - a traceback is what the torture looks for
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def end(process: int, within: float = 60.0) -> tuple[int, float]:
    """What a process returned (-9 when killed), and after how long; it is killed when it takes longer than `within`."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < within:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status), time.perf_counter() - begun
        time.sleep(0.0005)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return -9, within


def bits(out: Path) -> dict[str, Any]:
    """All of a model folder that the same training must come to: the network, and the logs without times."""
    return {
        "network": folder.fingerprint(out) if folder.read_model(out) else "",
        "rest": [folder.newest(out, name, 1 << 30) for name in (folder.INDEX, "training.toml", "README.md")],
        **{name: _without_times(out / name) for name in folder.LOGS},
    }


def _without_times(log: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [
        {name: value for name, value in line.items() if name not in {"seconds", "tokens_per_second"}} for line in lines
    ]


def undisturbed(text: Path, out: Path, *, steps: int = STEPS, seed: int = 1) -> tuple[dict[str, Any], float]:
    """What the training comes to in `out` when nobody disturbs it, and how long that takes; learned only once."""
    source, said = text.with_name(f"undisturbed-{steps}-{seed}") / "model", text.with_name("said")
    if not source.exists():
        source.parent.mkdir()
        code, seconds = end(begin(command(text, source, steps=steps, seed=seed), said))
        if code:
            raise SystemExit(f"the training itself failed ({code}): {said.read_text(errors='replace')[-2000:]}")
        (source.parent / "seconds").write_text(str(seconds))
    shutil.copytree(source, out)
    return bits(out), float((source.parent / "seconds").read_text())


def forget_the_carried_state() -> None:
    """Control: a run that goes on begins with an empty memory."""
    plain = training.assembly.checkpoints.restore

    def restore(run: Any, saved: Any) -> None:
        plain(run, saved)
        run.state = run.model.initial_state(len(run.state[0]))

    training.assembly.checkpoints.restore = restore


def can_mount(place: Path) -> bool:
    """Whether file systems in memory can be had here."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        return False
    return subprocess.run(["umount", str(place)], check=False).returncode == 0


class Found(Protocol):
    """What came of a torture: counts, and a line for each fault."""

    wrong: list[str]

    @property
    def faults(self) -> int:
        """All that must not be."""
        ...


def answer(
    question: str, promise: str, cases: int, found: Found, controls: Mapping[str, bool], begun: float, **facts: Any
) -> Answer:
    """An answer with its counts."""
    counts = {name: value for name, value in vars(found).items() if name != "wrong"}
    failures = tuple(found.wrong) or (f"{found.faults} faults",) * bool(found.faults)
    return Answer(question, promise, cases, failures, controls, time.perf_counter() - begun, counts | facts)
