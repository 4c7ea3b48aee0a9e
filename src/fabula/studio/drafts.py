"""Stories in the making: writing tables that lie in the store, told on by models of the shelf; knows no HTTP."""

from __future__ import annotations

import dataclasses
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fabula.book import Book, bind
from fabula.config import SamplingConfig, resolve
from fabula.errors import FabulaError
from fabula.serve.refusals import Refusal, busy, unable
from fabula.storyteller import Storyteller
from fabula.studio.acts import ACTS, ENDS, Seat, is_inside, place_in
from fabula.studio.store import Store, now
from fabula.studio.views import copied_of, line, settings_of, tree_of, word_of
from fabula.table import STRETCHES, Desk, Table, dump, parse

OPEN = 16
"""Drafts whose models remember where they are; others are read again when they are needed."""

TITLE = 120
"""Most characters of a title."""

WAITING = 4
"""Most who may wait for one draft; others are told at once that it is busy."""

PATIENCE = 30.0
"""Seconds for which they wait."""

GLANCE = 0.05
"""Seconds between two looks at whether to go on waiting."""

LONGEST = 300.0
"""Seconds for which a story is told on at one time."""

KEPT = 1.0
"""Seconds of a telling that a kill of the server can take away."""

ASKED = 0.1
"""Seconds spent on one answer to find out how surprising words are that nobody asked about yet."""

SHOWN = 0.15
"""Seconds between two looks at what is copied while a story is being told."""

CHOICES = 12
"""Words offered for one place."""


