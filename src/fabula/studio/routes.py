"""The studio over HTTP: what its page asks for, and the page itself; not part of the API that other clients use."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from fabula.book import to_epub, to_html
from fabula.errors import FabulaError
from fabula.serve.app import House, StrictRoute
from fabula.serve.bodies import Body
from fabula.serve.refusals import Refusal, busy, failed
from fabula.studio.acts import ACTS
from fabula.studio.drafts import Drafts
from fabula.studio.lessons import Lessons
from fabula.studio.shelf import Shelf
from fabula.studio.store import Store
from fabula.studio.texts import Texts
from fabula.version import __version__

TELLINGS = 8
"""Drafts that are told on at one time."""

THREADS = 32
"""Things done beside the event loop at one time: threads of our own, so that none of them holds up the API."""

AHEAD = 64
"""Words told that may lie ready for a page that reads slowly; then the telling waits for it."""

PAGE = files("fabula.studio") / "page"

KINDS = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}  # fmt: skip
"""Of the files that the page is made of."""

Line = Annotated[str, Field(max_length=200)]
Long = Annotated[str, Field(max_length=1 << 20)]
Place = Annotated[int, Field(ge=0, lt=2**31)]


class NewDraft(Body):
    """A draft to begin."""

    model: Line
    title: Line = ""


class Settings(Body):
    """How a draft is told on; held to their bounds where settings are."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    no_repeat: int | None = None
    dry: float | None = None
    max_copy: int | None = None
    ban: Annotated[list[Line], Field(max_length=100)] | None = None
    ban_letters: Line | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class Edit(Body):
    """What of a draft is to change."""

    title: Line | None = None
    model: Line | None = None
    settings: Settings | None = None


class Act(Body):
    """Something done at the table; each act takes some of these."""

    act: Literal["put", "move", "keep", "throw", "cut", "take", "turn", "visit", "undo", "redo", "mark", "unmark"]
    text: Long | None = None
    place: Place | None = None
    stretch: Literal["word", "sentence", "paragraph", "all"] | None = None
    units: Annotated[list[Place], Field(max_length=64)] | None = None
    step: Literal[1, -1] | None = None
    word: Place | None = None
    name: Line | None = None


class Tell(Body):
    """How far to go on."""

    stretch: Literal["word", "sentence", "paragraph", "story"] = "sentence"
    again: bool = False


class Inside(Body):
    """What to watch the network at."""

    text: Long
    layer: Annotated[int, Field(ge=0, lt=100)] = 0
    of: Line | None = None


