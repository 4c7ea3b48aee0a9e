"""Data, look and script in a self-contained HTML page; knows the words of no page and nothing of the figures."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from fabula.errors import UsageError

_COMMENT = re.compile(r"^ *// .*\n", re.MULTILINE)
"""A line of a script that is for us, not for the reader's browser."""

LANGUAGES = ("en", "zh")
"""What every page speaks; a button on it switches."""


def check_language(language: str | None) -> None:
    """Errors: UsageError for a language the pages do not speak."""
    if language not in (None, *LANGUAGES):
        raise UsageError(f"the page's language must be one of {', '.join(LANGUAGES)}, got {language!r:.40}")


def fill(room: str, language: str, data: Mapping[str, Any], digits: int = 5) -> str:
    """The template `page.html` of a room with a language and data in its slots `{{language}}` and `{{data}}`.

    Floats are cut to so many figures; NaN and infinity, unknown to JSON, become null.
    """
    text = json.dumps(_plain(data, digits), separators=(",", ":"), allow_nan=False)
    # Pure ASCII without `<`, `>` or `&` stays data; it goes in last, so that no text is taken for a slot.
    safe = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return _template(room).replace("{{language}}", language, 1).replace("{{data}}", safe, 1)


@cache
def _template(room: str) -> str:
    """A room's page with the look and the script that all pages share in its slots `{{style}}` and `{{script}}`."""
    style, script = (_text("fabula", name) for name in ("pages.css", "pages.js"))
    whole = _text(room, "page.html").replace("{{style}}\n", style, 1).replace("{{script}}\n", script, 1)
    return _COMMENT.sub("", whole)


def _text(room: str, name: str) -> str:
    return files(room).joinpath(name).read_text(encoding="utf-8")


def _plain(value: object, digits: int) -> object:
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(one, digits) for key, one in value.items()}
    return [_plain(one, digits) for one in value] if isinstance(value, (list, tuple)) else value
