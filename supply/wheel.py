"""The wheel, built twice with the same bytes, without a network: `python -m supply.wheel`. Knows no source."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EPOCH = "1577836800"
"""The time that all files in it are from, whenever it is built."""


def build(out: Path) -> Path | None:
    """The path of a wheel in `out`; None without hatchling."""
    if importlib.util.find_spec("hatchling") is None:
        return None
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH}, check=True, capture_output=True,
    )  # fmt: skip
    return next(out.glob("*.whl"))


def main() -> int:
    """Build it in `dist/`, and once more elsewhere; exit code 1 when they differ."""
    first = build(ROOT / "dist")
    if first is None:
        sys.stderr.write("the wheel is not built: pip install hatchling\n")
        return 1
    with tempfile.TemporaryDirectory() as other:
        second = build(Path(other))
        assert second
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, second)]
    print(f"{digests[0]}  {first.relative_to(ROOT)}")
    if digests[0] != digests[1]:
        sys.stderr.write(f"a second build differs: {digests[1]}\n")
    return int(digests[0] != digests[1])


if __name__ == "__main__":
    sys.exit(main())
