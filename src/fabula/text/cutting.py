"""A running text of any length cut into stories part by part; how it falls into them is found once, from its beginning.

Knows no files: it is given bytes and says where one may cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from fabula.errors import TextError
from fabula.text.stories import (
    GAP,
    MARKER,
    SEPARATOR,
    best_cut,
    by_marker,
    by_separators_and_gaps,
    by_titles,
    has_body,
    trimmed,
)

_ANY = "separator or gap"

CUTS: Mapping[str, Callable[[str], list[str]]] = {
    "title": by_titles,
    "separator": SEPARATOR.split,
    "gap": GAP.split,
    _ANY: by_separators_and_gaps,
    "endoftext": by_marker,
    "file": lambda text: [text],
    "whole": lambda text: [text],
}
"""How a part of a text is cut, by the way in which all of it falls into stories."""

_DRAWN = SEPARATOR.pattern.encode().replace(b"[ \\t]*$", b"[ \\t]*\\r?(?:\\n|\\Z)")
_BLANK = rb"(?:\r?\n){3,}"
_BEGINS: Mapping[str, re.Pattern[bytes]] = {
    "title": re.compile(rb"^(?=# +\S)", re.MULTILINE),
    "separator": re.compile(_DRAWN, re.MULTILINE),
    "gap": re.compile(_BLANK),
    _ANY: re.compile(rb"%b|%b" % (_DRAWN, _BLANK), re.MULTILINE),
    "endoftext": re.compile(re.escape(MARKER.encode())),
}
"""What stands before a story, in UTF-8."""

_SOFT = (re.compile(rb"\n\r?\n"), re.compile(rb"\n"), re.compile(rb"[.!?]\s+|\xe3\x80\x82"), re.compile(rb"\s"))
"""Where a text without an end of a story may be cut, the best first: after a paragraph, a line, a sentence, a word."""

_NEAR = 1 << 18
"""Bytes in which such a place is looked for."""


def find_way(beginning: str, mode: str, *, alone: bool) -> str:
    """How a text that begins so falls into stories, a key of `CUTS`; `mode` is one of `TextConfig.stories`.

    Errors: TextError for mode `field`, which a running text does not have.

    >>> find_way("# One\\n\\nOnce.\\n\\n# Two\\n\\nTwice.", "auto", alone=True)
    'title'
    """
    if mode == "field":
        raise TextError("stories by field need .jsonl, .csv or .parquet files: try another text.stories")
    if mode == "separator":
        return _ANY
    return best_cut(beginning, alone=alone)[0] if mode == "auto" else mode


def stories_in(text: str, way: str) -> list[str]:
    """The stories of a part of a text, without blank lines around them; those without a body are left out."""
    return [story for piece in CUTS[way](text) if has_body(story := trimmed(piece))]


def find_cut(data: bytes, way: str) -> tuple[int, bool]:
    """Where after its first byte some UTF-8 may be cut so that a story begins there, and whether one truly does.

    >>> find_cut(b"end.\\n\\n# Two\\n", "title"), find_cut(b"a line\\nand more", "title")
    ((6, True), (7, False))
    """
    if way in _BEGINS and (found := _BEGINS[way].search(data, 1)):
        return found.end(), True
    for pattern in _SOFT:
        if found := pattern.search(data, 1, _NEAR):
            return found.end(), False
    place = min(1, len(data))
    while place < len(data) and data[place] & 0xC0 == 0x80:  # in the middle of a character
        place += 1
    return place, False
