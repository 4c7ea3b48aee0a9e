"""`fabula lesson` as a user meets it: real processes, a real terminal, a real Ctrl-C."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FIELDS = {
    "iterations", "layers", "window", "seed", "accuracy", "loss", "seconds", "stories", "copied", "ceilings", "recipe",
    "page",
}  # fmt: skip


def lesson(*arguments: str, cwd: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fabula", "lesson", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=cwd, check=False)


def test_the_experiment_its_figures_and_its_page(tmp_path: Path) -> None:
    done = lesson("--iterations", "1200", "--json", "-p", "the old mouse", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert set(answer) == FIELDS
    assert (answer["iterations"], answer["layers"], answer["window"]) == (1200, 1, 3)
    assert [" ".join(told["prompt"]) for told in answer["stories"]] == [
        "had a general",
        "mouse mouse mouse",
        "the old mouse",
    ]
    assert all(len(told["words"]) == 32 for told in answer["stories"])
    assert answer["copied"] == [told["copied"] for told in answer["stories"]]
    assert answer["recipe"]["accuracy"] == pytest.approx(199 / 201)
    assert "iteration  1,000, average loss" in done.stderr
    assert "] - [" in done.stderr
    page = tmp_path / "belling_the_cat-lesson" / "lesson.html"
    assert str(page) == str(tmp_path / answer["page"])
    assert page.read_text(encoding="utf-8").startswith('<!doctype html>\n<html lang="en"')


def test_the_words_it_says(tmp_path: Path) -> None:
    done = lesson("--iterations", "300", "-q", "--layers", "2", "--lang", "zh", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "mouse mouse mouse" in done.stdout
    assert "copied from the text" in done.stdout
    assert (
        "the article: 88.50% at 49,000, 91.20% at 50,000; its script: 90.60% with one layer, 95.20% with two"
        in done.stdout
    )
    assert "who knows only the last 2 words can be right in 185 of 202: 91.6%" in done.stdout
    page = (tmp_path / "belling_the_cat-lesson" / "lesson.html").read_text(encoding="utf-8")
    assert '<html lang="zh"' in page[:100]


def test_a_tip_keeps_its_runs(tmp_path: Path) -> None:
    """Three words of a small text: the second time nothing is left to run, and the page shows the table."""
    (tmp_path / "own.txt").write_text("one two three four one three two four " * 3)
    ask = ("--text", "own.txt", "--tip", "optimizer", "--iterations", "120", "--seeds", "2", "--json", "-o", "book")
    first = json.loads(lesson(*ask, cwd=tmp_path).stdout)
    assert first["name"] == "optimizer"
    assert [row[0]["en"] for row in first["rows"]] == ["RMSProp 0.001", "Adam 0.001", "SGD 0.001", "SGD 0.01"]
    assert all(" ± " in row[1] for row in first["rows"])
    runs = json.loads((tmp_path / "book" / "lesson.json").read_text(encoding="utf-8"))["runs"]
    assert len(runs) == 8
    seconds = {key: run["seconds"] for key, run in runs.items()}
    assert json.loads(lesson(*ask, cwd=tmp_path).stdout) == first
    again = json.loads((tmp_path / "book" / "lesson.json").read_text(encoding="utf-8"))["runs"]
    assert {key: run["seconds"] for key, run in again.items()} == seconds
    assert "RMSProp 0.001" in (tmp_path / "book" / "lesson.html").read_text(encoding="utf-8")
    shown = lesson(*(word for word in ask if word != "--json"), cwd=tmp_path)
    assert "RMSProp 0.001" in shown.stdout
    assert "The article says RMSProp does better than Adam and SGD" in shown.stdout


def test_ctrl_c_in_a_tip_keeps_the_finished_runs(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("one two three four five six seven " * 3)
    command = [
        sys.executable,
        "-m",
        "fabula",
        "lesson",
        "--text",
        "own.txt",
        "-o",
        "book",
        "--tip",
        "iterations",
        "--iterations",
    ]
    short = lesson(
        "--text", "own.txt", "-o", "book", "--tip", "repeat", "--seeds", "2", "--iterations", "60", cwd=tmp_path
    )
    assert short.returncode == 0
    with subprocess.Popen([*command, "1000000"], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        helpers, until = Path(f"/proc/{process.pid}/task/{process.pid}/children"), time.monotonic() + 60
        while not helpers.read_text(encoding="ascii") and time.monotonic() < until:
            time.sleep(0.1)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr
        assert "the same command goes on" in process.stderr.read()
    assert len(json.loads((tmp_path / "book" / "lesson.json").read_text(encoding="utf-8"))["runs"]) == 2


def test_ctrl_c_in_the_experiment_keeps_what_was_learned(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fabula", "lesson", "-o", "book"]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:  # fmt: skip
        assert process.stderr
        assert process.stdout
        assert "iteration  1,000" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = process.stdout.read()
        assert process.wait() == 130
    assert "had a general" in said
    kept = json.loads((tmp_path / "book" / "lesson.json").read_text(encoding="utf-8"))
    assert 1000 <= kept["experiment"]["done"] < 50_000
    assert (tmp_path / "book" / "lesson.html").exists()


def test_words_are_asked_for_at_a_terminal(tmp_path: Path) -> None:
    """The article's prompt loop: a story, a word that it does not know, too few words, an empty line to end."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "fabula", "lesson", "--iterations", "200", "-o", "book"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    seen = ""
    with subprocess.Popen(command, stdin=child, stdout=child, stderr=child, cwd=tmp_path, env=environment) as process:
        os.close(child)
        answers = ["the young mouse\n", "the young mouze\n", "cat\n", "\n"]
        while True:
            try:
                seen += os.read(parent, 65536).decode()
            except OSError:
                break
            if answers and seen.count("an empty line ends") == 5 - len(answers):
                os.write(parent, answers.pop(0).encode())
        assert process.wait() == 0
    os.close(parent)
    assert not answers
    assert "steps/s" in seen
    assert "the young mouse " in seen
    assert "'mouze': the nearest it knows are 'mouse'" in seen
    assert "at least 3 symbols" in seen