class Lesson(Body):
    """What to learn."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    texts: Annotated[list[Line], Field(min_length=1, max_length=100)]
    time: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}[smh]$")] = "60s"
    unit: Literal["symbols", "words", "subwords", "chars", "bytes"] | None = None
    size: Literal["tiny", "small", "medium", "large"] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None


class Ticket(Body):
    """What to open without the key."""

    path: Annotated[str, Field(pattern=r"^/studio/[^?#]{1,300}$")]


class Studio:
    """Shelf, drafts and lessons of one folder, behind the routes of a house."""

    def __init__(self, house: House, home: Path) -> None:
        self.house, self.home = house, home
        store, models = Store(home), home / "models"
        self.shelf, self.texts = Shelf(house, models), Texts(home / "texts")
        self.drafts = Drafts(store, self.shelf.teller, self.shelf.network)
        self.lessons = Lessons(store, self.texts, models, self._learned)
        self.tellings = threading.Semaphore(TELLINGS)
        self.threads = ThreadPoolExecutor(THREADS, "fabula-studio")
        house.open(_routes(self))

    def end(self) -> None:
        """Stories come to their end; trainings go on without us."""
        self.drafts.end()

    def _learned(self, name: str, path: Path) -> None:
        """A model has come, or has become another."""
        if self.house.folders.setdefault(name, path) == path:  # one of that name from elsewhere goes before it
            self.house.refresh(name)

    def removed(self, name: str) -> None:
        """What was learned here is gone."""
        if self.house.folders.get(name) == self.home / "models" / name:
            self.house.forget(name)


def _routes(studio: Studio) -> APIRouter:  # noqa: PLR0915 - a table
    routes = APIRouter(route_class=StrictRoute, include_in_schema=False)
    shelf, drafts, texts, lessons = studio.shelf, studio.drafts, studio.texts, studio.lessons

    async def beside(work: Callable[..., Any], *given: object) -> Any:  # noqa: ANN401 - whatever it gives
        """Something that takes a moment, beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(studio.threads, work, *given)

    @routes.get("/")
    async def index() -> Response:
        return _asset("index.html")

    @routes.get("/assets/{name}")
    async def asset(name: str) -> Response:
        return _asset(f"assets/{name}")

    # --- shelf ---

    @routes.get("/studio/models")
    async def models() -> Response:
        listed = await beside(shelf.listed)
        said = {"version": __version__, "home": studio.home.name, "can_learn": lessons.can_learn}
        return _json(said | {"models": listed})

    @routes.get("/studio/models/{name}/card")
    async def card(name: str) -> Response:
        return _json({"text": await beside(shelf.card, name)})

    @routes.get("/studio/models/{name}/report")
    async def report(name: str) -> Response:
        html = await beside(shelf.report, name)
        return Response(html, media_type="text/html", headers={"content-security-policy": _policy(html)})

    @routes.post("/studio/models/{name}/inside")
    async def inside(name: str, body: Inside) -> Response:
        return _json(await beside(shelf.inside, name, body.text, body.layer, body.of))

    @routes.get("/studio/models/{name}/near")
    async def near(name: str, word: Line) -> Response:
        return _json(await beside(shelf.near, name, word))

    @routes.post("/studio/tickets")
    async def ticket(body: Ticket) -> Response:
        return _json({"path": f"{body.path}?ticket={studio.house.tickets.give(body.path)}"})

    # --- drafts ---

    @routes.get("/studio/drafts")
    async def all_drafts() -> Response:
        return _json({"drafts": await beside(drafts.listed)})

    @routes.post("/studio/drafts")
    async def new_draft(body: NewDraft) -> Response:
        return _json(await beside(drafts.new, body.model, body.title))

    @routes.get("/studio/drafts/{id_}")
    async def draft(id_: str) -> Response:
        return _json(await beside(drafts.view, id_))

    @routes.patch("/studio/drafts/{id_}")
    async def edit(id_: str, body: Edit) -> Response:
        settings = body.settings.model_dump(exclude_unset=True) if body.settings is not None else None
        return _json(await beside(lambda: drafts.edit(id_, title=body.title, model=body.model, settings=settings)))

    @routes.delete("/studio/drafts/{id_}")
    async def remove_draft(id_: str) -> Response:
        await beside(drafts.remove, id_)
        return _json({})

    @routes.post("/studio/drafts/{id_}/act")
    async def act(id_: str, body: Act) -> Response:
        given = body.model_dump(exclude_unset=True)
        name = given.pop("act")
        wrong = ACTS[name].misfit(given)
        if wrong:
            raise Refusal(400, f"{name}: {wrong}", param="act")
        return _json(await beside(lambda: drafts.act(id_, name, **given)))

    @routes.post("/studio/drafts/{id_}/tell")
    async def tell(id_: str, body: Tell) -> Response:
        if not studio.tellings.acquire(blocking=False):
            raise busy()
        return Told(
            lambda stop, full: drafts.tell(id_, body.stretch, again=body.again, stop=stop, full=full),
            studio.tellings.release,
        )

    @routes.get("/studio/drafts/{id_}/choices")
    async def choices(id_: str, place: Place) -> Response:
        return _json({"choices": await beside(drafts.choices, id_, place)})

    @routes.get("/studio/drafts/{id_}/tree")
    async def tree(id_: str) -> Response:
        return _json({"nodes": await beside(drafts.tree, id_)})

    @routes.get("/studio/drafts/{id_}/export")
    async def export(id_: str, request: Request) -> Response:
        form = request.query_params.get("as", "txt")
        if form not in _FORMS:
            raise Refusal(400, f"as must be one of {', '.join(_FORMS)}", param="as")
        name, data = await beside(lambda: _exported(drafts, id_, form))
        plain = re.sub(r"[^A-Za-z0-9 _-]+", "", name).strip() or "story"
        headers = {"content-disposition": f'attachment; filename="{plain}.{form}"'}
        return Response(data, media_type=_FORMS[form], headers=headers)

    # --- learning ---

    @routes.get("/studio/texts")
    async def all_texts() -> Response:
        return _json({"texts": await beside(texts.listed)})

    @routes.put("/studio/texts/{name}")
    async def put_text(name: str, request: Request) -> Response:
        try:
            return _json(await texts.keep(name, request.stream()))
        except ClientDisconnect:
            raise Refusal(400, "the text broke off", code="broken_off") from None

    @routes.delete("/studio/texts/{name}")
    async def remove_text(name: str) -> Response:
        await beside(texts.remove, name)
        return _json({})

    @routes.get("/studio/lessons")
    async def all_lessons() -> Response:
        return _json({"lessons": await beside(lessons.listed)})

    @routes.post("/studio/lessons")
    async def learn(body: Lesson) -> Response:
        asked = body.model_dump(exclude={"name", "texts"})
        if body.name in await beside(shelf.names):
            raise Refusal(409, f"there is a model called {body.name!r} already: choose another name", param="name")
        return _json(await beside(lessons.begin, body.name, body.texts, asked))

    @routes.get("/studio/lessons/{name}")
    async def lesson(name: str) -> Response:
        return _json(await beside(lessons.told, name))

    @routes.post("/studio/lessons/{name}/stop")
    async def stop(name: str) -> Response:
        return _json(await beside(lessons.stop, name))

    @routes.post("/studio/lessons/{name}/resume")
    async def resume(name: str) -> Response:
        return _json(await beside(lessons.resume, name))

    @routes.delete("/studio/lessons/{name}")
    async def remove_lesson(name: str) -> Response:
        await beside(lessons.remove, name)
        studio.removed(name)
        return _json({})

    return routes


