"""The body of a request as JSON, strictly: what two programs could read in two ways is refused; knows no field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn

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
        """All of it; errors: Refusal when it is too long, or when too much is held for all requests together."""
        if not hasattr(self, "_body"):
            limits, held = self._limits(), self.scope["fabula.bodies"]
            parts = bytearray()
            async for part in self.stream():
                if len(parts) + len(part) > limits.body:
                    raise too_long(limits)
                if held.total + len(part) > limits.bodies:
                    raise busy()
                held.add(self.scope, len(part))
                parts += part
            self._body = bytes(parts)
        return self._body

    async def json(self) -> Any:  # noqa: ANN401
        """The value it holds."""
        return parse(await self.body())

    def _limits(self) -> Limits:
        return self.scope["fabula.limits"]


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


def too_long(limits: Limits) -> Refusal:
    """The body has too many bytes."""
    return Refusal(
        413, f"the body must have at most {limits.body:,} bytes", code="body_too_large", headers={"Connection": "close"}
    )
