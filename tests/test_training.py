"""Learning, end to end on the fable and on a small text: what is learned, kept, stopped and gone on with."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fabula
from fabula import config, evaluation, folder, precision, processor, training
from fabula.config import TrainingConfig, resolve
from fabula.errors import DivergedError, FolderError, TextError, UsageError
from fabula.events import Began, Evaluated, Event, Foretold, Stepped, Warned
from fabula.model import Noise
from fabula.novelty import Index
from fabula.penalties import penalties
from fabula.run import Run
from fabula.schedule import rate

ONE = {"threads": 1}
SMALL = {"model": {"hidden": 24, "embedding": 8}, "text": {"unit": "chars"}}


def run(paths: Path, out: Path, listeners: tuple = (), size: str | None = None, **sections: dict) -> training.Outcome:
    merged = {name: {**SMALL.get(name, {}), **sections.get(name, {})} for name in {*SMALL, *sections, "training"}}
    merged["training"] = {**ONE, **sections.get("training", {})}
    return fabula.train(paths, out, settings=merged, listeners=listeners, size=size)


@pytest.mark.parametrize(("window", "right"), [(0, 1.0), (3, 199 / 201)])
def test_the_fable_is_learned_by_heart_to_its_ceiling(fable: Path, tmp_path: Path, window: int, right: float) -> None:
    outcome = fabula.train(fable, tmp_path / "out", settings={"training": ONE, "model": {"window": window}})
    assert outcome.stopped == "learned"
    assert outcome.train_accuracy == pytest.approx(right)
    assert outcome.held_out is None
    told = fabula.load(tmp_path / "out").write("had a general", words=32, sampling=fabula_greedy())
    assert told.text.split()[:4] == ["council", "to", "consider", "what"]


def fabula_greedy():  # noqa: ANN201
    return resolve({"sampling": {"temperature": 0}}).sampling


@pytest.mark.parametrize("optimizer", ["rmsprop", "sgd"])
def test_other_rules_learn_the_fable_too(fable: Path, tmp_path: Path, optimizer: str) -> None:
    rates = {"rmsprop": 0.004, "sgd": 0.5}
    outcome = fabula.train(
        fable,
        tmp_path / "out",
        settings={"training": {**ONE, "optimizer": optimizer, "lr": rates[optimizer], "steps": 120}},
    )
    assert outcome.train_accuracy > 0.9


def test_learning_lowers_the_held_out_figure_and_the_best_is_kept(tales: Path, tmp_path: Path) -> None:
    heard: list[Event] = []
    outcome = run(tales, tmp_path / "out", (heard.append,), training={"steps": 60, "lr": 0.01, "batch": 8})
    figures = [event.held_out.bits_per_byte for event in heard if isinstance(event, Evaluated) and event.held_out]
    assert figures[-1] < figures[0]
    assert outcome.held_out
    assert outcome.held_out.bits_per_byte == pytest.approx(min(figures), rel=1e-4)
    assert outcome.steps == 60
    assert outcome.stopped == "steps"
    assert sum(isinstance(event, Stepped) for event in heard) == 60


@pytest.mark.parametrize("head", ["full", "adaptive"])
def test_evaluating_the_folder_gives_the_figure_of_the_training(tales: Path, tmp_path: Path, head: str) -> None:
    """Torch measured at the end of the training, onnxruntime measures now: the same figure."""
    kept = tmp_path / "kept.txt"
    kept.write_text("A hen went to the well.\nThere it met an owl.", encoding="utf-8")
    outcome = fabula.train(
        tales,
        tmp_path / "out",
        held_out=kept,
        settings={
            "training": {**ONE, "steps": 20, "batch": 8},
            "text": SMALL["text"],
            "model": {**SMALL["model"], "head": head},
        },
    )
    again = fabula.evaluate(tmp_path / "out", kept)
    assert outcome.held_out
    assert again.bits_per_byte == pytest.approx(outcome.held_out.bits_per_byte, rel=1e-5)
    assert again.accuracy == outcome.held_out.accuracy


@pytest.mark.parametrize(
    "model",
    [
        {"cell": "gru"},
        {"layers": 2, "dropout": 0.3},
        {"head": "tied"},
        {"head": "tied", "embedding": 24},
        {"window": 4},
        {"head": "adaptive"},
        {"head": "adaptive", "window": 4},
        {"ngrams": 3, "buckets": 300},
        {"ngrams": 2, "buckets": 300, "head": "adaptive", "window": 4},
    ],
    ids=[
        "gru",
        "two layers",
        "tied",
        "tied without projection",
        "window",
        "adaptive",
        "adaptive window",
        "n-grams",
        "adaptive n-grams",
    ],
)
def test_every_shape_trains_and_writes(tales: Path, tmp_path: Path, model: dict) -> None:
    run(tales, tmp_path / "out", training={"steps": 6, "batch": 4}, model=model)
    assert fabula.load(tmp_path / "out").write("A fox", words=5).text


def trail(tales: Path, out: Path, **more: float) -> tuple[list[float], list[dict[str, np.ndarray]]]:
    """Loss of every step and the weights measured after it."""
    losses: list[float] = []
    weights: list[dict[str, np.ndarray]] = []

    def hear(event: Event) -> None:
        if isinstance(event, Stepped):
            losses.append(event.loss)
        elif isinstance(event, Evaluated):
            weights.append(event.weights())

    plan = {"steps": 12, "evaluations": 12, "batch": 4, "lr": 0.01, "patience": 0, **more}
    run(tales, out, (hear,), training=plan, model={"dropout": 0.2})
    assert len(losses) == len(weights) == 12
    return losses, weights


def test_averages_are_measured_and_saved_and_learning_goes_on_without_them(tales: Path, tmp_path: Path) -> None:
    """Step t of n counts t**4 - (t-1)**4 parts of n**4, which lags by a fifth of the steps; all else is the same."""
    losses, raw = trail(tales, tmp_path / "raw")
    losses_again, averaged = trail(tales, tmp_path / "averaged", averaging=0.2)
    assert losses == losses_again
    for number, found in enumerate(averaged, start=1):
        parts = np.diff(np.arange(number + 1.0) ** 4) / number**4
        for name, value in found.items():
            wanted = sum(part * weights[name] for part, weights in zip(parts, raw, strict=False))
            np.testing.assert_allclose(value, wanted, atol=1e-6)
    saved = folder.read_model(tmp_path / "averaged").weights
    assert any(all((saved[name] == value).all() for name, value in found.items()) for found in averaged)


def test_a_run_stopped_before_it_was_measured_saves_its_averages(tales: Path, tmp_path: Path) -> None:
    _, averaged = trail(tales, tmp_path / "measured", averaging=0.2)

    def stop(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    plan = {"steps": 12, "evaluations": 1, "batch": 4, "lr": 0.01, "averaging": 0.2}
    stopped = run(tales, tmp_path / "out", (stop,), training=plan, model={"dropout": 0.2})
    assert 5 <= stopped.steps <= 6
    saved = folder.read_model(tmp_path / "out").weights
    assert all((saved[name] == value).all() for name, value in averaged[stopped.steps - 1].items())
    kept, _ = folder.read_checkpoint(tmp_path / "out")
    assert kept
    for name, value in saved.items():
        assert (kept.tensors[f"average.{name}"] == value).all()
        assert (kept.tensors[f"model.{name}"] != value).any()


def test_a_share_of_the_lanes_begins_anew() -> None:
    """A lane forgets all of its state or nothing, and what it begins with is the network's own beginning."""
    state, fresh = (torch.ones(4000, 3), torch.full((4000, 2), 5.0)), (torch.zeros(4000, 3), torch.full((4000, 2), 9.0))
    noise = Noise(torch.Generator().manual_seed(1))
    for share in (0.0, 0.3, 1.0):
        h, before = training._carried(state, fresh, share, noise)
        anew = (h == 0).all(dim=1)
        assert (h[~anew] == 1).all()
        assert ((before == 9).all(dim=1) == anew).all()
        assert ((before == 5).all(dim=1) == ~anew).all()
        assert float(anew.float().mean()) == pytest.approx(share, abs=0.03)


