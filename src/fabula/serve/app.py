"""The routes: models and schedulers behind OpenAI's paths; knows no socket and no terminal."""

from __future__ import annotations

import asyncio
import json
import reprlib
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from fabula.serve import page
from fabula.serve.answers import ChatAnswer, CompletionAnswer
from fabula.serve.bodies import ChatBody, CompletionBody
from fabula.serve.limits import Limits
from fabula.serve.metrics import Metrics
from fabula.serve.orders import Order, prepare
from fabula.serve.parsing import StrictRequest
from fabula.serve.refusals import Refusal
from fabula.serve.responses import Stream, Whole
from fabula.serve.safety import Guard
from fabula.serve.scheduler import Scheduler
from fabula.storyteller import Storyteller
from fabula.version import __version__

LONG = 1 << 14
"""Bytes of a body that is made ready beside the event loop, for it may take a while."""


class _Route(APIRoute):
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
        local: bool = True,
    ) -> None:  # fmt: skip
        """`local` servers are reached from this machine alone, others need a `key`."""
        self.limits, self.created = limits or Limits(), int(time.time())
        self.schedulers = {name: Scheduler(teller, self.limits) for name, teller in tellers.items()}
        self.tellers, self.metrics = tellers, Metrics(self.schedulers)
        self.app: ASGIApp = Guard(
            _application(self), limits=self.limits, key=key, local=local, metrics=self.metrics
        )  # fmt: skip

    def start(self) -> None:
        """Let the engines begin."""
        for scheduler in self.schedulers.values():
            scheduler.start()

    def end(self) -> None:
        """Take no more stories, and let those that are being written come to an end."""
        for scheduler in self.schedulers.values():
            scheduler.end(self.limits.farewell)

    def named(self, name: str | None) -> str:
        """A model's own name; errors: Refusal for one that is not served."""
        if name is None and len(self.tellers) == 1:
            return next(iter(self.tellers))
        if name not in self.tellers:
            known = ", ".join(self.tellers)
            raise Refusal(
                404, f"there is no such model: this server has {known}", param="model", code="model_not_found"
            )
        return name

    async def order(self, name: str, body: CompletionBody | ChatBody, length: int) -> Order:
        """What a body asks of a model; one that takes long to read holds up nobody else."""
        if length < LONG and not body.max_copy:
            return prepare(self.tellers[name], body, self.limits)
        return await asyncio.to_thread(prepare, self.tellers[name], body, self.limits)

    def model(self, name: str) -> dict[str, Any]:
        """A model as OpenAI describes one."""
        return {"id": name, "object": "model", "created": self.created, "owned_by": "fabula"}


def _application(house: House) -> FastAPI:
    app = FastAPI(title="fabula", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    routes = APIRouter(route_class=_Route)
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
        return _json({"object": "list", "data": [house.model(name) for name in house.tellers]})

    @routes.get("/v1/models/{model}", responses=refused)
    async def model(model: str) -> Any:  # noqa: ANN401
        """One of them."""
        return _json(house.model(house.named(model)))

    @routes.get("/health", responses={503: {"description": "An engine is stuck or dead."}})
    async def health() -> Any:  # noqa: ANN401
        """Whether stories can be written."""
        troubles = {name: one.trouble for name, one in house.schedulers.items() if one.trouble}
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
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _invalid)
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
    order = await house.order(name, body, len(await request.body()))
    answer, scheduler = kind(order, name), house.schedulers[name]
    if not body.stream:
        return Whole(order, answer, scheduler, house.limits)
    usage = bool(body.stream_options and body.stream_options.include_usage)
    return Stream(order, answer, scheduler, house.limits, usage=usage)


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(value), status, media_type="application/json")


async def _refuse(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Paths and methods there are not, and whatever a route refuses."""
    if isinstance(error, Refusal):
        return error.response()
    assert isinstance(error, HTTPException)
    said = {404: "there is nothing here: see /docs", 405: "this path is not asked like that: see /docs"}
    status = error.status_code
    return Refusal(status, said.get(status, "the request cannot be read"), headers=error.headers).response()


async def _invalid(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """A field that is not as it should be: the first, in one line that repeats nothing of what was sent."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = [str(part) for part in first["loc"][1:]]
    if not where:
        return Refusal(400, "the body must be a JSON object", code="invalid_json").response()
    field = where[0] if where[0] in _FIELDS else None
    if field is None:
        message = f"the body has an unknown field, {reprlib.repr(where[0])}: see /docs"
        return Refusal(400, message, code="unknown_parameter").response()
    about = _FIELDS[field] or first["msg"]
    return Refusal(400, f"{field}: {about[:1].lower()}{about[1:]}", param=field, code="invalid_value").response()


_FIELDS: dict[str, str] = dict.fromkeys([*CompletionBody.model_fields, *ChatBody.model_fields], "") | {
    "prompt": "must be a text, a list of texts, a list of units, or a list of such lists",
    "stop": "must be a text or a list of at most 16, each of 1 to 256 characters",
    "suffix": "is not supported: leave it out",
    "store": "is not supported: leave it out",
}  # fmt: skip
