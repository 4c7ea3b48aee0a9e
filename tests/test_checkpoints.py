"""A run that goes on: from any step to the same bits, past what was being measured or written when it stopped."""

import json
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fabula
from fabula import baseline, evaluation, folder
from fabula.errors import DivergedError, FolderError
from fabula.events import Event, Saved, Stepped, Warned
from fabula.narration import Journal, Narrator
from fabula.optimizers import AdamW
from fabula.run import Run

SETTINGS = {
    "text": {"unit": "words"},
    "model": {"hidden": 16, "embedding": 8, "dropout": 0.2},
    "training": {"threads": 1, "steps": 20, "batch": 4, "length": 8, "lr": 0.01, "evaluations": 4, "averaging": 0.2},
}


def train(text: Path | None, out: Path, *heard: Callable[[Event], None], **training: Any) -> Any:
    """Learn in `out`, or go on there without a text, with the two logs written as the command does."""
    settings = {**SETTINGS, "training": {**SETTINGS["training"], **training}} if text else {"training": training}
    listeners = [Journal(), Narrator(), *heard]
    if text is None:
        return fabula.train(resume=out, settings=settings, listeners=listeners)
    return fabula.train(text, out, settings=settings, listeners=listeners, force=True)


def bits(out: Path) -> dict[str, Any]:
    """All of a folder but the times."""
    logs = {}
    for name in folder.LOGS:
        lines = [json.loads(line) for line in (out / name).read_text(encoding="utf-8").splitlines()]
        logs[name] = [{k: v for k, v in line.items() if k not in {"seconds", "tokens_per_second"}} for line in lines]
    return {"network": folder.fingerprint(out), "about": folder.read_model(out).about, **logs}


