"""What the application answers to errors that its routes raise: one line in the shape of a refusal; knows no route."""

from __future__ import annotations

import reprlib

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from fabula.serve.limits import STATE
from fabula.serve.refusals import Refusal


async def refuse(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Paths and methods there are not, and whatever a route refuses."""
    if isinstance(error, Refusal):
        return error.response()
    assert isinstance(error, HTTPException)
    said = {404: "there is nothing here: see /docs", 405: "this path is not asked like that: see /docs"}
    status = error.status_code
    return Refusal(status, said.get(status, "the request cannot be read"), headers=error.headers).response()


async def impossible(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """What cannot be done with what was sent: one line, which is meant for people."""
    return Refusal(400, str(error)).response()


async def invalid(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """A field that is not as it should be: the first, in one line that repeats nothing of what was sent."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = [str(part) for part in first["loc"][1:]]
    if not where:
        return Refusal(400, "the body must be a JSON object", code="invalid_json").response()
    field = where[0]
    if first["type"] == "extra_forbidden" and len(where) == 1:
        message = f"the body has an unknown field, {reprlib.repr(where[0])}: see /docs"
        return Refusal(400, message, code="unknown_parameter").response()
    about = _FIELDS.get(field) or first["msg"]
    return Refusal(400, f"{field}: {about[:1].lower()}{about[1:]}", param=field, code="invalid_value").response()


_FIELDS: dict[str, str] = {
    "prompt": "must be a text, a list of texts, a list of units, or a list of such lists",
    "stop": "must be a text or a list of at most 16, each of 1 to 256 characters",
    "suffix": "is not supported: leave it out",
    "state": f"must be what an answer told with keep, of at most {STATE:,} characters",
    "store": "is not supported: leave it out",
}  # fmt: skip
