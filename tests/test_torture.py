"""The tortures in small: each of them passes, and each catches what is broken on purpose."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TORTURE = Path(__file__).resolve().parents[1] / "torture"


@pytest.mark.parametrize(("name", "count"), [("kill", 3), ("signals", 3), ("disk", 3), ("syscalls", 12)])
def test_a_small_torture(tmp_path: Path, name: str, count: int) -> None:
    if name == "syscalls" and not shutil.which("strace"):
        count = 36
    command = [sys.executable, str(TORTURE / f"{name}.py"), "--count", str(count), "--json", str(tmp_path / "found")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    whole, *controls = json.loads((tmp_path / "found").read_text())["rows"]
    assert whole["passed"]
    assert len(controls) == 2
    assert all(control["caught"] > 0 for control in controls)