def test_tensorboard_gets_scalars_graph_and_stories(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = lesson("--tip", "tensorboard", "--iterations", "150", "-o", "book", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tensorboard --logdir" in done.stdout
    (logs,) = (tmp_path / "book" / "tensorboard").iterdir()
    seen = EventAccumulator(str(logs))
    seen.Reload()
    assert seen.Tags()["scalars"] == ["learning/accuracy", "learning/loss"] or set(seen.Tags()["scalars"]) == {
        "learning/accuracy", "learning/loss",
    }  # fmt: skip
    assert seen.Tags()["graph"]
    assert any("had a general" in tag for tag in seen.Tags()["tensors"])


MISTAKES = {
    "zero steps": (["--iterations", "0"], "--iterations must be 1 to"),
    "no such tip": (["--tip", "magic"], "--tip must be one of vectors, vocabulary, window"),
    "no seeds": (["--tip", "window", "--seeds", "0"], "--seeds must be"),
    "a word unknown": (["-p", "had a mouze"], "'mouse'"),
    "too few words": (["-p", "had a"], "at least 3 symbols"),
    "a short text": (["--text", "short.txt"], "more than 3 symbols"),
    "an empty text": (["--text", "empty.txt"], "empty.txt"),
    "no text": (["--text", "nowhere.txt"], "nowhere.txt"),
    "no such language": (["--lang", "tlh"], "en, zh"),
    "another folder": (["-o", "taken"], "must be a folder of a lesson"),
    "another text": (["-o", "other"], "another text"),
    "a damaged notebook": (["-o", "damaged"], "damaged"),
    "no vectors": (
        ["--tip", "vectors", "--vectors", "nowhere.vec", "--iterations", "9", "--seeds", "1"],
        "nowhere.vec",
    ),
}


def test_a_text_that_is_missing_is_said_before_torch_is_loaded(tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from fabula.cli import main; sys.exit(main(sys.argv[1:]))"
    for arguments, expected in ((["--text", "nowhere.txt"], "nowhere.txt"), ([], "fabula[train]")):
        command = [sys.executable, "-c", code, "lesson", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert expected in done.stderr


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("one two three")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("years of work")
    for folder, text in (
        ("other", '{"text": {"name": "x", "symbols": [], "count": 0, "vocabulary": []}, "runs": {}, "tips": []}'),
        ("damaged", "{"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "lesson.json").write_text(text)
    arguments, expected = MISTAKES[name]
    done = lesson(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "taken" / "thesis.txt").read_text() == "years of work"


def test_a_text_from_stdin_in_chinese(tmp_path: Path) -> None:
    done = lesson(
        "--text",
        "-",
        "--iterations",
        "200",
        "--window",
        "2",
        "--json",
        cwd=tmp_path,
        stdin="老鼠开会,要给猫挂铃铛。谁去挂呢?" * 3,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["stories"][0]
    assert all(len(word) == 1 for word in told["words"])
    assert (tmp_path / "standard-input-lesson" / "lesson.html").exists()