def test_penalties_are_the_gradients_of_squares_of_the_hidden_states_and_their_changes() -> None:
    both = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(1))  # (B, T, H) each
    dropped, plain = (states.clone().requires_grad_() for states in both)
    config = TrainingConfig(penalty_activation=2.0, penalty_slope=3.0)
    cost = 2 * dropped.square().mean() + 3 * plain.diff(dim=1).square().mean()
    for (states, gradient), right in zip(
        penalties(config, dropped, plain), torch.autograd.grad(cost, [dropped, plain]), strict=True
    ):
        assert states is dropped or states is plain
        np.testing.assert_allclose(gradient.numpy(), right.numpy(), rtol=1e-5, atol=1e-7)
    assert len(penalties(config, dropped[:, :1], plain[:, :1])) == 1  # one moment alone has no change
    assert penalties(TrainingConfig(), dropped, plain) == []


@pytest.mark.parametrize("penalty", ["penalty_activation", "penalty_slope"])
def test_a_penalty_steers_the_learning_and_is_not_in_the_loss(tales: Path, tmp_path: Path, penalty: str) -> None:
    free, _ = trail(tales, tmp_path / "free")
    held, _ = trail(tales, tmp_path / "held", **{penalty: 100.0})
    assert held[0] == free[0]
    assert held[-1] > free[-1]


