"""What a training leaves in its folder while it learns: lines on every evaluation and every story told, a page."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fabula import disk
from fabula.folder.names import LOGS
from fabula.folder.sealed import FACTS_LIMIT, LOG_LIMIT, contents


def append(path: Path, name: str, record: Mapping[str, Any]) -> None:
    """Add one line to `metrics.jsonl` or `samples.jsonl`, or nothing; errors: OSError."""
    disk.append(path / name, (json.dumps(record, ensure_ascii=False) + "\n").encode())


def log_lengths(path: Path) -> dict[str, int]:
    """How far both logs reach, safe on the disk: where a training that goes on from here goes on writing them."""
    return {name: disk.length(path / name) for name in LOGS}


def rewind_logs(path: Path, lengths: Mapping[str, int]) -> list[str]:
    """Cut the logs back to where a checkpoint left them; returns the names of those that have lost lines since."""
    short = []
    for name in LOGS:
        wanted = lengths.get(name)
        there = (path / name).stat().st_size if (path / name).is_file() else 0
        if wanted is None or there == wanted:
            continue
        if there < wanted:
            short.append(name)
        else:
            with suppress(OSError):
                os.truncate(path / name, wanted)
    return short


def read_records(path: Path, name: str, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Whole lines from byte `start` on, and where the next one begins; what is no record of ours is passed over."""
    try:
        data = contents(path / name, LOG_LIMIT, start)
    except (OSError, ValueError):
        return [], start
    whole = data[: data.rfind(b"\n") + 1]
    records: list[object] = []
    for line in whole.splitlines():
        if len(line) > FACTS_LIMIT:
            continue
        try:
            records.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return [record for record in records if isinstance(record, dict)], start + len(whole)


def publish(target: Path, data: bytes) -> None:
    """Replace a file that people look at: never half of it, but without waiting for the disk."""
    draft = disk.draft_of(target)
    try:
        draft.write_bytes(data)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
