"""Options that several commands share, and how they become settings; prints nothing but JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from fabula import config

Json = Annotated[bool, Parameter(name="--json", negative="", help="One JSON object on stdout and nothing else there.")]
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative="", help="Say nothing on stderr but errors.")]
Debug = Annotated[bool, Parameter(name="--debug", negative="", help="Show the traceback of an error.")]
Seed = Annotated[int | None, Parameter(name="--seed", help="Number that fixes every random choice.")]
Set = Annotated[
    tuple[str, ...],
    Parameter(name="--set", negative="", help="Any other setting, as training.lr=0.002; may be given again.",
              consume_multiple=False, n_tokens=1),
]  # fmt: skip
Config = Annotated[Path | None, Parameter(name="--config", help="Settings from a TOML file such as training.toml.")]
Encoding = Annotated[str | None, Parameter(name="--encoding", help="Encoding of the texts, when the guess is wrong.")]


STDIN = "<standard input>"
"""What a lone `-` becomes before parsing, which would take it for an option."""


def texts(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Paths as the text room wants them: `-` for standard input."""
    return tuple("-" if path == STDIN else path for path in paths)


def layered(
    flags: Mapping[str, Mapping[str, Any]], assignments: tuple[str, ...] = (), file: Path | None = None
) -> dict[str, dict[str, Any]]:
    """Settings by precedence: flag, then --set, then environment, then file."""
    read = config.from_toml(file) if file else {}
    return config.merge(read, config.from_environment(), config.from_assignments(assignments), flags)


def print_json(record: Mapping[str, Any]) -> None:
    """One object on stdout."""
    sys.stdout.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
