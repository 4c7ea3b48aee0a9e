"""The listener that keeps the page up to date, and the page written anew from a folder; no network learns here."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fabula import folder
from fabula.config import resolve
from fabula.errors import DivergedError, FolderError
from fabula.evaluation import Measure
from fabula.events import Began, Evaluated, Finished, Saved, Stepped
from fabula.report import Reporter, rewrite
from fabula.report.curve import POINTS, Curve
from fabula.report.page import carried
from fabula.tokens import build

SETTINGS = resolve({
    "text": {"paths": ["/home/me/secret/tales.txt"]}, "training": {"lr": 0.004, "vectors": "/home/me/secret/v.txt"},
})  # fmt: skip
TOKENIZER = build("symbols", ["the mouse and the cat"])
ABOUT = {
    "name": "m", "unit": "symbols", "steps": 4, "stopped": "steps", "parameters": 7, "by_heart": False,
    "train_accuracy": 0.5, "learned_from": {"bytes": 90, "chars": 90, "words": 20, "stories": 3},
    "held_out": {"bits_per_byte": 2.5, "accuracy": 0.25, "bytes": 10}, "baseline_bits_per_byte": 3.0,
}  # fmt: skip


def began(path: Path, step: int = 0) -> Began:
    path.mkdir(exist_ok=True)
    return Began(
        folder=path, settings=SETTINGS, tokenizer=TOKENIZER, parameters=7, precision="fp32", notes=("one text",),
        opening="the mouse", step=step,
    )  # fmt: skip


def stepped(step: int, seconds: float | None = None, progress: float = 0.5) -> Stepped:
    at = step / 10 if seconds is None else seconds
    return Stepped(
        step=step, progress=progress, loss=8.0 / step, accuracy=0.5, lr=0.004, gradient=1.0, tokens=100, seconds=at
    )


def evaluated(step: int, seconds: float | None = None, bits: float = 3.0) -> Evaluated:
    judged = Measure(nats=bits * 0.6931471805599453 * 10, tokens=9, bytes=10, chars=10, words=3, correct=2)
    return Evaluated(
        step=step, progress=0.5, loss=2.0, accuracy=0.5, held_out=judged, best=True, tokens_per_second=1000.0,
        lr=0.004, seconds=step / 10 if seconds is None else seconds, weights=dict,
    )  # fmt: skip


def measured(path: Path, event: Evaluated, text: str = " ran") -> Evaluated:
    """What journal and narrator write down before the reporter hears of it."""
    folder.append(path, "metrics.jsonl", event.to_json())
    record = {"step": event.step, "seconds": event.seconds, "prompt": "the mouse", "text": text}
    folder.append(path, "samples.jsonl", record)
    return event


def complete(path: Path, **about: Any) -> None:
    (path / "config.json").write_text(json.dumps({"about": ABOUT | about}), encoding="utf-8")


def page(path: Path) -> dict[str, Any]:
    return carried((path / "report.html").read_text(encoding="utf-8"))


@pytest.fixture
def m(tmp_path: Path) -> Path:
    return tmp_path / "m"


def test_the_page_follows_the_training(m: Path) -> None:
    reporter = Reporter()
    reporter(began(m))
    reporter(stepped(1, 0.1))
    first = page(m)
    assert first["state"]["ended"] is None
    assert first["metrics"] == []
    assert first["notes"] == ["one text"]
    reporter(measured_ := measured(m, evaluated(1, 1.5)))
    assert page(m)["metrics"][0]["held_out_bits_per_byte"] == pytest.approx(measured_.held_out.bits_per_byte)  # type: ignore[union-attr]
    assert page(m)["samples"] == [{"step": 1, "seconds": 1.5, "prompt": "the mouse", "text": " ran"}]
    assert page(m)["state"]["seconds"] == pytest.approx(1.5, abs=0.5)
    assert page(m)["about"] == {}
    complete(m)
    reporter(stepped(2, 1.6))
    reporter(Finished(step=2, weights={}))
    last = page(m)
    assert last["state"]["ended"] == "steps"
    assert last["about"]["held_out"]["bits_per_byte"] == 2.5
    assert last["baseline"] == 3.0
    assert [point[:2] for point in last["steps"]] == [[1, 0.1], [2, 1.6]]
    assert {entry.name for entry in m.iterdir()} == {"report.html", "metrics.jsonl", "samples.jsonl", "config.json"}


def test_between_measurements_it_is_written_every_few_seconds_and_never_oftener_than_one(
    m: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    monkeypatch.setattr(folder, "publish", lambda target, data: written.append(len(data)))
    monkeypatch.setattr("fabula.report.listener.time.perf_counter", lambda: 0.0)
    reporter = Reporter()
    reporter(began(m))
    counts = []
    for event in (stepped(1, 0.1), stepped(2, 4.9), stepped(3, 5.2), stepped(4, 6.0), evaluated(4, 6.1),
                  evaluated(5, 6.3), stepped(6, 11.2), stepped(7, 11.4)):  # fmt: skip
        reporter(event)
        counts.append(len(written))
    assert counts == [1, 1, 2, 2, 2, 3, 3, 4]


def test_of_a_path_only_its_name_is_told(m: Path) -> None:
    reporter = Reporter()
    reporter(began(m))
    reporter(stepped(1))
    assert "secret" not in (m / "report.html").read_text(encoding="utf-8")
    assert ["text", "paths", ["tales.txt"]] in [row[:3] for row in page(m)["settings"]]


def test_a_resumed_training_goes_on_with_its_page(m: Path) -> None:
    """Killed after step 4, it goes on from step 2: what was seen of steps 3 and 4 is told anew, not twice."""
    first = Reporter()
    first(began(m))
    for step in range(1, 5):
        first(stepped(step, 5.0 * step))
        first(measured(m, evaluated(step, 5.0 * step + 1), f" first {step}"))
    second = Reporter()
    second(began(m, step=2))
    second(stepped(3, 30.0))
    second(measured(m, evaluated(3, 31.5, bits=2.0), " second 3"))
    assert [point[0] for point in page(m)["steps"]] == [1, 2, 3]
    assert [row["step"] for row in page(m)["metrics"]] == [1, 2, 3]
    assert [row["text"] for row in page(m)["samples"]] == [" first 1", " first 2", " second 3"]


@pytest.mark.parametrize(
    ("error", "how", "says"),
    [
        (DivergedError("the loss became nan at step 3"), "diverged", "the loss became nan at step 3"),
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (MemoryError("/home/me/secret"), "failed", "MemoryError"),
    ],
)
def test_a_training_that_raises_has_ended_on_its_page(m: Path, error: BaseException, how: str, says: str) -> None:
    def train() -> None:
        with Reporter() as reporter:
            reporter(began(m))
            reporter(stepped(1))
            raise error

    with pytest.raises(type(error)):
        train()
    assert page(m)["state"]["ended"] == how
    assert page(m)["state"]["error"] == says


def test_a_training_that_ran_off_tells_both_why_and_what_is_left(m: Path) -> None:
    """The last good model is written first, and then the error comes."""

    def train() -> None:
        with Reporter() as reporter:
            reporter(began(m))
            reporter(stepped(1))
            complete(m, stopped="diverged")
            reporter(Finished(step=1, weights={}))
            raise DivergedError("the loss became nan")

    with pytest.raises(DivergedError):
        train()
    assert page(m)["state"]["ended"] == "diverged"
    assert page(m)["state"]["error"] == "the loss became nan"
    assert page(m)["about"]["parameters"] == 7


def test_leaving_it_without_a_training_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), Reporter():
        raise ValueError("no")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_costs_the_page_only(m: Path, caplog: pytest.LogCaptureFixture) -> None:
    reporter = Reporter()
    reporter(began(m))
    (m / "report.html").mkdir()
    (m / "report.html" / "in the way").touch()
    with caplog.at_level(logging.WARNING):
        reporter(stepped(1))
    assert "report.html could not be written" in caplog.text
    assert [entry.name for entry in m.iterdir()] == ["report.html"]


# --- the curve -----------------------------------------------------------------------------------------------------


def test_a_long_run_keeps_few_points_and_forgets_nothing() -> None:
    curve, many = Curve(), 10_001
    for step in range(1, many + 1):
        curve.add(replace(stepped(step), loss=float(step)))
    points = curve.points()
    assert POINTS / 2 <= len(points) <= POINTS
    assert points[-1][0] == many
    assert [point[0] for point in points] == sorted({point[0] for point in points})
    assert points[0][2] == pytest.approx((1 + points[0][0]) / 2)  # type: ignore[operator]
    assert all(point[5] == pytest.approx(1000.0) for point in points)


def test_measuring_is_not_taken_for_slowness() -> None:
    curve = Curve()
    for step in range(1, 5):
        curve.add(stepped(step))
    curve.pause()
    for step in range(5, 9):
        curve.add(stepped(step, seconds=100 + step / 10))
    assert [point[5] for point in curve.points()] == [
        None, *[pytest.approx(1000.0)] * 3, None, *[pytest.approx(1000.0)] * 3,
    ]  # fmt: skip
    reporter = Reporter()
    reporter._curve = curve
    for event in (Saved(step=8), evaluated(8)):
        curve._since = 1.0
        reporter(event)
        assert curve._since is None


# --- from a folder -------------------------------------------------------------------------------------------------


def test_it_is_written_anew_from_what_lies_in_the_folder(m: Path) -> None:
    reporter = Reporter()
    reporter(began(m))
    reporter(stepped(1))
    complete(m)
    reporter(Finished(step=1, weights={}))
    before = page(m)
    assert rewrite(m) == m / "report.html"
    assert page(m) == before
    assert rewrite(m, m.parent / "zh.html", "zh") == m.parent / "zh.html"
    assert carried((m.parent / "zh.html").read_text(encoding="utf-8")) == before | {"language": "zh"}


def test_without_an_earlier_page_it_tells_what_the_files_tell(m: Path) -> None:
    m.mkdir()
    complete(m, stopped="early")
    (m / "training.toml").write_text('[text]\npaths = ["a/tales.txt"]\n[model]\nhead = "unheard-of"\nold = 1\n')
    measured(m, evaluated(1))
    rewrite(m)
    assert page(m)["state"] == {"ended": "early"}
    assert page(m)["parameters"] == 7
    assert [row[:3] for row in page(m)["settings"]] == [
        ["text", "paths", ["tales.txt"]],
        ["model", "head", "unheard-of"],
    ]
    assert len(page(m)["metrics"]) == 1


def test_damaged_files_cost_what_they_held(m: Path) -> None:
    m.mkdir()
    complete(m)
    (m / "report.html").write_text('<script type="application/json" id="report">{"notes": </script>')
    (m / "training.toml").write_bytes(b"\xff[")
    for name in ("metrics.jsonl", "samples.jsonl"):
        (m / name).write_bytes(
            b'[1]\n{"step": "x"}\n{"step": NaN}\n\xff\n{"step": 2, "lr": Infinity, "text": 5}\n{"step": 3'
        )
    rewrite(m)
    assert page(m)["metrics"] == [{"step": 2, "lr": None, "text": 5}]
    assert page(m)["samples"] == [{"step": 2, "seconds": None, "prompt": "", "text": "5"}]
    assert page(m)["settings"] == []


def test_a_folder_that_tells_of_no_training_is_one_line(m: Path) -> None:
    with pytest.raises(FolderError, match="is not there"):
        rewrite(m)
    m.mkdir()
    with pytest.raises(FolderError, match="holds no training"):
        rewrite(m)
    for about in ("[]", '{"about": 5}', "{", "\xff"):
        (m / "config.json").write_text(about, encoding="latin-1")
        with pytest.raises(FolderError, match="holds no training"):
            rewrite(m)
    complete(m)
    with pytest.raises(FolderError, match="cannot write the page"):
        rewrite(m, m / "nowhere" / "page.html")


def test_links_are_not_followed(m: Path) -> None:
    m.mkdir()
    complete(m)
    secret = m.parent / "secret.jsonl"
    secret.write_text('{"step": 1, "prompt": "secret", "text": ""}\n')
    (m / "samples.jsonl").symlink_to(secret)
    rewrite(m)
    assert page(m)["samples"] == []


def test_the_largest_training_still_makes_a_page_that_can_be_mailed(m: Path) -> None:
    reporter = Reporter()
    paths = tuple(f"/x/{n:0200}.txt" for n in range(5000))
    settings = replace(SETTINGS, text=replace(SETTINGS.text, paths=paths))
    reporter(replace(began(m), settings=settings, notes=("\U0001f41b" * 900,) * 50, opening="很" * 2000))
    for step in range(1, 2001):
        reporter._curve.add(stepped(step, step / 7))
        folder.append(m, "metrics.jsonl", evaluated(step, bits=1.0 if step == 777 else 2 + 1 / step).to_json())
        folder.append(
            m,
            "samples.jsonl",
            {"step": step, "seconds": 1 / 3, "prompt": "\U0001f41b" * 900, "text": "\U0001f41b" * 900},
        )
    complete(m)
    reporter(Finished(step=2000, weights={}))
    assert (m / "report.html").stat().st_size < 500_000
    told = page(m)
    assert [row["step"] for row in told["samples"][:3]] == [1, 3, 9]
    assert told["samples"][-1]["step"] == told["metrics"][-1]["step"] == 2000
    assert min(told["metrics"], key=lambda row: row["held_out_bits_per_byte"])["step"] == 777


def test_a_forced_new_training_forgets_the_old_page(m: Path) -> None:
    m.mkdir()
    complete(m)
    rewrite(m)
    folder.claim(m, force=True)
    assert not (m / "report.html").exists()


def test_a_folder_that_is_nested_without_end_tells_of_no_training(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(FolderError, match="holds no training"):
        rewrite(tmp_path)
    (tmp_path / "config.json").write_text("[" + "{}," * 3_000_000 + "{}]")
    with pytest.raises(FolderError, match="holds no training"):
        rewrite(tmp_path)
