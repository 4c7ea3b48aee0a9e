"""Several processes learn what one alone would: the same losses, through kills, with another number, and no orphan."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import fabula
from fabula import folder, processes

SHAPE = ("model.hidden=24", "model.embedding=16", "model.layers=2", "training.precision=fp32", "training.threads=1")
PLAN = ("training.batch=8", "training.length=8", "training.lr=0.01", "training.reset=0.3", "training.evaluations=3")
STEPS = 300
SLOWLY = ("training.evaluations=1", "training.checkpoint_every=5")
LONG = (*SLOWLY, "model.dropout=0.2")
NOISE = ("model.dropout=0.2", "model.dropout_embedding=0.1", "model.dropout_weight=0.3", "training.averaging=0.2")
KINDS = {
    "full, all noise": ("model.head=full", *NOISE),
    "adaptive, n-grams": ("model.head=adaptive", "model.ngrams=3", "model.buckets=500", "model.dropout=0.2"),
    "sampled": ("model.head=sampled", "training.penalty_activation=2", "training.penalty_slope=1"),
}


def command(text: Path, out: Path, *settings: str, steps: int = 12) -> list[str]:
    chosen = [word for setting in (*SHAPE, *PLAN, *settings) for word in ("--set", setting)]
    words = ["train", str(text), "-o", str(out), "--steps", str(steps), "--unit", "words", "--json", "-q", *chosen]
    return [sys.executable, "-m", "fabula", *words]


def ran(words: list[str], *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*words, *more], capture_output=True, text=True, check=False, timeout=200, env=os.environ | variables
    )


def said(words: list[str], *more: str) -> dict[str, Any]:
    done = ran(words, *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def losses(out: Path) -> list[tuple[float, float]]:
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [(line["train_loss"], line["held_out_bits_per_byte"]) for line in map(json.loads, lines)]


def bits(out: Path) -> bytes:
    return (out / "model.safetensors").read_bytes()


def workers(launcher: int) -> list[int]:
    """The processes that a process has started, lowest rank first."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            variables = dict(
                line.partition("=")[::2] for line in (place / "environ").read_text("utf-8", "replace").split("\0")
            )
        except (OSError, ValueError):
            continue
        if parent == launcher and "RANK" in variables:
            found[int(variables["RANK"])] = int(place.name)
    return [found[rank] for rank in sorted(found)]


def until(holds: Any, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_two_processes_are_one_that_computes_in_two_parts(tales: Path, tmp_path: Path, kind: tuple[str, ...]) -> None:
    """To the bit; and one that computes all at once comes to the same but for the last digits."""
    one, parts, two = (tmp_path / name for name in ("one", "parts", "two"))
    said(command(tales, one, *kind))
    said(command(tales, parts, *kind, "training.accumulate=2"))
    assert said(command(tales, two, *kind), "--processes", "2")["processes"] == 2
    assert bits(two) == bits(parts)
    np.testing.assert_allclose(losses(two), losses(one), atol=2e-5)
    np.testing.assert_allclose(losses(two), losses(parts), atol=1e-5)
    alone, together = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    for name, weight in alone.items():
        np.testing.assert_allclose(together[name], weight, atol=2e-4, err_msg=name)
    assert fabula.load(two).write("A fox", words=5).text


def test_four_processes_and_a_window(tales: Path, tmp_path: Path) -> None:
    fixed = ("model.window=3", "training.batch=12", "training.reset=0")
    said(command(tales, tmp_path / "one", *fixed))
    said(command(tales, tmp_path / "four", *fixed), "--processes", "4")
    np.testing.assert_allclose(losses(tmp_path / "four"), losses(tmp_path / "one"), atol=1e-4)


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory, tell_tales: Any) -> tuple[Path, bytes]:
    """A text, and what one process learns from it that nobody disturbs."""
    place = tmp_path_factory.mktemp("long")
    text = tell_tales(place / "tales.txt", ("fox", "hen", "mouse", "bear", "owl"), ("the mill", "the well"))
    said(command(text, place / "whole", *LONG, "training.accumulate=2", steps=STEPS))
    return text, bits(place / "whole")