class Told(StreamingResponse):
    """A story as it is told, in a thread of its own, as events for a page that may leave at any time.

    `tell` is given how to know that the page is gone, and that it has not read what was told; `done` is called once.
    """

    def __init__(
        self,
        tell: Callable[[Callable[[], bool], Callable[[], bool]], Iterator[dict[str, Any]]],
        done: Callable[[], None],
    ) -> None:
        super().__init__(self._events(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})
        self._tell, self._done = tell, done
        self._loop, self._gone = asyncio.get_running_loop(), threading.Event()
        self._come: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell it; a page that left before the first word has a thread that ends at once."""
        try:
            threading.Thread(target=self._work, daemon=True, name="fabula-telling").start()
        except RuntimeError:  # the system has no thread for us
            self._done()
            raise busy() from None
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._gone.set()

    async def _events(self) -> AsyncIterator[bytes]:
        """One event for each thing that is told."""
        while (one := await self._come.get()) is not None:
            yield b"data: " + json.dumps(one, separators=(",", ":")).encode() + b"\n\n"

    def _work(self) -> None:
        try:
            for one in self._tell(self._gone.is_set, lambda: self._come.qsize() >= AHEAD):
                self._hand_over(one)
        except Refusal as refusal:
            self._hand_over(refusal.to_json())
        except FabulaError as error:
            self._hand_over(Refusal(400, str(error)).to_json())
        except Exception:  # noqa: BLE001 - its words may hold what somebody wrote
            self._hand_over(failed().to_json())
        finally:
            self._done()
            self._hand_over(None)

    def _hand_over(self, one: dict[str, Any] | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._come.put_nowait, one)
        except RuntimeError:  # the loop is closed: nobody is there any more
            self._gone.set()


def _exported(drafts: Drafts, id_: str, form: str) -> tuple[str, bytes]:
    """A name for the file, and what is in it."""
    book = drafts.book(id_)
    if form == "epub":
        return book.title, to_epub(book)
    return book.title, (to_html(book) if form == "html" else book.chapters[0].text + "\n").encode()


_FORMS = {"txt": "text/plain; charset=utf-8", "html": "text/html; charset=utf-8", "epub": "application/epub+zip"}


def _policy(html: str) -> str:
    """A page that runs the scripts it has and none else, loads nothing, and cannot reach this server."""
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    known = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {known}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; sandbox allow-scripts"
    )


def _asset(name: str) -> Response:
    """A file of the page, by a name that leads nowhere else."""
    kind = KINDS.get(Path(name).suffix)
    if kind is None or not re.fullmatch(r"(assets/)?[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
        raise Refusal(404, "there is nothing here: see /docs")
    try:
        # The name of an asset says what is in it: a browser need not ask again.
        kept = {"cache-control": "public, max-age=31536000, immutable"} if name.startswith("assets/") else {}
        return Response((PAGE / name).read_bytes(), media_type=kind, headers=kept)
    except OSError:
        raise Refusal(404, "there is nothing here: see /docs") from None


def _json(value: dict[str, Any]) -> Response:
    try:
        said = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:  # from a folder that somebody else has written
        said = json.dumps(_finite(value), separators=(",", ":"))
    return Response(said, media_type="application/json")


def _finite(value: Any) -> Any:  # noqa: ANN401
    """A value without the numbers that JSON does not know."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return value
