"""Learning both ways: a second model that reads from the end, where it lies, and how it is gone on with."""

import json
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import fabula
from fabula import config, folder
from fabula.config import TextConfig, TrainingConfig
from fabula.corpus import prepare
from fabula.engine import Engine
from fabula.errors import FolderError, UsageError
from fabula.evaluation import measure
from fabula.events import Began, Evaluated, Event
from fabula.narration import Journal, Narrator
from fabula.outcome import Outcome
from fabula.recipe import each, seconds

SMALL = {"model": {"hidden": 24, "embedding": 8}, "text": {"unit": "chars"}}
STEPS = {"threads": 1, "steps": 8, "batch": 4}


def learn(paths: Path, out: Path, listeners: tuple = (), *, both_ways: bool = True, **sections: dict) -> Outcome:
    merged = {name: {**SMALL.get(name, {}), **sections.get(name, {})} for name in {*SMALL, *sections}}
    merged["training"] = {**STEPS, **sections.get("training", {})}
    return fabula.train(paths, out, settings=merged, listeners=listeners, both_ways=both_ways)


def weights(path: Path) -> bytes:
    return (path / "model.safetensors").read_bytes()


def test_the_second_model_reads_every_story_from_its_end(tales: Path, tmp_path: Path) -> None:
    """Its figure is that of the reversed stories, of the same bytes; the first model is the one it always was."""
    outcome, alone = learn(tales, tmp_path / "m"), learn(tales, tmp_path / "alone", both_ways=False)
    assert weights(tmp_path / "m") == weights(tmp_path / "alone")
    assert alone.backward is None
    assert outcome.backward
    assert outcome.backward.folder == tmp_path / "m" / "backward"
    assert outcome.held_out
    assert outcome.backward.held_out
    assert outcome.backward.held_out.bytes == outcome.held_out.bytes
    model = folder.read_backward(tmp_path / "m")
    assert model.about["backward"]
    text = TextConfig(unit="chars", paths=(str(tales),))
    kept = prepare(text, tokenizer=model.tokenizer).held_out
    assert kept
    turned = [stream[::-1] for stream in kept.streams]
    engine = Engine(model.settings.model, model.tokenizer.size, model.weights)
    found = measure(engine, turned, model.tokenizer.end, kept.counts)
    assert outcome.backward.held_out.bits_per_byte == pytest.approx(found.bits_per_byte, rel=1e-5)
    assert measure(engine, kept.streams, model.tokenizer.end, kept.counts).bits_per_byte != found.bits_per_byte
    said = tomllib.loads((tmp_path / "m" / "backward" / "training.toml").read_text(encoding="utf-8"))
    assert said["training"]["both_ways"] is True
    assert not (tmp_path / "m" / "backward" / "novelty.index").exists()


@pytest.mark.parametrize("window", [0, 3])
def test_a_text_is_learned_by_heart_both_ways(fable: Path, tmp_path: Path, window: int) -> None:
    settings = {"training": {"threads": 1}, "model": {"window": window}}
    outcome = fabula.train(fable, tmp_path / "m", settings=settings, both_ways=True)
    assert outcome.backward
    assert (outcome.stopped, outcome.backward.stopped) == ("learned", "learned")
    assert outcome.to_json()["backward"]["train_accuracy"] > 0.98


def test_listeners_hear_which_one_learns(tales: Path, tmp_path: Path) -> None:
    heard: list[Event] = []
    learn(tales, tmp_path / "m", (Journal(), Narrator(), heard.append))
    began = [event for event in heard if isinstance(event, Began)]
    assert [event.backward for event in began] == [False, True]
    assert [event.folder.name for event in began] == ["m", "backward"]
    evaluated = sum(isinstance(event, Evaluated) for event in heard)
    homes = (tmp_path / "m", tmp_path / "m" / "backward")
    samples = [
        [json.loads(line) for line in (home / "samples.jsonl").read_text("utf-8").splitlines()] for home in homes
    ]
    assert sum(map(len, samples)) == evaluated
    assert all(one["text"].endswith(began[1].closing) and not one["prompt"] for one in samples[1])
    assert began[1].closing == "went home together."


