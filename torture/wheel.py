"""The wheel, built without a network; knows nothing of what is in it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EPOCH = "1577836800"
"""The time that all files in it are from: two builds of one source have the same bytes."""


def build(out: Path) -> Path | None:
    """The path of a wheel in `out`; None without hatchling."""
    if importlib.util.find_spec("hatchling") is None:
        return None
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH}, check=True, capture_output=True,
    )  # fmt: skip
    return next(out.glob("*.whl"))
