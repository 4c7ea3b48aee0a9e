"""What the server says when it cannot do what was asked, in the shape that OpenAI's clients read; knows no engine."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.responses import Response

RETRY = {"Retry-After": "1"}
"""When to ask again."""

_KINDS = {
    401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 500: "server_error",
    503: "server_error",
}  # fmt: skip


class Refusal(HTTPException):
    """One request that is not done; `param` names the field at fault, `code` says what it is for programs."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.message, self.param, self.code = message, param, code

    def to_json(self) -> dict[str, dict[str, str | None]]:
        """The body."""
        kind = _KINDS.get(self.status_code, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """The answer."""
        return Response(json.dumps(self.to_json()), self.status_code, self.headers, media_type="application/json")


def busy() -> Refusal:
    """Too many stories wait already."""
    return Refusal(429, "the server is busy: try again in a moment", code="rate_limit_exceeded", headers=RETRY)


def unable(reason: str) -> Refusal:
    """The server cannot write just now."""
    return Refusal(503, reason, code="unavailable", headers=RETRY)


def failed() -> Refusal:
    """A fault of our own, of which a client learns nothing."""
    return Refusal(500, "something went wrong in the server", code="internal_error")
