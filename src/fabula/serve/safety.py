"""Who may ask: the key, the names this server goes by, the pages a browser may ask from; knows no model.

A web page elsewhere must not reach a server on this machine, neither by a form nor by a name that points here (DNS
rebinding); what has no key must not reach one that others can see.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fabula.serve.limits import Limits
from fabula.serve.metrics import Metrics
from fabula.serve.parsing import Held
from fabula.serve.refusals import Refusal, failed

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

OPEN = frozenset({"/health"})
"""What needs no key."""

_LOG = logging.getLogger("fabula.serve")


def is_local(host: str) -> bool:
    """Whether only this machine can reach what listens there.

    >>> is_local("127.0.0.1"), is_local("localhost"), is_local("::1"), is_local("0.0.0.0"), is_local("example.org")
    (True, True, True, False, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Stands before the application: refuses, counts, adds headers, and lets no fault of ours out as it is."""

    def __init__(self, app: ASGIApp, *, limits: Limits, key: str | None, local: bool, metrics: Metrics) -> None:
        """`local` servers go by the names of this machine alone."""
        self._app, self._limits, self._local, self._metrics = app, limits, local, metrics
        self._key = None if key is None else _digest(key.encode())
        self._held = Held()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        status = 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
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
        if self._key is not None and scope["path"] not in OPEN:
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
