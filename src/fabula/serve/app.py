"""The routes: models and schedulers behind OpenAI's paths; knows no socket and no terminal."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from fabula import folder
from fabula.errors import FabulaError, FolderError
from fabula.serve import page
from fabula.serve.answers import ChatAnswer, CompletionAnswer
from fabula.serve.bodies import ChatBody, CompletionBody
from fabula.serve.faults import impossible, invalid, refuse
from fabula.serve.limits import Limits
from fabula.serve.metrics import Metrics
from fabula.serve.orders import Order, prepare
from fabula.serve.parsing import StrictRequest
from fabula.serve.refusals import Refusal, unable
from fabula.serve.responses import Stream, Whole
from fabula.serve.safety import Guard, Tickets
from fabula.serve.scheduler import Scheduler
from fabula.serve.states import Sealer
from fabula.storyteller import Storyteller, load
from fabula.version import __version__

LONG = 1 << 14
"""Bytes of a body that is made ready beside the event loop, for it may take a while."""


class StrictRoute(APIRoute):
    """A route whose body is strict JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


class House:
    """Models by their names, each with its scheduler, and the application that serves them."""

    def __init__(
        self, tellers: Mapping[str, Storyteller], *, limits: Limits | None = None, key: str | None = None,
        local: bool = True, folders: Mapping[str, Path] = MappingProxyType({}),
        load: Callable[[Path], Storyteller] = load, secret: bytes | None = None,
    ) -> None:  # fmt: skip
        """`folders` are where the models lie: one that is not among the `tellers` is read when it is first asked for.

        `local` servers are reached from this machine alone, others need a `key`. States are sealed with `secret`, or
        with one of chance; those of models without a folder are not told.
        """
        self.limits, self.created = limits or Limits(), int(time.time())
        self.schedulers = {name: Scheduler(teller, self.limits) for name, teller in tellers.items()}
        self.tellers, self.metrics = dict(tellers), Metrics(self.schedulers)
        self.folders, self.tickets = dict(folders), Tickets()
        self._load, self._started = load, False
        self._lock, self._locks = threading.Lock(), dict[str, threading.Lock]()
        self._stamps = {name: _stamp(path) for name, path in self.folders.items() if name in self.tellers}
        self._secret = secret or secrets.token_bytes(32)
        self._sealers = {name: self._sealer(name, teller) for name, teller in self.tellers.items()}
        self._application = _application(self)
        self.app: ASGIApp = Guard(
            self._application, limits=self.limits, key=key, local=local, metrics=self.metrics, tickets=self.tickets
        )  # fmt: skip

    def open(self, rooms: APIRouter) -> None:
        """More routes, which are none of OpenAI's."""
        self._application.include_router(rooms)

    def start(self) -> None:
        """Let the engines begin."""
        self._started = True
        for scheduler in self.schedulers.values():
            scheduler.start()

    def end(self, seconds: float | None = None) -> None:
        """Take no more stories, and let those that are being written come to an end, in so many seconds at most."""
        self._started = False
        for scheduler in self.schedulers.values():
            scheduler.end(self.limits.farewell if seconds is None else seconds)

    @property
    def names(self) -> list[str]:
        """All models, read already or not."""
        return list(dict.fromkeys([*self.tellers, *self.folders]))

    def teller(self, name: str) -> Storyteller:
        """A model that writes, read now where nobody asked for it before. Errors: FolderError."""
        return self._served(name)[0]

    def _served(self, name: str) -> tuple[Storyteller, Scheduler]:
        """A model with its scheduler. Errors: FolderError; Refusal for one that was forgotten."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:  # one model that takes long holds up no other
            teller, scheduler, path = self.tellers.get(name), self.schedulers.get(name), self.folders.get(name)
            if teller is not None and scheduler is not None:
                return teller, scheduler
            if path is None:
                raise self._unknown()
            stamp = _stamp(path)
            teller = self._load(path)
            scheduler = Scheduler(teller, self.limits)
            if self._started:
                scheduler.start()
            self._stamps[name], self._sealers[name] = stamp, self._sealer(name, teller)
            self.schedulers[name], self.tellers[name] = scheduler, teller
        return teller, scheduler

    def _sealer(self, name: str, teller: Storyteller) -> Sealer | None:
        """Who seals a model's states; None where nobody knows what model it is."""
        try:
            return Sealer(self._secret, folder.fingerprint(self.folders[name]), teller)
        except (KeyError, FolderError):
            return None

    def refresh(self, name: str) -> None:
        """Let go of a model whose folder holds another one by now: it is read anew when it is asked for."""
        path = self.folders.get(name)
        if path is not None and name in self.tellers and _stamp(path) not in {None, self._stamps.get(name)}:
            self.forget(name)
            self.folders[name] = path

    def forget(self, name: str) -> None:
        """A model that lies no more where it lay, or is another one now: those who are being served keep it."""
        self.folders.pop(name, None)
        self._stamps.pop(name, None)
        self._sealers.pop(name, None)
        if (scheduler := self.schedulers.pop(name, None)) is not None:
            scheduler.end(self.limits.farewell)
        self.tellers.pop(name, None)

    def named(self, name: str | None) -> str:
        """A model's own name; errors: Refusal for one that is not served."""
        names = self.names
        if name is None and len(names) == 1:
            return names[0]
        if name not in names:
            raise self._unknown()
        return name

    def _unknown(self) -> Refusal:
        names = self.names
        known = f"this server has {', '.join(names)}" if names else "this server has none yet"
        return Refusal(404, f"there is no such model: {known}", param="model", code="model_not_found")

    async def order(self, name: str, body: CompletionBody | ChatBody, length: int) -> tuple[Order, Scheduler]:
        """What a body asks of a model, and who does it; one that takes long to read holds up nobody else."""
        teller, scheduler = self.tellers.get(name), self.schedulers.get(name)
        if teller is None or scheduler is None:
            try:
                teller, scheduler = await asyncio.to_thread(self._served, name)
            except FolderError:  # which says where our files lie
                raise unable("the model cannot be read") from None
        if length < LONG and not body.max_copy:
            return prepare(teller, body, self.limits, self._sealers.get(name)), scheduler
        return await asyncio.to_thread(prepare, teller, body, self.limits, self._sealers.get(name)), scheduler

    def model(self, name: str) -> dict[str, Any]:
        """A model as OpenAI describes one."""
        return {"id": name, "object": "model", "created": self.created, "owned_by": "fabula"}