def stop_at(step: int) -> Callable[[Event], None]:
    """A listener that presses Ctrl-C."""

    def hear(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return hear


@pytest.mark.parametrize("step", [1, 10, 20])
def test_what_follows_a_step_is_not_lost_when_it_stops_there(tales: Path, tmp_path: Path, step: int) -> None:
    """It used to leave out the measurement that was due at step 10, and to take a step more after the last."""
    train(tales, tmp_path / "whole" / "model")
    stopped = train(tales, tmp_path / "model", stop_at(step))
    assert (stopped.stopped, stopped.steps, stopped.signal) == ("interrupted", step, signal.SIGINT)
    assert train(None, tmp_path / "model").steps == 20
    assert bits(tmp_path / "model") == bits(tmp_path / "whole" / "model")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_stopped_while_it_measures_it_measures_again(
    tales: Path, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the way, and at the end: nothing of a measurement that was left is kept."""
    train(tales, tmp_path / "whole" / "model")
    plain, calls, out = Run.measured, 0, tmp_path / "model"

    def measured(run: Run, part: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in {2, 4}:
            os.kill(os.getpid(), number)
        return plain(run, part)

    monkeypatch.setattr(Run, "measured", measured)
    assert train(tales, out).stopped == "interrupted"
    assert train(None, out).stopped == "interrupted"
    assert train(None, out).stopped == "steps"
    assert bits(out) == bits(tmp_path / "whole" / "model")


def test_logs_go_on_where_the_checkpoint_left_them(tales: Path, tmp_path: Path) -> None:
    """A kill leaves lines of steps that come again, and half of one: the logs used to hold them twice."""
    out = tmp_path / "model"
    train(tales, out, checkpoint_every=5)
    whole = bits(out)
    assert [row["step"] for row in whole["metrics.jsonl"]] == [5, 10, 15, 20]
    shutil.rmtree(out / "checkpoints" / "step-000000000020")
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2')
    train(None, out)
    assert bits(out) == whole


def test_lines_that_are_gone_are_said(tales: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    train(tales, out, checkpoint_every=5)
    (out / "samples.jsonl").write_bytes(b"")
    notes: list[str] = []
    train(None, out, lambda event: notes.extend(getattr(event, "notes", ())))
    assert any("samples.jsonl has lost lines" in note for note in notes)


def test_what_ended_early_stays_ended_unless_more_is_asked(tales: Path, tmp_path: Path) -> None:
    """It used to learn on from the checkpoint of its end, which a run that never stopped would not have done."""
    plan = {"lr": 0.0, "evaluations": 20, "patience": 3, "checkpoint_every": 1}
    early = train(tales, tmp_path / "model", **plan)
    whole = bits(tmp_path / "model")
    assert (early.stopped, early.steps) == ("early", 4)
    again = train(None, tmp_path / "model")
    assert (again.stopped, again.steps) == ("early", 4)
    assert bits(tmp_path / "model") == whole
    assert train(None, tmp_path / "model", steps=24, patience=0).steps == 24


def test_held_out_text_that_a_time_limit_shortened_stays_so(
    tales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After going on all of it used to be measured, and the figures of one training were of two texts."""
    monkeypatch.setattr(evaluation, "seconds_for", lambda *_, **__: 24.0)
    train(tales, tmp_path / "model", stop_at(7), time="60s")
    monkeypatch.undo()
    part = train(None, tmp_path / "model")
    whole = train(tales, tmp_path / "whole")
    assert part.held_out.bytes < whole.held_out.bytes / 2


def test_the_forecast_of_a_counted_run_does_not_hang_on_the_machine(
    tales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in config.json, and used to be there only where the n-gram model was fitted in time."""
    train(tales, tmp_path / "quick" / "model")
    plain = baseline._fit
    monkeypatch.setattr(baseline, "_fit", lambda corpus: time.sleep(1) or plain(corpus))
    slow = train(tales, tmp_path / "slow" / "model")
    assert slow.forecast
    assert bits(tmp_path / "slow" / "model") == bits(tmp_path / "quick" / "model")


def test_a_disk_that_refuses_for_a_while_costs_a_checkpoint_and_no_more(tales: Path, tmp_path: Path) -> None:
    """A file stands where the checkpoints should go, and a folder where the metrics should, until step 12."""
    out, heard = tmp_path / "model", list[Event]()

    def meddle(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 2:
            (out / "checkpoints").write_bytes(b"")
            (out / "metrics.jsonl").mkdir()
        elif isinstance(event, Stepped) and event.step == 12:
            (out / "checkpoints").unlink()
            (out / "metrics.jsonl").rmdir()

    train(tales, out, meddle, heard.append, checkpoint_every=4)
    assert [event.step for event in heard if isinstance(event, Saved)] == [12, 16, 20]
    said = [event.message for event in heard if isinstance(event, Warned)]
    assert [line.split(" (")[0] for line in said] == ["could not save step 4", "could not save step 8"]
    train(tales, tmp_path / "whole" / "model", checkpoint_every=4)
    assert bits(out) == bits(tmp_path / "whole" / "model")


def test_only_one_training_writes_to_a_folder(tales: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def meddle(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 6:
            with pytest.raises(FolderError, match="another training is writing") as caught:
                train(None, tmp_path / "model")
            refused.append(str(caught.value))

    train(tales, tmp_path / "model", meddle, checkpoint_every=5)
    assert len(refused) == 1


def test_what_a_killed_process_left_half_written_goes(tales: Path, tmp_path: Path) -> None:
    out, gone, there = tmp_path / "model", 2**22 + 1, os.getppid()  # no process has so high a number
    train(tales, out, checkpoint_every=5)
    left = [out / f".config.json.{gone}", out / f".arriving.{gone}", out / "checkpoints" / f".step-000000000007.{gone}"]
    used = out / f".report.html.{there}"
    left[0].write_bytes(b"{")
    left[1].mkdir()
    left[2].mkdir()
    (left[2] / "state.json").write_bytes(b"{")
    used.write_bytes(b"<")
    train(None, out)
    assert not any(path.exists() for path in left)
    assert used.exists()


@pytest.mark.parametrize("more", [{"checkpoint_every": 1}, {"evaluations": 20}], ids=["at a save", "at a measurement"])
def test_no_file_ever_holds_what_is_no_number(
    tales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, int]
) -> None:
    """A weight of a unit that never comes is in no loss and in no gradient, and so was saved, infinite as it was."""
    plain, out = AdamW._update, tmp_path / "model"

    def update(self: AdamW, parameters: Any, gradients: Any, state: Any, lr: float) -> None:
        plain(self, parameters, gradients, state, lr)
        if state["count"][0] == 7:
            parameters[0][0, 0] = math.inf  # the byte 0

    monkeypatch.setattr(AdamW, "_update", update)
    with pytest.raises(DivergedError, match=r"(?i)became .*nan at step 7 .* try --set training\.lr"):
        train(tales, out, **more)
    saved, skipped = folder.read_checkpoint(out)
    assert (saved.step if saved else None, skipped) == (6 if "checkpoint_every" in more else None, [])
    assert folder.read_model(out).about["stopped"] == "diverged"  # the best weights, of step 5 or 6


def test_outside_the_main_thread_a_training_hears_no_signals(tales: Path, tmp_path: Path) -> None:
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(train(tales, tmp_path / "model")))
    thread.start()
    thread.join()
    assert done[0].stopped == "steps"
