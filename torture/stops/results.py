"""The command line, the place and the table that all tortures have; imports no torch and no training."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any


def options(page: str | None, **switches: str) -> argparse.Namespace:
    """The command line that all of them have, and switches of one's own with what they mean."""
    parser = argparse.ArgumentParser(description=page, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="as many as the documents speak of")
    parser.add_argument("--count", type=int, help="as many as you like")
    parser.add_argument("--seed", type=int, default=1, help="of the random instants")
    parser.add_argument("--json", type=Path, help="file for the results")
    for name, about in switches.items():
        parser.add_argument(f"--{name}", action="store_true", help=about)
    return parser.parse_args()


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder that goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="fabula-torture-") as place:
        yield Path(place)


def report(name: str, rows: Sequence[Mapping[str, Any]], *, note: str = "", out: Path | None = None) -> int:
    """Print a table, write it as JSON if asked; returns 1 when a row has not `passed`."""
    for row in rows:
        told = ", ".join(f"{key} {value}" for key, value in row.items() if key not in {"what", "passed"})
        sys.stdout.write(f"{'ok  ' if row['passed'] else 'FAIL'}  {row['what']}: {told}\n")
    versions = {name: version(name) for name in ("torch", "numpy", "safetensors")}
    versions["python"] = platform.python_version()
    result = {"torture": name, "note": note, "rows": list(rows), "machine": platform.platform(), "versions": versions}
    if note:
        sys.stdout.write(f"      {note}\n")
    if out:
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row["passed"] for row in rows) else 1
