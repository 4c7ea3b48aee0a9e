"""`fabula store` as a user meets it: what it says, what it prints, where it stops."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fabula.cli import main


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Two hundred stories, two of them the same."""
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(300)]
    stories = [f"# Story {number}\n\n{' '.join(rng.choice(words, 60).tolist())}." for number in range(200)]
    path = tmp_path / "library.txt"
    path.write_text("\n\n".join([*stories, stories[3]]), encoding="utf-8")
    return path


def test_it_says_what_it_did_and_what_next(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", str(library), "-o", str(tmp_path / "s"), "--unit", "words"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "storing 0.1 MB ..." in said.err
    assert "left out 1 copy of other stories" in said.err
    assert f"next: fabula train {tmp_path / 's'}" in said.err
    assert main(["store", str(tmp_path / "s"), "--verify"]) == 0
    assert capsys.readouterr().out == "sound: 8 files, 0.1 MB\n"


def test_json_is_one_object(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["store", str(library), "-o", str(tmp_path / "s"), "--set", "text.held_out=0.1", "--json", "-q"]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert said.err == ""
    facts = json.loads(said.out)
    assert (facts["copies"], facts["stories"] + facts["held_out"]["stories"]) == (1, 200)
    assert 0.05 < facts["held_out"]["bytes"] / facts["bytes"] < 0.2
    assert main(["store", str(tmp_path / "s"), "--verify", "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["digest"] == facts["digest"]


def test_the_name_is_that_of_the_text(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["store", "library.txt", "-q", "--unit", "bytes", "--held-out", str(library)]) == 0
    assert (tmp_path / "library-store" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected texts to store"),
        (["--verify"], "expected one store to verify"),
        (["missing.txt"], "no file or folder 'missing.txt'"),
        (["missing", "--verify"], "holds no manifest.json"),
        (["-"], "cannot be made of standard input"),
        (["library.txt", "--unit", "symbols"], "symbols cannot"),
        (["library.txt", "--processes", "0"], "--processes must be 1 or more"),
        (["library.txt", "-o", "library.txt"], "must be a folder"),
        (["library.txt", "-o", "library.txt/inside"], "cannot make the folder"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], said: str, library: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(library.parent)
    assert main(["store", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert {path.name for path in library.parent.iterdir()} == {"library.txt"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_leaves_what_the_same_command_goes_on_with(tmp_path: Path, number: int, code: int) -> None:
    """A real process with processes of its own, really interrupted: none of them stays, and nothing is lost."""
    rng = np.random.default_rng(1)
    words = np.array([f"word{number} " for number in range(5000)], object)
    path, out = tmp_path / "library.txt", tmp_path / "s"
    with path.open("w", encoding="utf-8") as file:
        for story in range(1300):
            file.write(f"# Story {story}\n\n{''.join(words[rng.integers(0, 5000, 6000)].tolist())}\n\n")
    command = [sys.executable, "-m", "fabula", "store", str(path), "-o", str(out)]
    command += ["--unit", "bytes", "--processes", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until = time.monotonic() + 60
    while not list(out.glob("shard-*.json")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    below = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert below
    assert not any(Path(f"/proc/{one}").exists() for one in below)
    written = [path.with_suffix(".tokens.npy") for path in out.glob("shard-*.json")]
    done = {path: path.stat().st_ino for path in written}
    assert done
    assert not (out / "manifest.json").exists()
    assert subprocess.run([*command, "-q"], check=True, timeout=120).returncode == 0
    assert {path: path.stat().st_ino for path in done} == done
    assert main(["store", str(out), "--verify", "-q"]) == 0