def test_a_killed_process_costs_nothing(long_run: tuple[Path, bytes], tmp_path: Path) -> None:
    """Killed with signal 9, first the one and then the other, all begin again and come to the same bits."""
    text, whole = long_run
    out = tmp_path / "killed"
    process = subprocess.Popen([*command(text, out, *LONG, steps=STEPS), "--processes", "2"], stdout=subprocess.PIPE)
    for rank in (1, 0):
        before = folder.latest_step(out)
        until(lambda before=before: folder.latest_step(out) != before)
        os.kill(workers(process.pid)[rank], signal.SIGKILL)
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert json.loads(told)["steps"] == STEPS
    assert bits(out) == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_asked_to_stop_all_save_and_another_number_goes_on(
    long_run: tuple[Path, bytes], tmp_path: Path, number: signal.Signals
) -> None:
    text, whole = long_run
    out = tmp_path / "stopped"
    words = [*command(text, out, *LONG, steps=STEPS), "--processes", "2"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
    until(lambda: folder.latest_step(out))
    started = workers(process.pid)
    os.killpg(process.pid, number)  # as a terminal does: to all of them
    told, _ = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 75}[number]
    assert json.loads(told)["stopped"] == "interrupted"
    assert not any(map(is_alive, started))
    goes_on = [sys.executable, "-m", "fabula", "train", "--resume", str(out), "--json", "-q"]
    said(goes_on, "--set", "training.accumulate=2")
    assert bits(out) == whole


def test_no_orphan_when_the_launcher_is_killed(tales: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen([*command(tales, out, *SLOWLY, steps=10**6), "--processes", "2"])
    until(lambda: folder.latest_step(out))
    started = workers(process.pid)
    assert len(started) == 2
    process.kill()
    process.wait()
    until(lambda: not any(map(is_alive, started)), 20)
    saved, _ = folder.read_checkpoint(out)
    assert saved is not None
    assert fabula.load(out).write("A fox", words=3).text  # it was left in order


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--processes", "3"), "8 lanes cannot be shared by 3 equal parts"),
        (("--processes", "0"), "--processes must be between 1 and 1024, got 0"),
        (("--processes", "2", "--set", "training.lr=much"), "training.lr must be a number"),
        (("--processes", "2", "--restarts", "-1"), "--restarts must be 0 or more"),
    ],
)
def test_a_mistake_is_one_line_and_is_not_tried_again(
    tales: Path, tmp_path: Path, more: tuple[str, ...], expected: str
) -> None:
    done = ran(command(tales, tmp_path / "out"), *more)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert json.loads(done.stdout)["exit_code"] == 2


def test_a_text_that_is_missing_and_standard_input(tmp_path: Path) -> None:
    done = ran(command(tmp_path / "none.txt", tmp_path / "out"), "--processes", "2")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no file or folder" in done.stderr
    done = ran(command(Path("-"), tmp_path / "out"), "--processes", "2")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "standard input can be read by one process only" in done.stderr


def ranks(words: list[list[str]], **variables: str) -> list[tuple[int, str]]:
    """Several processes as a cluster starts them, without our launcher: what each returns and says."""
    port = str(20_000 + os.getpid() % 20_000)
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo", "WORLD_SIZE": "2"}
    begun = [
        subprocess.Popen(
            own, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            env=os.environ | meeting | {"RANK": str(rank), "LOCAL_WORLD_SIZE": "2"} | variables,
        )
        for rank, own in enumerate(words)
    ]  # fmt: skip
    told = [process.communicate(timeout=100)[1] for process in begun]
    return [(process.returncode, text) for process, text in zip(begun, told, strict=True)]


def test_processes_that_differ(tales: Path, tmp_path: Path) -> None:
    one, other = command(tales, tmp_path / "out"), [*command(tales, tmp_path / "out"), "--seed", "2"]
    (code, text), (other_code, other_text) = ranks([one, other])
    assert (code, other_code) == (1, 1)
    assert "all processes must have the same settings" in text
    assert text.count("\n") == 1
    assert other_text == ""


def test_a_process_that_never_comes(tales: Path, tmp_path: Path) -> None:
    ((code, text),) = ranks([command(tales, tmp_path / "out")], FABULA_WAIT="2")
    assert code == 1
    assert text == ("fabula: 1 of 2 processes did not come within 2 s (number 1): look at what their machines say\n")


def test_a_mistake_of_one_process_alone_is_told_by_the_first(tales: Path, tmp_path: Path) -> None:
    one, other = command(tales, tmp_path / "out"), command(tmp_path / "elsewhere.txt", tmp_path / "out")
    (code, text), (other_code, other_text) = ranks([one, other], FABULA_WAIT="5")
    assert code != 0
    assert other_code == 2
    assert text.count("\n") == 1
    assert other_text == ""


def test_alone_nothing_is_different(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    assert (processes.count(), processes.rank(), processes.is_first(), processes.job()) == (1, 0, True, None)
    assert processes.conclude(3) == 3
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert processes.job() is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "story-7")
    assert processes.job() == "story-7"
