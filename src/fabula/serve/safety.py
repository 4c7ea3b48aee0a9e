"""Who may ask: the key, the names this server goes by, the pages a browser may ask from; knows no model.

A web page elsewhere must not reach a server on this machine, neither by a form nor by a name that points here (DNS
rebinding); what has no key must not reach one that others can see.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fabula.serve.limits import Limits
from fabula.serve.metrics import Metrics
from fabula.serve.parsing import Held
from fabula.serve.plan import is_local
from fabula.serve.refusals import Refusal, busy, failed

HEADERS = [
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
     b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-store"),
]  # fmt: skip
"""Said with every answer."""

OPEN = frozenset({"/health", "/"})
"""What needs no key: the page itself asks for it ..."""

ASSETS = "/assets/"
"""... and so what it is made of."""

LASTS = 60.0
"""Seconds for which a ticket is good."""

TICKETS = 1000
"""Most tickets that are good at one time."""

_LOG = logging.getLogger("fabula.serve")


class Tickets:
    """Leave to read one path once without the key: for what a browser opens by itself, a report or a download."""

    def __init__(self) -> None:
        self._good: dict[str, tuple[str, float]] = {}

    def give(self, path: str) -> str:
        """A ticket for a path."""
        now = time.monotonic()
        self._good = {ticket: one for ticket, one in self._good.items() if one[1] > now}
        if len(self._good) >= TICKETS:
            raise busy()
        ticket = secrets.token_urlsafe(24)
        self._good[ticket] = path, now + LASTS
        return ticket

    def take(self, scope: Scope) -> bool:
        """Whether a request has a ticket for where it goes; it has none afterwards."""
        given = parse_qs(scope["query_string"].decode("ascii", "replace")).get("ticket", [""])[-1]
        path, until = self._good.pop(given, ("", 0.0))
        return scope["method"] == "GET" and path == scope["path"] and time.monotonic() < until


class Guard:
    """Stands before the application: refuses, counts, adds headers, and lets no fault of ours out as it is."""

    def __init__(
        self, app: ASGIApp, *, limits: Limits, key: str | None, local: bool, metrics: Metrics, tickets: Tickets
    ) -> None:  # fmt: skip
        """`local` servers go by the names of this machine alone."""
        self._app, self._limits, self._local, self._metrics = app, limits, local, metrics
        self._key = None if key is None else _digest(key.encode())
        self._held, self._tickets = Held(), tickets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        status = 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own: list[tuple[bytes, bytes]] = list(message.get("headers", []))
                said = {name for name, _ in own}  # a page with a policy of its own keeps it
                message = {**message, "headers": own + [pair for pair in HEADERS if pair[0] not in said]}
            await send(message)

        scope.update({"fabula.limits": self._limits, "fabula.bodies": self._held})
        with self._metrics.request() as done:
            try:
                self._check(scope)
                await self._app(scope, receive, sent)
            except Refusal as refusal:
                await refusal.response()(scope, receive, sent)
            except Exception as error:  # noqa: BLE001 - its words may hold what a client wrote, or where our files lie
                _LOG.error("a request failed: %s", type(error).__name__)
                if status:
                    raise ConnectionAbortedError from None
                await failed().response()(scope, receive, sent)
            finally:
                self._held.release(scope)
                done(scope, status)

    def _check(self, scope: Scope) -> None:
        """Errors: Refusal for whoever may not ask, and for what is not even a request."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        names = [name for name, _ in headers]
        if b"transfer-encoding" in names and b"content-length" in names:  # which of the two is meant?
            close = {"Connection": "close"}
            raise Refusal(
                400, "a request has either a length or chunks, not both", code="invalid_request", headers=close
            )
        self._check_names(scope, headers)
        path = scope["path"]
        if self._key is None or path in OPEN or path.startswith(ASSETS) or self._tickets.take(scope):
            return
        self._check_key(headers)

    def _check_names(self, scope: Scope, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """The names that server and page go by."""
        found = dict(headers)
        host = _host(b"//" + found.get(b"host", b""))
        if host is None or sum(name == b"host" for name, _ in headers) != 1:
            raise Refusal(400, "a request must name one host", code="invalid_request")
        if self._local and not is_local(host):
            raise Refusal(403, "this server answers only to the names of its own machine", code="host_not_allowed")
        navigates = scope["method"] == "GET" and found.get(b"sec-fetch-mode") == b"navigate"
        site = found.get(b"sec-fetch-site", b"none")
        origin = found.get(b"origin")
        if (origin is not None and _origin(origin) != _origin(b"//" + found[b"host"])) or (
            site not in (b"none", b"same-origin") and not navigates
        ):
            raise Refusal(403, "pages of other sites may not ask here", code="origin_not_allowed")

    def _check_key(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        given = dict(headers).get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")
        assert self._key is not None
        # Digests have one length, and are compared in one time, whatever was sent.
        if not hmac.compare_digest(_digest(key.strip()), self._key) or scheme.lower() != b"bearer":
            raise Refusal(
                401, "the key is missing or wrong: send Authorization: Bearer KEY", code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )  # fmt: skip


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _host(url: bytes) -> str | None:
    """The name in a Host header, None for one that is none."""
    try:
        parts = urlsplit(url.decode("ascii"))
        plain = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if plain and parts.hostname else None


def _origin(url: bytes) -> tuple[str | None, int | None] | None:
    """Host and port of an origin; None for `null` and whatever else is none."""
    host = _host(url)
    if host is None:
        return None
    port = urlsplit(url.decode("ascii")).port
    return host, None if port in (80, 443) else port
