"""What can be done with a draft at its table; knows no store and no HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fabula.endings import ends_sentence
from fabula.serve.refusals import Refusal
from fabula.studio.views import line
from fabula.table import Choice, Desk, Table

MARK = 80
"""Most characters of a bookmark's name."""

MARKS = 1000
"""Most bookmarks of a draft."""


@dataclass
class Seat:
    """A draft that is open: a desk, and who sits at it."""

    id: str
    revision: int = 0
    """Of the draft as it lies in the store; 0 until it is opened."""
    title: str = ""
    model: str = ""
    desk: Desk = field(init=False)
    network: str = ""
    """Fingerprint of the model."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Those that were chosen, and are not the model's own."""
    changed: float = 0.0
    notice: str | None = None
    saved: int = 0
    """`changes` of the table as it was saved."""
    offered: tuple[int, int] | None = None
    """The words, by number, before and at the end of what was told last and not taken yet."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    wanted: int = 0
    """How many have the lock or wait for it: a telling makes way for a second one."""
    gone: bool = False
    """Whether the draft was removed."""


def _put(seat: Seat, text: str, place: int | None = None) -> None:
    table, desk = seat.desk.table, seat.desk
    if place is not None:
        table.move(place_in(table, place) - table.gap)
    clean = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    lead = "" if clean[:1].isspace() else desk.seam(clean)
    if not desk.put_down(lead + clean):
        raise Refusal(400, "there is no word in it", param="text")


def _move(seat: Seat, place: int) -> None:
    table = seat.desk.table
    table.move(place_in(table, place) - table.gap)


def _keep(seat: Seat, stretch: str) -> None:
    table, text = seat.desk.table, ""
    if stretch == "all":
        table.move(len(table.path))
        return
    while table.under is not None:
        table.move(1)
        text += table.words[table.here].text
        following = table.words[table.under].text if table.under is not None else "\n\n"
        lead = following[: len(following) - len(following.lstrip())]
        if stretch == "word" and text.strip():
            return
        if stretch == "sentence" and ends_sentence(text + lead):
            return
        if stretch == "paragraph" and text.strip() and lead.count("\n") >= 2:
            return


def _throw(seat: Seat) -> None:
    table = seat.desk.table
    if seat.offered is None or seat.offered[0] not in table.path:
        raise Refusal(400, "nothing is offered", code="nothing")
    table.remember()
    table.move(max(table.path.index(seat.offered[0]), table.gap) - table.gap)
    table.cut()


def _cut(seat: Seat) -> None:
    seat.desk.table.remember()
    seat.desk.table.cut()


def _take(seat: Seat, place: int, text: str, units: list[int]) -> None:
    table, desk = seat.desk.table, seat.desk
    table.move(place_in(table, place) - table.gap)
    tokenizer = desk.teller.tokenizer
    if not units or any(unit < 0 or unit >= tokenizer.end for unit in units):
        raise Refusal(400, "units must be those of a choice", param="units")
    spelled = b"".join(tokenizer.spelling(unit) for unit in units).decode("utf-8", "replace")
    if text not in {spelled, spelled.removeprefix(" ")}:
        raise Refusal(400, "text must be what the units spell", param="text")
    desk.take(Choice(text, tuple(units), 0.0))


def _turn(seat: Seat, place: int, step: int) -> None:
    table = seat.desk.table
    table.move(place_in(table, place) - table.gap)
    if table.versions[1] <= (table.under is not None):
        raise Refusal(400, "no other branch begins here", code="nothing")
    table.remember()
    table.turn(step)
    table.move(1)


def _visit(seat: Seat, word: int) -> None:
    table = seat.desk.table
    if not 0 <= word < len(table.words):
        raise Refusal(400, "there is no such word", param="word")
    table.remember()
    table.visit(word)


def _undo(seat: Seat) -> None:
    seat.desk.table.undo()


def _redo(seat: Seat) -> None:
    seat.desk.table.redo()


def _mark(seat: Seat, name: str = "") -> None:
    table = seat.desk.table
    if len(table.bookmarks) >= MARKS:
        raise Refusal(400, f"a draft has at most {MARKS:,} bookmarks", code="nothing")
    table.mark(line(name, MARK))


def _unmark(seat: Seat, name: str) -> None:
    table = seat.desk.table
    if table.bookmarks.pop(name, None) is None:
        raise Refusal(404, "there is no such bookmark", param="name")
    table.changes += 1


@dataclass(frozen=True)
class Act:
    """Something that can be done: with what it must be given, and what it may be."""

    do: Callable[..., None]
    must: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()

    def misfit(self, given: Mapping[str, Any]) -> str | None:
        """What is missing, or too much."""
        if missing := sorted(self.must - {name for name, value in given.items() if value is not None}):
            return f"{missing[0]} is missing"
        extra = sorted(set(given) - self.must - self.may)
        return f"{extra[0]} is none of its fields" if extra else None


ACTS: Mapping[str, Act] = {
    "put": Act(_put, frozenset({"text"}), frozenset({"place"})),
    "move": Act(_move, frozenset({"place"})),
    "keep": Act(_keep, frozenset({"stretch"})),
    "throw": Act(_throw),
    "cut": Act(_cut),
    "take": Act(_take, frozenset({"place", "text", "units"})),
    "turn": Act(_turn, frozenset({"place", "step"})),
    "visit": Act(_visit, frozenset({"word"})),
    "undo": Act(_undo),
    "redo": Act(_redo),
    "mark": Act(_mark, may=frozenset({"name"})),
    "unmark": Act(_unmark, frozenset({"name"})),
}
"""What can be done at a table."""

ENDS = frozenset({"put", "throw", "cut", "take", "turn", "visit", "undo", "redo"})
"""Acts after which nothing is offered any more."""


def is_inside(seat: Seat) -> bool:
    """Whether the gap lies before the end of what is offered, and not before its beginning."""
    table = seat.desk.table
    if seat.offered is None or seat.offered[0] not in table.path or seat.offered[1] not in table.path:
        return False
    return table.path.index(seat.offered[0]) <= table.gap < table.path.index(seat.offered[1])


def place_in(table: Table, place: int) -> int:
    """A place of the present story. Errors: Refusal for one that it has not."""
    if not 0 <= place < len(table.path):
        raise Refusal(400, f"place must be between 0 and {len(table.path) - 1}, got {place}", param="place")
    return place
