"""The studio over HTTP: what its page asks for, and the page itself; not part of the API that other clients use."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from fabula.serve.app import House, StrictRoute
from fabula.serve.refusals import Refusal, busy
from fabula.studio.acts import ACTS
from fabula.studio.answers import FORMS, answer, asset, exported, policy
from fabula.studio.bodies import Act, Edit, Inside, Lesson, Line, NewDraft, Place, Tell, Ticket
from fabula.studio.drafts import Drafts
from fabula.studio.lessons import Lessons
from fabula.studio.shelf import Shelf
from fabula.studio.store import Store
from fabula.studio.telling import Told
from fabula.studio.texts import Texts
from fabula.version import __version__

TELLINGS = 8
"""Drafts that are told on at one time."""

THREADS = 32
"""Things done beside the event loop at one time: threads of our own, so that none of them holds up the API."""


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

    async def beside(self, work: Callable[..., Any], *given: object) -> Any:  # noqa: ANN401 - whatever it gives
        """Something that takes a moment, beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work, *given)

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


def _routes(studio: Studio) -> APIRouter:
    routes = APIRouter(route_class=StrictRoute, include_in_schema=False)
    for some in (_page, _shelf, _drafts, _learning):
        some(studio, routes)
    return routes


def _page(studio: Studio, routes: APIRouter) -> None:  # noqa: ARG001 - as all of them
    """What a browser shows."""

    @routes.get("/")
    async def index() -> Response:
        return asset("index.html")

    @routes.get("/assets/{name}")
    async def part(name: str) -> Response:
        return asset(f"assets/{name}")


def _shelf(studio: Studio, routes: APIRouter) -> None:
    """Models and what can be seen of them."""
    shelf, lessons, beside = studio.shelf, studio.lessons, studio.beside

    @routes.get("/studio/models")
    async def models() -> Response:
        listed = await beside(shelf.listed)
        said = {"version": __version__, "home": studio.home.name, "can_learn": lessons.can_learn}
        return answer(said | {"models": listed})

    @routes.get("/studio/models/{name}/card")
    async def card(name: str) -> Response:
        return answer({"text": await beside(shelf.card, name)})

    @routes.get("/studio/models/{name}/report")
    async def report(name: str) -> Response:
        html = await beside(shelf.report, name)
        return Response(html, media_type="text/html", headers={"content-security-policy": policy(html)})

    @routes.post("/studio/models/{name}/inside")
    async def inside(name: str, body: Inside) -> Response:
        return answer(await beside(shelf.inside, name, body.text, body.layer, body.of))

    @routes.get("/studio/models/{name}/near")
    async def near(name: str, word: Line) -> Response:
        return answer(await beside(shelf.near, name, word))

    @routes.post("/studio/tickets")
    async def ticket(body: Ticket) -> Response:
        return answer({"path": f"{body.path}?ticket={studio.house.tickets.give(body.path)}"})


def _drafts(studio: Studio, routes: APIRouter) -> None:
    """Stories in the making."""
    drafts, beside = studio.drafts, studio.beside

    @routes.get("/studio/drafts")
    async def all_drafts() -> Response:
        return answer({"drafts": await beside(drafts.listed)})

    @routes.post("/studio/drafts")
    async def new_draft(body: NewDraft) -> Response:
        return answer(await beside(drafts.new, body.model, body.title))

    @routes.get("/studio/drafts/{id_}")
    async def draft(id_: str) -> Response:
        return answer(await beside(drafts.view, id_))

    @routes.patch("/studio/drafts/{id_}")
    async def edit(id_: str, body: Edit) -> Response:
        settings = body.settings.model_dump(exclude_unset=True) if body.settings is not None else None
        return answer(await beside(lambda: drafts.edit(id_, title=body.title, model=body.model, settings=settings)))

    @routes.delete("/studio/drafts/{id_}")
    async def remove_draft(id_: str) -> Response:
        await beside(drafts.remove, id_)
        return answer({})

    @routes.post("/studio/drafts/{id_}/act")
    async def act(id_: str, body: Act) -> Response:
        given = body.model_dump(exclude_unset=True)
        name = given.pop("act")
        wrong = ACTS[name].misfit(given)
        if wrong:
            raise Refusal(400, f"{name}: {wrong}", param="act")
        return answer(await beside(lambda: drafts.act(id_, name, **given)))

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
        return answer({"choices": await beside(drafts.choices, id_, place)})

    @routes.get("/studio/drafts/{id_}/tree")
    async def tree(id_: str) -> Response:
        return answer({"nodes": await beside(drafts.tree, id_)})

    @routes.get("/studio/drafts/{id_}/export")
    async def export(id_: str, request: Request) -> Response:
        form = request.query_params.get("as", "txt")
        if form not in FORMS:
            raise Refusal(400, f"as must be one of {', '.join(FORMS)}", param="as")
        book = await beside(drafts.book, id_)
        data = await beside(exported, book, form)
        plain = re.sub(r"[^A-Za-z0-9 _-]+", "", book.title).strip() or "story"
        headers = {"content-disposition": f'attachment; filename="{plain}.{form}"'}
        return Response(data, media_type=FORMS[form], headers=headers)


def _learning(studio: Studio, routes: APIRouter) -> None:
    """Texts and trainings."""
    shelf, texts, lessons, beside = studio.shelf, studio.texts, studio.lessons, studio.beside

    @routes.get("/studio/texts")
    async def all_texts() -> Response:
        return answer({"texts": await beside(texts.listed)})

    @routes.put("/studio/texts/{name}")
    async def put_text(name: str, request: Request) -> Response:
        try:
            return answer(await texts.keep(name, request.stream()))
        except ClientDisconnect:
            raise Refusal(400, "the text broke off", code="broken_off") from None

    @routes.delete("/studio/texts/{name}")
    async def remove_text(name: str) -> Response:
        await beside(texts.remove, name)
        return answer({})

    @routes.get("/studio/lessons")
    async def all_lessons() -> Response:
        return answer({"lessons": await beside(lessons.listed)})

    @routes.post("/studio/lessons")
    async def learn(body: Lesson) -> Response:
        asked = body.model_dump(exclude={"name", "texts"})
        if body.name in await beside(shelf.names):
            raise Refusal(409, f"there is a model called {body.name!r} already: choose another name", param="name")
        return answer(await beside(lessons.begin, body.name, body.texts, asked))

    @routes.get("/studio/lessons/{name}")
    async def lesson(name: str) -> Response:
        return answer(await beside(lessons.told, name))

    @routes.post("/studio/lessons/{name}/stop")
    async def stop(name: str) -> Response:
        return answer(await beside(lessons.stop, name))

    @routes.post("/studio/lessons/{name}/resume")
    async def resume(name: str) -> Response:
        return answer(await beside(lessons.resume, name))

    @routes.delete("/studio/lessons/{name}")
    async def remove_lesson(name: str) -> Response:
        await beside(lessons.remove, name)
        studio.removed(name)
        return answer({})
