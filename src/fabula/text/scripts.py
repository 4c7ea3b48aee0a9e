"""Which script a letter belongs to, as a table over code points; knows no language and no story."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint32]
"""The code points of a text, shape (characters,)."""

RANGES: tuple[tuple[str, tuple[tuple[int, int], ...]], ...] = (
    ("Latin", ((0x41, 0x5A), (0x61, 0x7A), (0xAA, 0xAA), (0xBA, 0xBA), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F),
               (0x250, 0x2AF), (0x1E00, 0x1EFF), (0x2C60, 0x2C7F), (0xA720, 0xA7FF), (0xFB00, 0xFB06),
               (0xFF21, 0xFF3A), (0xFF41, 0xFF5A))),
    ("Greek", ((0x370, 0x3FF), (0x1F00, 0x1FFF))),
    ("Cyrillic", ((0x400, 0x52F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F))),
    ("Armenian", ((0x531, 0x58A),)),
    ("Hebrew", ((0x591, 0x5F4), (0xFB1D, 0xFB4F))),
    ("Arabic", ((0x610, 0x6FF), (0x750, 0x77F), (0x8A0, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC))),
    ("Devanagari", ((0x900, 0x97F), (0xA8E0, 0xA8FF))),
    ("Bengali", ((0x980, 0x9FF),)),
    ("Tamil", ((0xB80, 0xBFF),)),
    ("Telugu", ((0xC00, 0xC7F),)),
    ("Thai", ((0xE01, 0xE3A), (0xE40, 0xE5B))),
    ("Lao", ((0xE80, 0xEFF),)),
    ("Myanmar", ((0x1000, 0x109F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F))),
    ("Georgian", ((0x10A0, 0x10FF), (0x1C90, 0x1CBF), (0x2D00, 0x2D2F))),
    ("Ethiopic", ((0x1200, 0x139F), (0x2D80, 0x2DDF))),
    ("Khmer", ((0x1780, 0x17FF),)),
    ("Hangul", ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7FF))),
    ("Kana", ((0x3041, 0x3096), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF),
              (0xFF66, 0xFF9D))),
    ("Han", ((0x3005, 0x3007), (0x3021, 0x3029), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
             (0x20000, 0x3FFFD))),
)  # fmt: skip
"""Script name and its code points (both ends inclusive); what no row holds is punctuation, a digit or a rare script."""

NAMES: tuple[str, ...] = ("", *(name for name, _ in RANGES))
UNSPACED = frozenset({"Thai", "Lao", "Myanmar", "Khmer", "Kana", "Han"})
"""Scripts written without white space between words."""


def code_points(text: str) -> Codes:
    """The code points of a text, lone surrogates included.

    >>> code_points("aΩ猫").tolist()
    [97, 937, 29483]
    """
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def script_numbers(codes: Codes) -> NDArray[np.uint8]:
    """For each code point the place of its script in `NAMES`, 0 when it has none; same shape."""
    return _table()[np.minimum(codes, 0x3FFFF)]


def script_shares(text: str) -> dict[str, float]:
    """Share of each script among the letters of a text, the largest first; empty without letters.

    >>> script_shares("the 猫")
    {'Latin': 0.75, 'Han': 0.25}
    """
    counts = np.bincount(script_numbers(code_points(text)), minlength=len(NAMES))[1:]
    total = int(counts.sum())
    order = np.argsort(-counts, kind="stable")
    return {NAMES[1 + i]: float(counts[i] / total) for i in order if counts[i]}


def unspaced_share(shares: dict[str, float]) -> float:
    """Share of letters in scripts without white space between words, from `script_shares`."""
    return sum(share for name, share in shares.items() if name in UNSPACED)


@functools.cache
def _table() -> NDArray[np.uint8]:
    """Script number of every code point below 0x40000."""
    table = np.zeros(0x40000, dtype=np.uint8)
    for number, (_, spans) in enumerate(RANGES, start=1):
        for first, last in spans:
            table[first : last + 1] = number
    return table
