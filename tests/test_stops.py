"""The tortures that stop a training, in small: each of them passes, and each catches what is broken on purpose."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from torture import syscalls
from torture.runner import table

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["kill", "signals", "disk"])
def test_a_small_torture(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "torture", name, "--count", "2", "--json", str(tmp_path / "found")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (answer,) = json.loads((tmp_path / "found").read_text())["answers"]
    assert answer["kept"]
    assert answer["cases"] == 2
    assert list(answer["controls"].values()) == [True, True]


def test_calls_of_a_save_that_fail(tmp_path: Path) -> None:
    answer = syscalls.ask(40, 1, tmp_path, 1, has_strace=False)
    assert answer.cases == 40
    assert answer.kept, table([answer])
