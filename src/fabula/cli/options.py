"""Options that several commands share, and how they become settings; prints nothing but JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fabula import config
from fabula.cli.parsing import Option

Json = Annotated[bool, Option(about="One JSON object on stdout and nothing else there.")]
Quiet = Annotated[bool, Option("-q", about="Say nothing on stderr but errors.")]
Seed = Annotated[int | None, Option(about="Number that fixes every random choice.")]
Set = Annotated[tuple[str, ...], Option(about="Any other setting, as training.lr=0.002; may be given again.")]
Config = Annotated[Path | None, Option(about="Settings from a TOML file such as training.toml.")]
Encoding = Annotated[str | None, Option(about="Encoding of the texts, when the guess is wrong.")]


STDIN = "-"
"""What stands for standard input."""


def layered(
    flags: Mapping[str, Mapping[str, Any]], assignments: tuple[str, ...] = (), file: Path | None = None
) -> dict[str, dict[str, Any]]:
    """Settings by precedence: flag, then --set, then environment, then file."""
    read = config.from_toml(file) if file else {}
    return config.merge(read, config.from_environment(), config.from_assignments(assignments), flags)


def print_json(record: Mapping[str, Any]) -> None:
    """One object on stdout."""
    sys.stdout.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