def _stamp(path: Path) -> int | None:
    """Another when another model came to lie in a folder; None where there is none."""
    try:
        return (path / folder.MANIFEST).stat().st_mtime_ns
    except OSError:
        return None


def _application(house: House) -> FastAPI:
    app = FastAPI(title="fabula", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    routes = APIRouter(route_class=StrictRoute)
    json_only: dict[str, Any] = {"application/json": {}}
    refused: dict[int | str, dict[str, Any]] = {
        code: {"description": about, "content": json_only} for code, about in _REFUSED.items()
    }
    both = json_only | {"text/event-stream": dict[str, Any]()}
    told = refused | {200: {"description": "A JSON object, or a stream of events.", "content": both}}

    @routes.post("/v1/completions", responses=told, response_class=Response)
    async def completions(body: CompletionBody, request: Request) -> Response:
        """Go on from a prompt."""
        return await _write(house, body, request, CompletionAnswer)

    @routes.post("/v1/chat/completions", responses=told, response_class=Response)
    async def chat(body: ChatBody, request: Request) -> Response:
        """Go on from the messages, read as the story so far."""
        return await _write(house, body, request, ChatAnswer)

    @routes.get("/v1/models", responses=refused)
    async def models() -> Any:  # noqa: ANN401
        """The models there are."""
        return _json({"object": "list", "data": [house.model(name) for name in house.names]})

    @routes.get("/v1/models/{model}", responses=refused)
    async def model(model: str) -> Any:  # noqa: ANN401
        """One of them."""
        return _json(house.model(house.named(model)))

    @routes.get("/health", responses={503: {"description": "An engine is stuck or dead."}})
    async def health() -> Any:  # noqa: ANN401
        """Whether stories can be written."""
        troubles = {name: one.trouble for name, one in list(house.schedulers.items()) if one.trouble}
        return _json({"status": "failing" if troubles else "ok", "engines": troubles}, 503 if troubles else 200)

    @routes.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(house.metrics.text(), media_type="text/plain; version=0.0.4")

    @routes.get("/openapi.json", include_in_schema=False)
    async def schema() -> Response:
        return _json(app.openapi())

    @routes.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(page.page(app.openapi()), media_type="text/html")

    @routes.get("/docs.css", include_in_schema=False)
    async def style() -> Response:
        return Response(page.STYLE, media_type="text/css")

    app.include_router(routes)
    app.add_exception_handler(HTTPException, refuse)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(FabulaError, impossible)
    return app


_REFUSED = {
    400: "The request cannot be done as it is.", 401: "The key is missing or wrong.", 404: "There is no such model.",
    413: "The body is too long.", 415: "The body is not sent as JSON.", 429: "Too much waits already.",
    503: "Nothing can be written just now.",
}  # fmt: skip


async def _write(
    house: House,
    body: CompletionBody | ChatBody,
    request: Request,
    kind: type[CompletionAnswer | ChatAnswer],
) -> Response:
    name = house.named(body.model)
    if body.stream_options is not None and not body.stream:
        raise Refusal(400, "stream_options needs stream", param="stream_options")
    order, scheduler = await house.order(name, body, len(await request.body()))
    answer = kind(order, name)
    if not body.stream:
        return Whole(order, answer, scheduler, house.limits)
    usage = bool(body.stream_options and body.stream_options.include_usage)
    return Stream(order, answer, scheduler, house.limits, usage=usage)


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(value), status, media_type="application/json")
