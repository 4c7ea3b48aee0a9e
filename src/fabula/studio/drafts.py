"""Stories in the making: writing tables that lie in the store, told on by models of the shelf; knows no HTTP."""

from __future__ import annotations

import dataclasses
import json
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fabula.book import Book, bind
from fabula.config import SamplingConfig, resolve
from fabula.errors import FabulaError
from fabula.serve.refusals import Refusal, unable
from fabula.storyteller import Storyteller
from fabula.studio.acts import ACTS, ENDS, Seat, is_inside, place_in
from fabula.studio.store import Store, now
from fabula.studio.views import copied_of, line, settings_of, tree_of, word_of
from fabula.table import STRETCHES, Desk, Table, dump, parse

OPEN = 16
"""Drafts whose models remember where they are; others are read again when they are needed."""

TITLE = 120
"""Most characters of a title."""

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
        with self._lock:
            self._seats.pop(id_, None)
        if not self._store.remove("drafts", id=id_):
            raise _missing()

    def view(self, id_: str) -> dict[str, Any]:
        """A draft as the page shows it."""
        with self._at(id_) as seat:
            return self._view(seat)

    def edit(
        self, id_: str, *, title: str | None = None, model: str | None = None, settings: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Change what is not the story: its title, who tells it on, and how."""
        with self._at(id_) as seat:
            if settings is not None:
                chosen = seat.settings | dict(settings)
                seat.desk.sampling = _sampling(seat.desk.teller, chosen)
                seat.settings = chosen
            if title is not None:
                seat.title = line(title, TITLE)
            if model is not None and model != seat.model:
                story = dump(seat.desk.table, name=seat.model, network=seat.network)
                self._sit(seat, model, story)
            self._save(seat, force=True)
            return self._view(seat)

    def act(self, id_: str, act: str, **given: Any) -> dict[str, Any]:  # noqa: ANN401
        """Do something at the table. Errors: Refusal, UsageError, TextError."""
        with self._at(id_) as seat:
            before = seat.desk.table.here
            ACTS[act].do(seat, **given)
            if act in ENDS or (act in {"move", "keep"} and not is_inside(seat)):
                seat.offered = None
            if seat.desk.table.here != before:
                seat.desk.ended = seat.desk.ended and seat.desk.table.under is None
            self._save(seat)
            return self._view(seat)

    def choices(self, id_: str, place: int) -> list[dict[str, Any]]:
        """What else might be said at a place of the present story, the likeliest first."""
        with self._at(id_) as seat:
            table = seat.desk.table
            gap = table.gap
            table.move(place_in(table, place) - gap)
            found = seat.desk.choices(CHOICES)
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
        self, id_: str, stretch: str, *, again: bool = False, stop: Callable[[], bool]
    ) -> Iterator[dict[str, Any]]:
        """Let the model go on, word by word; ends early when it is stopped, or when somebody else wants the table."""
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
            start, looked = table.gap, time.perf_counter()
            begun = table.here
            try:
                for word in desk.tell(stretch):
                    seat.offered = (begun, word)
                    yield {"word": word_of(table, word, copied=False), "place": table.gap - 1}
                    if time.perf_counter() - looked > SHOWN:
                        looked = time.perf_counter()
                        yield {"copied": copied_of(desk.copied())}
                    if stop() or seat.wanted > 1 or self._ended:
                        break
            finally:
                table.move(start - table.gap)
                if begun == table.here and table.under is None:
                    seat.offered = None
                self._save(seat)
            yield {"view": self._view(seat)}

    # --- seats -----------------------------------------------------------------------------------------------------

    def _at(self, id_: str) -> _Sitting:
        return _Sitting(self._seat(id_), self._settle)

    def _seat(self, id_: str) -> Seat:
        with self._lock:
            seat = self._seats.get(id_)
            if seat is None:
                seat = self._open(id_)
                self._seats[id_] = seat
            self._seats.move_to_end(id_)
            for old in [one for one, held in self._seats.items() if not held.wanted and one != id_][: -OPEN or None]:
                if len(self._seats) > OPEN:
                    del self._seats[old]
            seat.wanted += 1
            return seat

    def _settle(self, seat: Seat) -> None:
        """Somebody sits down: what another server wrote meanwhile counts."""
        row = self._row(seat.id)
        if row["revision"] != seat.revision:
            seat.title, seat.settings = row["title"], json.loads(row["settings"])
            seat.revision, seat.changed, seat.offered = row["revision"], row["changed"], None
            self._sit(seat, row["model"], row["story"])
        elif self._network(seat.model) != seat.network:  # learned anew meanwhile
            self._sit(seat, seat.model, dump(seat.desk.table, name=seat.model, network=seat.network))

    def _row(self, id_: str) -> dict[str, Any]:
        rows = self._store.rows("SELECT * FROM drafts WHERE id = ?", id_)
        if not rows:
            raise _missing()
        return rows[0]

    def _open(self, id_: str) -> Seat:
        row = self._row(id_)
        teller = self._teller(row["model"])
        desk = Desk(teller, Table(), teller.settings.sampling)
        seat = Seat(
            id_, row["title"], row["model"], desk, "", json.loads(row["settings"]), row["revision"], row["changed"]
        )
        self._sit(seat, row["model"], row["story"])
        return seat

    def _sit(self, seat: Seat, model: str, story: str) -> None:
        """Let a model tell a story on, which may be one of another model's."""
        teller, network = self._teller(model), self._network(model)
        try:
            table, _ = parse(story, teller.tokenizer, network)
            respelled = table is None
            if table is None:
                table, _ = parse(story, teller.tokenizer, network, adopt=True)
        except FabulaError as error:
            raise Refusal(409, f"{model} cannot tell this story on: {error}", param="model") from None
        except ValueError as error:
            raise Refusal(409, f"the draft is damaged: {error}", code="damaged") from None
        assert table is not None
        seat.desk = Desk(teller, table, _sampling(teller, seat.settings))
        seat.model, seat.network, seat.offered = model, network, None
        seat.notice = "told with another model before: its words are spelled anew" if respelled and table.tip else None
        seat.saved = table.changes

    def _save(self, seat: Seat, *, force: bool = False) -> None:
        """Keep what changed. Errors: Refusal when the draft is gone, or was changed from elsewhere."""
        table = seat.desk.table
        if not force and seat.saved == table.changes:
            return
        seat.changed = now()
        row = {
            "title": seat.title, "model": seat.model, "settings": json.dumps(seat.settings),
            "story": dump(table, name=seat.model, network=seat.network), "words": len(table.path) - 1,
            "bookmarks": len(table.bookmarks), "changed": seat.changed, "revision": seat.revision + 1,
        }  # fmt: skip
        if not self._store.change("drafts", row, id=seat.id, revision=seat.revision):
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


class _Sitting:
    """Somebody at a seat, nobody else beside them."""

    def __init__(self, seat: Seat, settle: Callable[[Seat], None]) -> None:
        self._seat, self._settle = seat, settle

    def __enter__(self) -> Seat:
        if not self._seat.lock.acquire(timeout=30):
            self._seat.wanted -= 1
            raise unable("somebody else is at this draft")
        try:
            self._settle(self._seat)
        except BaseException:
            self.__exit__()
            raise
        return self._seat

    def __exit__(self, *_: object) -> None:
        self._seat.wanted -= 1
        self._seat.lock.release()


def _sampling(teller: Storyteller, chosen: Mapping[str, Any]) -> SamplingConfig:
    """The model's own settings with those that were chosen. Errors: UsageError."""
    own = {name: value for name, value in dataclasses.asdict(teller.settings.sampling).items() if name != "require"}
    sampling = resolve({"sampling": own}, {"sampling": dict(chosen)}).sampling
    teller.constraints(sampling, "", 1)  # what cannot be is said at once
    return sampling


def _missing() -> Refusal:
    return Refusal(404, "there is no such draft", code="not_found")
