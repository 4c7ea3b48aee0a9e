"""Words on lines of a width in terminal cells, wrapped between words; knows no terminal, no colours and no tree.

What did not change since the last time is not laid out again: a long story costs no more than its last lines.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import NamedTuple

from prompt_toolkit.utils import get_cwidth

from fabula.cli.facts import shown

CLOSING = frozenset(".,;:!?…)]}»”’。，、；：！？）】」』》")
"""Marks that no line begins with."""


class Piece(NamedTuple):
    """A stretch of text that is shown in one way, by a number of the caller's."""

    key: int
    text: str


class _Cell(NamedTuple):
    """A character, its width, and where it came from: in which piece, and where in it."""

    character: str
    width: int
    source: tuple[int, int]


class Sheet:
    """The lines of some pieces.

    >>> sheet = Sheet()
    >>> sheet.lay([Piece(7, "the fox"), Piece(8, " ran"), Piece(9, ", 老鼠")], 8)
    >>> [[part.text for part in line] for line in sheet.lines]
    [['the fox', ' '], ['ran', ', 老'], ['鼠']]
    >>> [sheet.line_of(place) for place in range(3)]
    [0, 1, 1]
    """

    def __init__(self) -> None:
        self.lines: list[list[Piece]] = []
        self._pieces: list[Piece] = []
        self._width = 0
        self._starts = [(0, 0)]  # where each line begins

    def lay(self, pieces: Sequence[Piece], width: int) -> None:
        """Lay out some pieces; a width below 2 counts as 2."""
        width = max(2, width)
        same = _same(self._pieces, pieces) if width == self._width else 0
        # The word that a line begins with did not fit on the one before: that one may be another now.
        keep = max(0, bisect.bisect_left(self._starts, (same, 0)) - 2)
        del self.lines[keep:], self._starts[keep + 1 :]
        self._pieces, self._width = list(pieces), width
        self._run(*self._starts[keep])

    def line_of(self, place: int) -> int:
        """The line on which the first visible character of a piece stands, by the piece's place among them."""
        text = self._pieces[place].text
        return bisect.bisect_right(self._starts, (place, len(text) - len(text.lstrip()))) - 1

    def _run(self, first: int, begin: int) -> None:
        """Lay out everything from a place in a piece on."""
        row, used = list[_Cell](), 0
        for number in range(first, len(self._pieces)):
            text, begin = self._pieces[number].text, begin if number == first else 0
            for offset, character in enumerate(shown(text[begin:]), begin):
                if character == "\n":
                    self._end(row, (number, offset + 1))
                    row, used = list[_Cell](), 0
                    continue
                cell = _Cell(character, max(0, get_cwidth(character)), (number, offset))
                if character == " " and used == self._width:
                    cell = _Cell("", 0, cell.source)  # it ends the line unseen
                while used + cell.width > self._width:
                    row = self._wrap(row, cell)
                    used = sum(one.width for one in row)
                row.append(cell)
                used += cell.width
        self.lines.append(self._parts(row))

    def _wrap(self, row: list[_Cell], cell: _Cell) -> list[_Cell]:
        """End a line before the word that the cell belongs to; what of it the next line begins with."""
        after = [*row[1:], cell]
        cut = next((n for n in range(len(row), 0, -1) if _may_break(row[n - 1], after[n - 1])), len(row))
        rest = row[cut:]
        self._end(row[:cut], rest[0].source if rest else cell.source)
        return rest

    def _end(self, row: list[_Cell], following: tuple[int, int]) -> None:
        self.lines.append(self._parts(row))
        self._starts.append(following)

    def _parts(self, row: list[_Cell]) -> list[Piece]:
        """A line as stretches of the same piece."""
        parts: list[Piece] = []
        for cell in row:
            key = self._pieces[cell.source[0]].key
            old = parts.pop().text if parts and parts[-1].key == key else ""
            parts.append(Piece(key, old + cell.character))
        return parts


def _same(old: Sequence[Piece], new: Sequence[Piece]) -> int:
    """How many pieces at the beginning are the same."""
    least = min(len(old), len(new))
    if old[:least] == new[:least]:
        return least
    return next(place for place in range(least) if old[place] != new[place])


def _may_break(before: _Cell, after: _Cell) -> bool:
    """Whether a line may end between two characters."""
    if not before.character:  # a space that is not seen, for the line was full
        return True
    if not after.width or after.character in CLOSING:
        return False
    return before.character == " " or before.width == 2 or after.width == 2
