"""The lesson as one self-contained HTML page; knows its template and nothing of how the figures came about."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fabula.pages import check_language, fill

GATES = ("input", "forget", "output", "candidate", "cell", "hidden")
"""What a step inside the network tells of every unit, once for each word of its window."""

STAGES = 75
"""The most stops of the time-lapse; a longer run skips some."""

WORDS_SEEN = 280
"""The most words, steps times window, whose inside is drawn."""


def render(lesson: Mapping[str, Any], language: str) -> str:
    """The whole page for one lesson, opening in English or Chinese, nothing loaded from anywhere.

    >>> render({"stories": None}, "zh")[:31]
    '<!doctype html>\\n<html lang="zh"'

    Errors: UsageError for a language the page does not speak.
    """
    check_language(language)
    return fill("fabula.article", language, _slim(lesson), digits=4)


def _slim(lesson: Mapping[str, Any]) -> dict[str, Any]:
    """The parts that grow with the run, held to what a page can show: it must stay one that can be mailed."""
    slim = dict(lesson)
    experiment, inside = lesson.get("experiment"), lesson.get("inside")
    if experiment and experiment.get("stages"):
        stages = experiment["stages"]
        stride = math.ceil(len(stages) / STAGES)
        slim["experiment"] = {**experiment, "stages": stages[::-stride][::-1]}  # the last one always stays
    if inside and inside.get("steps"):
        fit = max(8, WORDS_SEEN // max(1, len(inside["steps"][0]["context"])))
        slim["inside"] = {**inside, "steps": [_thousandths(step) for step in inside["steps"][:fit]]}
    return slim


def _thousandths(step: Mapping[str, Any]) -> dict[str, Any]:
    """One step with its units' values as whole thousandths: half the letters of a decimal fraction."""
    units = {
        gate: [[round(1000 * value) if math.isfinite(value) else None for value in word] for word in step[gate]]
        for gate in GATES
    }
    return {**step, **units}