@pytest.mark.parametrize("unit", ["symbols", "words", "subwords", "chars", "bytes"])
def test_every_unit_trains_and_writes(tales: Path, tmp_path: Path, unit: str) -> None:
    run(tales, tmp_path / "out", training={"steps": 6, "batch": 4}, text={"unit": unit})
    teller = fabula.load(tmp_path / "out")
    assert teller.tokenizer.unit == unit
    assert teller.write("A fox went", words=5).text


def test_a_seed_gives_the_same_folder(tales: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(tales, tmp_path / name, training={"steps": 12, "batch": 4}, model={"dropout": 0.2})
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two
    run(tales, tmp_path / "three", training={"steps": 12, "batch": 4, "seed": 2}, model={"dropout": 0.2})
    assert (tmp_path / "three" / "model.safetensors").read_bytes() != one


def test_training_toml_repeats_the_run(tales: Path, tmp_path: Path) -> None:
    run(tales, tmp_path / "one", training={"steps": 8, "batch": 4})
    settings = tomllib.loads((tmp_path / "one" / "training.toml").read_text(encoding="utf-8"))
    fabula.train(out=tmp_path / "two", settings=settings)
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


ALL_NOISE = {"dropout": 0.2, "dropout_hidden": 0.1, "dropout_embedding": 0.1, "dropout_weight": 0.3}
ALL_COSTS = {"penalty_activation": 2.0, "penalty_slope": 1.0, "averaging": 0.2}


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ({"dropout": 0.2}, {}),
        ({"dropout": 0.2, "head": "adaptive"}, {}),
        ({"head": "adaptive", **ALL_NOISE}, ALL_COSTS),
        ({"dropout": 0.2, "head": "tied", "ngrams": 3, "buckets": 500}, {"reset": 0.3}),
    ],
    ids=["full", "adaptive", "all noise, averaged", "n-grams, reset"],
)
def test_stopping_and_going_on_gives_the_same_weights(tales: Path, tmp_path: Path, model: dict, more: dict) -> None:
    """Stopped at step 17 of 40 and resumed: the same bits as a run that never stopped."""
    plan = {"steps": 40, "batch": 4, "lr": 0.01, **more}
    run(tales, tmp_path / "whole", training=plan, model=model)

    def stop(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 17:
            os.kill(os.getpid(), signal.SIGINT)

    first = run(tales, tmp_path / "parts", (stop,), training=plan, model=model)
    assert first.stopped == "interrupted"
    assert 17 <= first.steps <= 18
    assert fabula.load(tmp_path / "parts").write("A fox", words=3).text
    second = fabula.train(resume=tmp_path / "parts")
    assert second.steps == 40
    whole, parts = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts


def test_a_training_moved_to_a_machine_without_its_number_format_goes_on(
    tales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, said = tmp_path / "out", precision._gradients, list[str]()
    run(tales, out, training={"steps": 10, "batch": 4, "checkpoint_every": 0.001})
    saved, _ = folder.read_checkpoint(out)
    assert saved is not None
    assert saved.state["precision"] == "fp32"
    shutil.rmtree(out / "checkpoints")
    folder.write_checkpoint(out, replace(saved, state={**saved.state, "precision": "bf16"}))

    def lack(form: str, hidden: int) -> torch.Tensor:
        if form == "bf16":
            raise RuntimeError("could not create a primitive")
        return real(form, hidden)

    def hear(event: Event) -> None:
        if isinstance(event, Warned):
            said.append(event.message)

    monkeypatch.setattr(precision, "_gradients", lack)
    assert fabula.train(resume=out, settings={"training": {"steps": 14}}, listeners=(hear,)).steps == 14
    assert said == ["it learned in bf16, which this machine has not: it goes on in fp32"]


def test_resume_can_go_further_and_knows_its_text(tales: Path, tmp_path: Path) -> None:
    plan = {"steps": 10, "batch": 4, "checkpoint_every": 0.001}
    run(tales, tmp_path / "out", training=plan)
    more = fabula.train(resume=tmp_path / "out", settings={"training": {"steps": 14}})
    assert more.steps == 14
    tales.write_text(tales.read_text(encoding="utf-8").replace("fox", "cat"), encoding="utf-8")
    with pytest.raises(TextError, match="has changed"):
        fabula.train(resume=tmp_path / "out")


def test_there_must_be_something_to_go_on_from(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no checkpoint"):
        fabula.train(resume=tmp_path / "nothing")


def test_divergence_keeps_the_last_good_model(tales: Path, tmp_path: Path) -> None:
    plan = {
        "steps": 4000,
        "batch": 4,
        "lr": 1000.0,
        "clip": 0.0,
        "optimizer": "sgd",
        "evaluations": 2000,
        "patience": 0,
    }
    with pytest.raises(DivergedError, match=r"try --set training\.lr"):
        run(tales, tmp_path / "out", training=plan, model={"head": "tied"})
    weights = folder.read_model(tmp_path / "out").weights
    assert all(np.isfinite(tensor).all() for tensor in weights.values())


@pytest.mark.parametrize(("decay", "steps"), [("linear", 40), ("wsd", 210)])
def test_early_stop_when_nothing_is_gained(tales: Path, tmp_path: Path, decay: str, steps: int) -> None:
    """But never while the rate still stands at its highest: its fall mends much."""
    plan = {"steps": 400, "batch": 4, "lr": 0.0, "evaluations": 40, "patience": 3, "decay": decay}
    outcome = run(tales, tmp_path / "out", training=plan)
    assert outcome.stopped == "early"
    assert outcome.steps == steps


def test_the_held_out_figure_is_foretold_once_and_kept(tales: Path, tmp_path: Path) -> None:
    """As soon as the n-gram model is there, which a training waits for here before its second step."""
    told: list[Foretold] = []

    def listen(event: Event) -> None:
        if isinstance(event, Foretold):
            told.append(event)
        if isinstance(event, Stepped) and event.step == 1:
            for thread in threading.enumerate():
                if thread.name == "baseline":
                    thread.join()

    outcome = run(tales, tmp_path / "out", (listen,), training={"steps": 30, "batch": 4})
    assert len(told) == 1
    forecast = told[0].forecast
    assert 0 < forecast.low < forecast.bits_per_byte < forecast.high
    assert outcome.to_json()["forecast_bits_per_byte"] == forecast.to_json()
    assert told[0].epochs == pytest.approx(outcome.epochs)
    assert folder.read_model(tmp_path / "out").about["forecast_bits_per_byte"] == forecast.to_json()


def test_what_hangs_on_the_pace_is_chosen_again_once_it_is_known(
    tales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that seemed slow reads the text many times: the dropout follows, but not what was asked."""
    monkeypatch.setattr(processor, "units_per_second", lambda *_: 1.0)
    told: list[Foretold] = []
    kept: dict[str, config.Settings] = {}
    for name, model in {"open": {}, "asked": {"dropout": 0.1}}.items():
        hear = (lambda event: told.append(event) if isinstance(event, Foretold) else None,)
        run(tales, tmp_path / name, hear, model=model, training={"time": "5s"})
        kept[name] = config.resolve(config.from_toml(tmp_path / name / "training.toml"))
    assert told[0].dropout == kept["open"].model.dropout > 0.1
    assert told[1].dropout == kept["asked"].model.dropout == 0.1


def test_a_time_too_short_to_learn_anything_is_refused(tales: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--time 1s is too short to learn anything here: give \d+s or more"):
        run(tales, tmp_path / "out", training={"time": "1s"})
    assert not (tmp_path / "out").exists()


def test_what_is_kept_aside_is_shortened_where_measuring_would_take_too_long(
    tales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = {"time": "60s", "steps": 3}
    whole = run(tales, tmp_path / "whole", training=plan)
    monkeypatch.setattr(evaluation, "seconds_for", lambda *_, **__: 24.0)
    heard: list[Event] = []
    part = run(tales, tmp_path / "part", (heard.append,), training=plan)
    assert whole.held_out
    assert part.held_out
    assert part.held_out.bytes == pytest.approx(whole.held_out.bytes / 4, rel=0.1)
    assert any("only 25% of what was kept aside" in note for e in heard if isinstance(e, Began) for note in e.notes)


def test_nothing_is_measured_twice(tales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last measurement on the way is the final one where all that is kept aside was looked at."""
    heard: list[Event] = []
    measured: list[object] = []
    plain = Run.measured
    monkeypatch.setattr(Run, "measured", lambda self, part: measured.append(part) or plain(self, part))
    outcome = run(tales, tmp_path / "out", (heard.append,), training={"steps": 6, "evaluations": 3})
    seen = [event.held_out for event in heard if isinstance(event, Evaluated)]
    assert len(measured) == len(seen) == 3
    assert outcome.held_out == min((held for held in seen if held), key=lambda held: held.bits_per_byte)


def test_getting_ready_takes_nothing_from_the_schedule(tales: Path, tmp_path: Path) -> None:
    """The rate rises from the first step on, however long the text took to read."""
    heard: list[Event] = []
    plan = {"time": "3600s", "steps": 4, "warmup": 0.5, "lr": 1.0}
    settings, begun = {"training": {**plan, "threads": 1}, **SMALL}, time.perf_counter() - 3000
    fabula.train(tales, tmp_path / "out", settings=settings, listeners=(heard.append,), begun=begun)
    rates = [event.lr for event in heard if isinstance(event, Stepped)]
    assert rates == [pytest.approx(rate, abs=0.01) for rate in (0.05, 0.5, 1.0, 0.5)]


def test_notes_say_what_was_chosen(tales: Path, tmp_path: Path) -> None:
    heard: list[Event] = []
    run(tales, tmp_path / "out", (heard.append,), training={"steps": 2}, size="tiny")
    began = next(event for event in heard if isinstance(event, Began))
    assert any("60 stories" in note for note in began.notes)
    assert any("held-out" in note or "kept aside" in note for note in began.notes)


def test_unknown_size_and_nothing_to_read() -> None:
    with pytest.raises(UsageError, match="tiny, small, medium, large"):
        fabula.train("x.txt", size="huge")
    with pytest.raises(UsageError, match="expected a text"):
        fabula.train()


def test_word_vectors_take_the_place_of_random_ones(fable: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = sorted(set(fable.read_text(encoding="utf-8").split()))[:90]
    lines = [f"{word} {' '.join(f'{x:.4f}' for x in rng.normal(size=12))}" for word in words]
    (tmp_path / "v.txt").write_text("\n".join(lines), encoding="utf-8")
    heard: list[Event] = []
    settings = {"training": {**ONE, "steps": 3, "vectors": str(tmp_path / "v.txt"), "freeze_vectors": True}}
    fabula.train(fable, tmp_path / "out", settings=settings, listeners=(heard.append,))
    notes = next(event.notes for event in heard if isinstance(event, Began))
    assert any("90 of 112 words have a vector" in note for note in notes)
    model = folder.read_model(tmp_path / "out")
    row = model.tokenizer.encode(words[0])[0]
    expected = np.array(lines[0].split()[1:], np.float32)
    np.testing.assert_array_equal(model.weights["embedding.weight"][row], expected)


@given(progress=st.floats(0, 1), warmup=st.floats(0, 1), decay=st.sampled_from(["cosine", "linear", "none"]))
@settings(deadline=None)
def test_the_rate_stays_within_its_bounds(progress: float, warmup: float, decay: str) -> None:
    config = TrainingConfig(lr=0.5, warmup=warmup, decay=decay)
    assert 0 <= rate(config, progress) <= 0.5 + 1e-12


def test_killed_at_any_moment_it_goes_on(tales: Path, tmp_path: Path) -> None:
    """A real process, really killed after it has saved: the folder still resumes."""
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "fabula", "train", str(tales), "-o", str(out), "--unit", "chars", "--steps", "100000",
        "-q", "--set", "training.checkpoint_every=0.2", "--set", "training.threads=1", "--set", "model.hidden=16",
    ]  # fmt: skip
    with subprocess.Popen(command) as process:
        for _ in range(600):
            if folder.latest_step(out):
                break
            time.sleep(0.1)
        process.kill()
    saved, _ = folder.read_checkpoint(out)
    assert saved
    done = subprocess.run(
        [sys.executable, "-m", "fabula", "train", "--resume", str(out), "--steps", str(saved.step + 2), "--json", "-q"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["steps"] == saved.step + 2


def test_a_sampled_output_layer_learns_and_repeats_and_is_judged_by_all_units(tales: Path, tmp_path: Path) -> None:
    plan = {"steps": 120, "batch": 4, "length": 16, "lr": 0.01}
    first, again = (
        run(tales, tmp_path / name, training=plan, model={"head": "sampled"}) for name in ("first", "again")
    )
    begun = run(tales, tmp_path / "begun", training={**plan, "steps": 1}, model={"head": "sampled"})
    assert first.held_out
    assert begun.held_out
    assert first.held_out.bits_per_byte < 0.8 * begun.held_out.bits_per_byte
    weights = [folder.read_model(outcome.folder).weights for outcome in (first, again)]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    judged = fabula.evaluate(first.folder, tales)
    assert 0 < judged.bits_per_byte < 2 * first.held_out.bits_per_byte


@pytest.fixture
def bf16() -> None:
    if precision.probe(24) != "bf16":
        pytest.skip("this processor has no bf16")


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """fp16 with its scaling, computed in bf16, which this processor has: it too rounds, but has the range of fp32."""
    monkeypatch.setitem(precision.FORMATS, "fp16", torch.bfloat16)
    monkeypatch.setattr(precision, "choose", lambda asked, *_: asked)
    monkeypatch.setattr(precision.Scaling.__init__, "__defaults__", (factor, 0))


@pytest.mark.usefixtures("bf16")
def test_scaled_losses_teach_the_same(tales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = {"steps": 12, "batch": 4, "penalty_activation": 2.0, "penalty_slope": 1.0}
    run(tales, tmp_path / "plain", training={**plan, "precision": "bf16"})
    as_on_a_gpu(monkeypatch, 2.0**14)
    run(tales, tmp_path / "scaled", training={**plan, "precision": "fp16"})
    plain, scaled = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "scaled"))
    assert plain == scaled


@pytest.mark.usefixtures("bf16")
def test_gradients_that_became_infinite_are_not_learned_from(
    tales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The factor is halved until they are finite, and only then does a step change anything."""
    as_on_a_gpu(monkeypatch, 2.0**130)
    seen: list[float] = []

    def look(event: Event) -> None:
        if isinstance(event, Stepped):
            seen.append(event.gradient)

    run(tales, tmp_path / "out", (look,), training={"steps": 12, "batch": 4, "precision": "fp16", "clip": 0})
    infinite = [not math.isfinite(length) for length in seen]
    assert 1 <= sum(infinite) < 12
    assert infinite == sorted(infinite, reverse=True)
    saved, _ = folder.read_checkpoint(tmp_path / "out")
    if saved:
        assert saved.state["scaling"]["factor"] == 2.0 ** (130 - sum(infinite))


def test_fp16_needs_a_gpu(tales: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a GPU"):
        run(tales, tmp_path / "out", training={"steps": 2, "precision": "fp16"})


def test_a_text_that_is_indexed_too_slowly_does_not_outlast_the_time(
    tales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time limit holds, and what is missing is said."""
    ended = threading.Event()
    monkeypatch.setattr(Index, "of", lambda _: ended.wait(60))
    said: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Warned):
            said.append(event.message)

    try:
        outcome = run(tales, tmp_path / "out", (hear,), training={"time": 5, "batch": 4})
    finally:
        ended.set()
    assert outcome.stopped != "interrupted"
    assert "not indexed in time" in said[0]
    assert fabula.load(tmp_path / "out").index is None
