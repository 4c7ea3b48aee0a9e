"""What a training leaves behind for people: metrics, told stories, TensorBoard's files."""

import json
from pathlib import Path

import fabula
from fabula.narration import Journal, Narrator
from fabula.trackers import tracker

SETTINGS = {"training": {"threads": 1, "steps": 20, "evaluations": 2}, "model": {"hidden": 16, "embedding": 8}}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_measurement_is_written_down_and_told(fable: Path, tmp_path: Path) -> None:
    shown: list[tuple[str, str]] = []
    narrator = Narrator(show=lambda prompt, text: shown.append((prompt, text)), prompt="the cat")
    fabula.train(fable, tmp_path / "m", settings=SETTINGS, listeners=(Journal(), narrator))
    metrics, samples = lines(tmp_path / "m" / "metrics.jsonl"), lines(tmp_path / "m" / "samples.jsonl")
    assert [row["step"] for row in metrics] == [row["step"] for row in samples] == [10, 20]
    assert [(row["prompt"], row["text"]) for row in samples] == shown
    assert shown[0][0] == "the cat"
    assert set(metrics[0]) == {
        "step", "progress", "seconds", "train_loss", "train_accuracy", "held_out_bits_per_byte", "held_out_accuracy",
        "tokens_per_second", "lr",
    }  # fmt: skip
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text(encoding="utf-8"))
    assert {"metrics.jsonl", "samples.jsonl"} <= set(manifest["files"])


def test_the_same_beginning_and_seed_are_told_each_time(fable: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        fabula.train(fable, tmp_path / name, settings=SETTINGS, listeners=(Narrator(),))
    one, two = (lines(tmp_path / name / "samples.jsonl") for name in ("one", "two"))
    assert [row["text"] for row in one] == [row["text"] for row in two]
    assert {row["prompt"] for row in one} == {"long ago ,"}


def test_tensorboard_gets_scalars_graph_stories_and_vectors(fable: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fabula.train(fable, tmp_path / "m", settings=SETTINGS, listeners=(Journal(), Narrator(), tracker("tensorboard")))
    events = EventAccumulator(str(tmp_path / "m" / "tensorboard"))
    events.Reload()
    assert {"learning/loss", "learning/accuracy", "learning/rate", "speed/units per second"} <= set(
        events.Tags()["scalars"]
    )
    assert events.Tags()["graph"]
    assert any("stories" in tag for tag in events.Tags()["tensors"])
    labels = list((tmp_path / "m" / "tensorboard").rglob("metadata.tsv"))
    assert len(labels) == 1
    words = labels[0].read_text(encoding="utf-8").splitlines()
    assert len(words) == 112
    assert words[1].strip() == "the"