def test_two_share_a_time() -> None:
    both = TrainingConfig(time=60.0, both_ways=True)
    assert (seconds(both), seconds(TrainingConfig(time=60.0)), each(both, 60.0)) == (30.0, 60.0, 30.0)
    assert (seconds(TrainingConfig(both_ways=True)), seconds(TrainingConfig(both_ways=True, steps=3))) == (30.0, None)


def test_a_time_that_is_shared_is_kept_and_told(fable: Path, tmp_path: Path) -> None:
    """What the folder says is the time of the whole command, so that its settings repeat it."""
    text = tmp_path / "long.txt"
    text.write_text(fable.read_text(encoding="utf-8") * 40, encoding="utf-8")
    outcome = learn(text, tmp_path / "m", training={"steps": None, "time": 12})
    assert outcome.backward
    assert (outcome.stopped, outcome.backward.stopped) == ("time", "time")
    assert outcome.seconds < outcome.backward.seconds
    for home in (tmp_path / "m", tmp_path / "m" / "backward"):
        assert config.from_toml(home / "training.toml")["training"]["time"] == 12
    with pytest.raises(UsageError, match="too short to learn"):
        learn(text, tmp_path / "n", training={"steps": None, "time": 1})


# --- going on ------------------------------------------------------------------------------------------------------

COMMAND = [sys.executable, "-m", "fabula", "train"]
PLAN = ["--unit", "chars", "--set", "training.threads=1", "--set", "model.hidden=24", "--set", "model.embedding=8",
        "--set", "training.batch=4", "--steps", "60", "--set", "training.evaluations=60",
        "--set", "training.checkpoint_every=0"]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tell_tales) -> Path:  # noqa: ANN001
    """A text, and the model of a training that was never interrupted."""
    place = tmp_path_factory.mktemp("whole")
    tell_tales(place / "tales.txt", ("fox", "hen", "mouse", "bear", "owl"), ("the mill", "the well", "a barn"))
    subprocess.run([*COMMAND, place / "tales.txt", "-o", place / "m", "--both-ways", *PLAN, "-q"], check=True)
    return place


def interrupt(command: list, says: str) -> tuple[int, str]:
    """Ctrl-C when a line has been said."""
    with subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith(says):
                process.send_signal(signal.SIGINT)
                break
        said.extend(process.stderr)
        return process.wait(), "".join(said)


