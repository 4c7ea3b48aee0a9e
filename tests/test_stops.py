"""The tortures in small: each of them passes, and each catches what is broken on purpose."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TORTURE = Path(__file__).resolve().parents[1] / "torture" / "stops"


@pytest.mark.parametrize(
    ("name", "options"), [("kill", "2"), ("signals", "2"), ("disk", "2"), ("syscalls", "40 --inside")]
)
def test_a_small_torture(tmp_path: Path, name: str, options: str) -> None:
    script = str(TORTURE / f"{name}.py")
    command = [sys.executable, script, "--json", str(tmp_path / "found"), "--count", *options.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    whole, *controls = json.loads((tmp_path / "found").read_text())["rows"]
    assert whole["passed"]
    assert len(controls) == 2
    assert all(control["caught"] > 0 for control in controls)
