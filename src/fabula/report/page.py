"""A training as one self-contained HTML page; knows its template and nothing of where the figures come from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from fabula.pages import check_language, fill

_CARRIED = re.compile(r'<script type="application/json" id="report">([^<]*)</script>')


def render(report: Mapping[str, Any], language: str | None = None) -> str:
    """The whole page, nothing loaded from anywhere; without a language it opens in that of the browser.

    >>> render({"name": "tales"}, "zh")[:31]
    '<!doctype html>\\n<html lang="zh"'

    Errors: UsageError for a language the page does not speak.
    """
    check_language(language)
    return fill("fabula.report", language or "en", {**report, "language": language})


def carried(text: str) -> dict[str, Any]:
    """What a page of ours carries; nothing when it is none or damaged.

    >>> carried(render({"name": "</script>"}))
    {'name': '</script>', 'language': None}
    """
    found = _CARRIED.search(text)
    try:
        data = json.loads(found[1]) if found else {}
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
