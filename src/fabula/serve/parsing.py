"""The body of a request as JSON, strictly: what two programs could read in two ways is refused; knows no field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from starlette.datastructures import Headers
from starlette.requests import Request

from fabula.serve.limits import Limits
from fabula.serve.refusals import Refusal, busy


def parse(body: bytes) -> Any:  # noqa: ANN401
    """The value of a body; errors: Refusal for what is no UTF-8, no JSON, or too deep, and for keys given twice.

    >>> parse(b'{"n": 2}')
    {'n': 2}
    """
    try:
        return json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except UnicodeDecodeError:
        raise _bad("the body must be UTF-8") from None
    except RecursionError:
        raise _bad("the body is nested too deeply") from None
    except ValueError:  # whole numbers of thousands of digits among them
        raise _bad("the body must be JSON") from None


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _bad("the body names a key twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise _bad(f"the body must be JSON, which has no {name}")


def _bad(message: str) -> Refusal:
    return Refusal(400, message, code="invalid_json")


class StrictRequest(Request):
    """A request whose body is bounded and strict JSON; how much is held is counted in `scope["fabula.bodies"]`."""

    async def body(self) -> bytes:
        """All of it; errors: Refusal when it is no JSON or too long, or when all requests together hold too much."""
        if not hasattr(self, "_body"):
            limits: Limits = self.scope["fabula.limits"]
            held: Held = self.scope["fabula.bodies"]
            _check(self.headers, limits)
            parts = bytearray()
            async for part in self.stream():
                if len(parts) + len(part) > limits.body:
                    raise _too_long(limits)
                if held.total + len(part) > limits.bodies:
                    raise busy()
                held.add(self.scope, len(part))
                parts += part
            self._body = bytes(parts)
        return self._body

    async def json(self) -> Any:  # noqa: ANN401
        """The value it holds."""
        return parse(await self.body())


class Held:
    """Bytes of the bodies that are being answered."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, scope: Any, count: int) -> None:  # noqa: ANN401
        """More of one request."""
        self.total += count
        scope["fabula.held"] = scope.get("fabula.held", 0) + count

    def release(self, scope: Any) -> None:  # noqa: ANN401
        """The request is done."""
        self.total -= scope.get("fabula.held", 0)


def _check(headers: Headers, limits: Limits) -> None:
    """Errors: Refusal for a body that is not worth reading."""
    if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        # Forms of other sites can send every kind but this without asking first.
        raise Refusal(415, "the body must be sent as application/json", code="unsupported_media_type")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refusal(415, "the body must be sent as it is, not compressed", code="unsupported_encoding")
    length = headers.get("content-length", "0")
    if length.isdigit() and int(length[:20]) > limits.body:
        raise _too_long(limits)


def _too_long(limits: Limits) -> Refusal:
    return Refusal(413, f"the body must have at most {limits.body:,} bytes", code="body_too_large")
