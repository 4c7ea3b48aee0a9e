"""`fabula report` as a user meets it, and the page that every training leaves behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fabula.report.page import carried


def fabula(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from fabula.cli import main; code = main(sys.argv[1:]);"
        "assert sys.argv[1] != 'report' or not {'torch', 'onnxruntime'} & sys.modules.keys(); sys.exit(code)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    about = {"stopped": "time", "parameters": 7, "unit": "words", "held_out": {"bits_per_byte": 1.5}}
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text(json.dumps({"about": about}), encoding="utf-8")
    return tmp_path / "m"


def test_it_writes_the_page_and_says_where(model: Path) -> None:
    done = fabula("report", "m", cwd=model.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{Path('m', 'report.html')}\n", "")
    assert carried((model / "report.html").read_text(encoding="utf-8"))["about"]["held_out"] == {"bits_per_byte": 1.5}
    done = fabula("report", "m", "--lang", "zh", "-o", "here.html", "--json", cwd=model.parent)
    assert json.loads(done.stdout) == {"page": "here.html"}
    assert '<html lang="zh">' in (model.parent / "here.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["m", "--lang", "fr"], "must be one of en, zh"),
        (["nowhere"], "expected a model folder"),
        (["m/config.json"], "expected a model folder"),
        (["m", "-o", "nowhere/page.html"], "choose another file with -o"),
        (["m", "-o", "m"], "choose another file with -o"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(model: Path, arguments: list[str], says: str) -> None:
    done = fabula("report", *arguments, cwd=model.parent)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert [path.name for path in model.parent.rglob("*")] == ["m", "config.json"]


def test_a_training_leaves_its_page(tmp_path: Path, fable: Path) -> None:
    small = ["--set", "training.threads=1", "--set", "model.hidden=8", "--set", "model.embedding=4", "--steps", "30"]
    assert fabula("train", str(fable), "-o", "m", "-q", *small, cwd=tmp_path).returncode == 0
    told = carried((tmp_path / "m" / "report.html").read_text(encoding="utf-8"))
    assert told["state"]["ended"] == "steps"
    assert len(told["metrics"]) == len(told["samples"]) == 10
    assert [point[0] for point in told["steps"]] == list(range(1, 31))
    assert told["about"]["by_heart"] is True