class Drafts:
    """All drafts of a store; `teller` finds a model by its name, `network` its fingerprint (both may refuse)."""

    def __init__(self, store: Store, teller: Callable[[str], Storyteller], network: Callable[[str], str]) -> None:
        self._store, self._teller, self._network = store, teller, network
        self._seats: OrderedDict[str, Seat] = OrderedDict()
        self._lock = threading.Lock()
        self._ended = False

    def end(self) -> None:
        """Whatever is being told comes to its end."""
        self._ended = True

    def listed(self) -> list[dict[str, Any]]:
        """All drafts, the latest first."""
        return self._store.rows(
            "SELECT id, title, model, words, changed, bookmarks FROM drafts ORDER BY changed DESC, id LIMIT 1000"
        )

    def new(self, model: str, title: str = "") -> dict[str, Any]:
        """An empty draft. Errors: Refusal for a model that is not on the shelf."""
        id_ = secrets.token_hex(8)
        story = dump(Table(), name=model, network=self._network(model))
        self._store.put("drafts", {
            "id": id_, "title": line(title, TITLE), "model": model, "story": story, "settings": "{}", "words": 0,
            "bookmarks": 0, "changed": now(), "revision": 1,
        })  # fmt: skip
        return self.view(id_)

    def remove(self, id_: str) -> None:
        """It is gone. Errors: Refusal where there is none."""
        removed = self._store.remove("drafts", id=id_)
        with self._lock:
            seat = self._seats.pop(id_, None)
        if seat is not None:
            seat.gone = True
        if not removed:
            raise _missing()

    def view(self, id_: str) -> dict[str, Any]:
        """A draft as the page shows it."""
        with self._at(id_) as seat:
            return self._view(seat)

    def edit(
        self, id_: str, *, title: str | None = None, model: str | None = None, settings: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Change what is not the story: its title, who tells it on, and how."""
        with self._at(id_, instead=model) as seat:
            chosen = seat.settings | dict(settings or {})
            if model is not None and model != seat.model:
                self._sit(seat, model, self._dump(seat), chosen)
            elif settings is not None:
                seat.desk.sampling = _sampling(seat.desk.teller, chosen)
            seat.settings = chosen
            if title is not None:
                seat.title = line(title, TITLE)
            self._save(seat, force=True)
            return self._view(seat)

    def act(self, id_: str, act: str, **given: Any) -> dict[str, Any]:  # noqa: ANN401
        """Do something at the table. Errors: Refusal, UsageError, TextError."""
        with self._at(id_) as seat:
            table = seat.desk.table
            before, gap = table.here, table.gap
            try:
                ACTS[act].do(seat, **given)
            except (FabulaError, Refusal):
                if table.path[gap : gap + 1] == [before]:  # who refuses has not moved
                    table.move(gap - table.gap)
                raise
            if act in ENDS or (act in {"move", "keep"} and not is_inside(seat)):
                seat.offered = None
            if table.here != before:
                seat.desk.ended = seat.desk.ended and table.under is None
            self._save(seat)
            return self._view(seat)

    def choices(self, id_: str, place: int) -> list[dict[str, Any]]:
        """What else might be said at a place of the present story, the likeliest first."""
        with self._at(id_) as seat:
            table = seat.desk.table
            gap = table.gap
            table.move(place_in(table, place) - gap)
            try:
                found = seat.desk.choices(CHOICES)
            finally:
                table.move(gap - table.gap)
            return [{"text": one.text, "chance": round(one.chance, 6), "units": list(one.units)} for one in found]

    def tree(self, id_: str) -> list[dict[str, Any]]:
        """The story with all its branches, in runs of words between two forks."""
        with self._at(id_) as seat:
            return tree_of(seat.desk.table)

    def book(self, id_: str) -> Book:
        """The present story as a book of one chapter."""
        with self._at(id_) as seat:
            desk, text = seat.desk, seat.desk.table.text
            return bind(desk.teller, text, title=seat.title, model=seat.model, seed=desk.sampling.seed)

    def tell(
        self, id_: str, stretch: str, *, again: bool = False, stop: Callable[[], bool],
        full: Callable[[], bool] = lambda: False,
    ) -> Iterator[dict[str, Any]]:  # fmt: skip
        """Let the model go on, word by word, and wait while what was told is not read.

        Ends early when it is stopped, when somebody else wants the table, and after `LONGEST` seconds.
        """
        if stretch not in STRETCHES:
            raise Refusal(400, f"stretch must be one of {', '.join(STRETCHES)}", param="stretch")
        with self._at(id_) as seat:
            desk, table = seat.desk, seat.desk.table
            if seat.offered is not None:
                if again and seat.offered[0] in table.path:
                    table.remember()
                    table.move(table.path.index(seat.offered[0]) - table.gap)
                    table.cut()
                else:
                    table.move(len(table.path))
            start, begun = table.gap, table.here
            looked = kept = time.monotonic()
            until = looked + LONGEST

            def makes_way() -> bool:
                late = time.monotonic() > until
                return stop() or seat.wanted > 1 or seat.gone or self._ended or late

            try:
                for word in desk.tell(stretch):
                    seat.offered = (begun, word)
                    yield {"word": word_of(table, word, copied=False), "place": table.gap - 1}
                    if time.monotonic() - looked > SHOWN:
                        yield {"copied": copied_of(desk.copied())}
                        looked = time.monotonic()
                    if time.monotonic() - kept > KEPT:
                        self._keep(seat, start)
                        kept = time.monotonic()
                    while full() and not makes_way():
                        time.sleep(GLANCE)
                    if makes_way():
                        break
            finally:
                table.move(start - table.gap)
                if begun == table.here and table.under is None:
                    seat.offered = None
                self._save(seat)
            yield {"view": self._view(seat)}

    # --- seats -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _at(self, id_: str, *, instead: str | None = None) -> Generator[Seat]:
        """Somebody at a seat, nobody else beside them; `instead` tells the story on where its own model is gone."""
        seat = self._wanted(id_)
        try:
            self._wait(seat)
            try:
                self._settle(seat, instead)
                yield seat
            finally:
                seat.lock.release()
        finally:
            with self._lock:
                seat.wanted -= 1
                if not (seat.wanted or seat.revision) and self._seats.get(id_) is seat:
                    del self._seats[id_]  # it never was one

    def _wanted(self, id_: str) -> Seat:
        """A seat that somebody wants, and that no one takes away meanwhile. Errors: Refusal where too many wait."""
        with self._lock:
            seat = self._seats.setdefault(id_, Seat(id_))
            if seat.wanted > WAITING:
                raise busy()
            seat.wanted += 1
            self._seats.move_to_end(id_)
            for old in [one for one, held in self._seats.items() if not held.wanted][: max(0, len(self._seats) - OPEN)]:
                del self._seats[old]
            return seat

    def _wait(self, seat: Seat) -> None:
        """Errors: Refusal where it takes too long, or the server ends."""
        until = time.monotonic() + PATIENCE
        while not seat.lock.acquire(timeout=GLANCE):
            if self._ended or time.monotonic() > until:
                raise unable("the server is shutting down" if self._ended else "somebody else is at this draft")

    def _settle(self, seat: Seat, instead: str | None) -> None:
        """Somebody sits down: it is opened, and what another server wrote meanwhile counts."""
        row = self._row(seat.id)
        model = row["model"]
        if instead is not None and not self._has(model):
            model = instead
        if row["revision"] != seat.revision:
            self._sit(seat, model, row["story"], _settings(row))
            seat.title, seat.revision, seat.changed = str(row["title"]), row["revision"], row["changed"]
        elif model != seat.model or self._network(model) != seat.network:  # gone, or learned anew meanwhile
            self._sit(seat, model, self._dump(seat), seat.settings)

    def _has(self, model: str) -> bool:
        """Whether a model is still there."""
        try:
            self._network(model)
        except (Refusal, FabulaError):
            return False
        return True

    def _row(self, id_: str) -> dict[str, Any]:
        rows = self._store.rows("SELECT * FROM drafts WHERE id = ?", id_)
        if not rows:
            raise _missing()
        return rows[0]

    def _sit(self, seat: Seat, model: str, story: str, settings: dict[str, Any]) -> None:
        """Let a model tell a story on, which may be one of another model's; or nothing is changed."""
        network, teller = self._network(model), self._teller(model)
        try:
            table, _ = parse(story, teller.tokenizer, network)
            respelled = table is None
            if table is None:
                table, _ = parse(story, teller.tokenizer, network, adopt=True)
        except FabulaError as error:
            raise Refusal(409, f"{model} cannot tell this story on: {error}", param="model") from None
        except (ValueError, TypeError, ArithmeticError) as error:
            raise _damaged(str(error)) from None
        assert table is not None
        seat.desk = Desk(teller, table, _sampling(teller, settings))
        seat.model, seat.network, seat.settings, seat.offered = model, network, settings, None
        seat.notice = "told with another model before: its words are spelled anew" if respelled and table.tip else None
        seat.saved = table.changes

    def _keep(self, seat: Seat, start: int) -> None:
        """Save in the midst of a telling, as if it had ended here."""
        table = seat.desk.table
        gap = table.gap
        table.move(start - gap)
        try:
            self._save(seat)
        finally:
            table.move(gap - table.gap)

    def _dump(self, seat: Seat) -> str:
        return dump(seat.desk.table, name=seat.model, network=seat.network)

    def _save(self, seat: Seat, *, force: bool = False) -> None:
        """Keep what changed. Errors: Refusal when the draft is gone, or was changed from elsewhere."""
        table = seat.desk.table
        if not force and seat.saved == table.changes:
            return
        seat.changed = now()
        row = {
            "title": seat.title, "model": seat.model, "settings": json.dumps(seat.settings),
            "story": self._dump(seat), "words": len(table.path) - 1,
            "bookmarks": len(table.bookmarks), "changed": seat.changed, "revision": seat.revision + 1,
        }  # fmt: skip
        if not self._store.change("drafts", row, id=seat.id, revision=seat.revision):
            self._row(seat.id)
            raise Refusal(409, "this draft was changed from elsewhere: open it again", code="changed")
        seat.revision, seat.saved = seat.revision + 1, table.changes

    def _view(self, seat: Seat) -> dict[str, Any]:
        desk, table, until = seat.desk, seat.desk.table, time.perf_counter() + ASKED
        copies = desk.copied()
        marked = copies.places if copies else frozenset()
        for word in table.path[1:]:
            if table.words[word].nats is None:
                desk.nats(word)
                if time.perf_counter() > until:
                    break
        undo, redo = table.undoable
        places = {word: place for place, word in enumerate(table.path)}
        offered = None
        if seat.offered and seat.offered[0] in places and seat.offered[1] in places:
            offered = [max(places[seat.offered[0]], table.gap), places[seat.offered[1]]]
        return {
            "id": seat.id, "title": seat.title, "model": seat.model, "changed": seat.changed,
            "words": [word_of(table, word, copied=place in marked) for place, word in enumerate(table.path) if place],
            "gap": table.gap, "offered": offered if offered and offered[0] < offered[1] else None, "ended": desk.ended,
            "copied": {"share": round(copies.share, 4), "longest": copies.longest} if copies else None,
            "undo": undo, "redo": redo,
            "bookmarks": [
                {"name": name, "word": word, "place": places.get(word)} for name, word in table.bookmarks.items()
            ],
            "settings": settings_of(desk.sampling), "notice": seat.notice,
        }  # fmt: skip


def _sampling(teller: Storyteller, chosen: Mapping[str, Any]) -> SamplingConfig:
    """The model's own settings with those that were chosen. Errors: UsageError."""
    own = {name: value for name, value in dataclasses.asdict(teller.settings.sampling).items() if name != "require"}
    sampling = resolve({"sampling": own}, {"sampling": dict(chosen)}).sampling
    teller.constraints(sampling, "", 1)  # what cannot be is said at once
    return sampling


def _settings(row: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were chosen. Errors: Refusal."""
    try:
        found = json.loads(row["settings"])
    except (ValueError, TypeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _damaged("its settings are no object")
    return found


def _damaged(reason: str) -> Refusal:
    return Refusal(409, f"the draft is damaged: {reason}"[:200], code="damaged")


def _missing() -> Refusal:
    return Refusal(404, "there is no such draft", code="not_found")
