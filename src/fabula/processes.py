"""Which of several processes this one is, by the variables that torchrun sets; knows no torch and no network."""

from __future__ import annotations

import os
import re
from pathlib import Path

WAIT = 60.0
"""Seconds that processes which begin wait for each other; FABULA_WAIT overrules it."""

ANSWER = 15.0
"""Seconds without an answer after which another process counts as lost; FABULA_ANSWER overrules it."""

BEGUN = "FABULA_BEGUN"
"""The variable that says when who has started it began, by the clock that all processes of a machine share."""

MEETING = "FABULA_MEETING"
"""The variable that names the folder where processes of one machine meet, without a port that others could reach."""

OUTCOME = "FABULA_OUTCOME"
"""The variable that names the file where the first process leaves its exit code for who has started it."""


def count() -> int:
    """How many processes learn together."""
    return _number("WORLD_SIZE", 1)


def rank() -> int:
    """The number of this one among them; the first writes and speaks."""
    return _number("RANK", 0)


def is_first() -> bool:
    """Whether this one writes and speaks."""
    return rank() == 0


def here() -> int:
    """How many of them are on this machine."""
    return _number("LOCAL_WORLD_SIZE", 1)


def rank_here() -> int:
    """The number of this one among those on its machine."""
    return _number("LOCAL_RANK", 0)


def job() -> str | None:
    """What names a job that was started once, and again after some process of it ended; None outside of such jobs."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    return None if name in {"", "none"} else name


def restarts() -> int:
    """How often the processes of this job were started again."""
    return _number("TORCHELASTIC_RESTART_COUNT", 0)


def wait() -> float:
    """Seconds that processes which begin wait for each other."""
    return float(_number("FABULA_WAIT", 0) or WAIT)


def answer() -> float:
    """Seconds without an answer after which another process counts as lost."""
    return float(_number("FABULA_ANSWER", 0) or ANSWER)


def is_last_try() -> bool:
    """Whether they will not be started again when one is lost."""
    return restarts() >= _number("TORCHELASTIC_MAX_RESTARTS", 0)


def begun(own: float) -> float:
    """The `time.perf_counter()` that a time limit counts from; started again, a process counts from its own."""
    value = os.environ.get(BEGUN, "")
    first = "RANK" in os.environ and restarts() == 0 and re.fullmatch(r"\d+(\.\d+)?", value)
    return min(float(value), own) if first else own


def conclude(code: int) -> int:
    """What a process that has come to its own end returns: our launcher must not start it again, whatever the code."""
    told = os.environ.get(OUTCOME)
    if told is None or "RANK" not in os.environ:
        return code
    if is_first():
        Path(told).write_text(str(code), encoding="ascii")
    return 0


def _number(name: str, otherwise: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else otherwise