@pytest.mark.parametrize("half", ["forward", "backward"])
def test_ctrl_c_in_either_half_and_on_to_the_same_bits(whole: Path, tmp_path: Path, half: str) -> None:
    out = tmp_path / "m"
    code, said = interrupt([*COMMAND, whole / "tales.txt", "-o", out, "--both-ways", *PLAN], f"{half}  step")
    assert code == 130, said
    assert f"{half}, interrupted" in said
    assert f"fabula train --resume {out}" in said
    assert (out / "backward").exists() == (half == "backward")
    done = subprocess.run([*COMMAND, "--resume", out, "--json"], capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert (answer["steps"], answer["backward"]["steps"]) == (60, 60)
    assert ("forward  step" in done.stderr) == (half == "forward")
    assert "backward  step" in done.stderr
    first = json.loads((whole / "m" / "config.json").read_text("utf-8"))["about"]
    assert answer["held_out_bits_per_byte"] == pytest.approx(first["held_out"]["bits_per_byte"], abs=1e-5)
    for home in (".", "backward"):
        assert weights(out / home) == weights(whole / "m" / home)


def test_what_was_lost_before_its_first_checkpoint_begins_anew(whole: Path, tmp_path: Path) -> None:
    """kill -9 soon after the second half began."""
    out = tmp_path / "m"
    shutil.copytree(whole / "m", out)
    shutil.rmtree(out / "backward")
    (out / "backward").mkdir()
    outcome = fabula.train(resume=out)
    assert outcome.backward
    assert outcome.steps == outcome.backward.steps == 60
    assert weights(out / "backward") == weights(whole / "m" / "backward")


def test_both_go_further_when_both_are_done(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    learn(whole / "tales.txt", out, training={"checkpoint_every": 0.01})
    outcome = fabula.train(resume=out, settings={"training": {"steps": 10}})
    assert outcome.backward
    assert outcome.steps == outcome.backward.steps == 10
    shutil.copytree(whole / "m", tmp_path / "brief")
    with pytest.raises(FolderError, match="has learned both ways to the end"):  # too short for checkpoints of its own
        fabula.train(resume=tmp_path / "brief", settings={"training": {"steps": 70}})
    assert weights(tmp_path / "brief" / "backward") == weights(whole / "m" / "backward")


def test_a_training_goes_on_as_it_was_begun(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    learn(whole / "tales.txt", out, training={"checkpoint_every": 0.01})
    with pytest.raises(UsageError, match="one half"):
        fabula.train(resume=out / "backward")
    with pytest.raises(UsageError, match="got another --both-ways"):
        fabula.train(resume=out, both_ways=False)
    shutil.rmtree(out / "backward" / "checkpoints")
    (out / "checkpoints").rename(out / "backward" / "checkpoints")
    with pytest.raises(FolderError, match="no checkpoint"):
        fabula.train(resume=out)


# --- the folder ----------------------------------------------------------------------------------------------------


def test_force_replaces_both_and_what_is_not_ours_stays(tales: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    learn(tales, out)
    with pytest.raises(FolderError, match="--force"):
        learn(tales, out)
    (out / "backward" / "thesis.txt").write_text("years")
    with pytest.raises(FolderError, match=r"'thesis\.txt'"):
        fabula.train(tales, out, force=True)
    (out / "backward" / "thesis.txt").unlink()
    fabula.train(tales, out, force=True, settings={**SMALL, "training": STEPS})
    assert not (out / "backward").exists()


def test_a_model_that_reads_from_the_end_is_read_only_as_such(tales: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    learn(tales, out)
    for wrong in (lambda: fabula.load(out / "backward"), lambda: fabula.evaluate(out / "backward", tales)):
        with pytest.raises(FolderError, match=r"from their ends: name the folder it lies in"):
            wrong()
    shutil.rmtree(out / "backward")
    with pytest.raises(FolderError, match="train it with --both-ways"):
        folder.read_backward(out)
    shutil.copytree(out, tmp_path / "copy")
    shutil.copytree(tmp_path / "copy", out / "backward")
    with pytest.raises(FolderError, match="does not read from the end"):
        folder.read_backward(out)
    shutil.rmtree(out / "backward")
    learn(tales, tmp_path / "words", text={"unit": "words"})
    shutil.copytree(tmp_path / "words" / "backward", out / "backward")
    with pytest.raises(FolderError, match="other units"):
        folder.read_backward(out)
    shutil.rmtree(out / "backward")
    (out / "backward").symlink_to(tmp_path / "words" / "backward")
    with pytest.raises(FolderError, match="got a link"):
        folder.read_backward(out)


def test_two_models_to_start_from(tales: Path, tmp_path: Path) -> None:
    learn(tales, tmp_path / "old")
    outcome = fabula.train(
        tales, tmp_path / "new", from_model=tmp_path / "old", both_ways=True, settings={"training": STEPS}
    )
    assert outcome.backward
    for one in (outcome, outcome.backward):
        assert one.old_held_out is not None
        assert one.old_held_out_before is not None
        assert one.old_held_out < one.old_held_out_before
    old, new = (folder.read_backward(tmp_path / name) for name in ("old", "new"))
    apart = [np.abs(old.weights[name] - new.weights[name]).mean() for name in old.weights if name in new.weights]
    assert max(apart) < 0.1
    shutil.rmtree(tmp_path / "old" / "backward")
    with pytest.raises(FolderError, match="train it with --both-ways"):
        fabula.train(
            tales, tmp_path / "more", from_model=tmp_path / "old", both_ways=True, settings={"training": STEPS}
        )
    assert not (tmp_path / "more").exists()
