"""The sockets: who sends too slowly, reads too slowly or never is let go; a clean end; knows no route and no model."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Generator
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

import uvicorn

from fabula.serve.limits import Limits

if TYPE_CHECKING:
    from starlette.types import ASGIApp

GRACE = 2.0
"""Seconds beyond the stories' own farewell in which their ends are sent."""

KEEP = 5
"""Seconds for which an idle connection is kept."""


class Lingering:
    """A transport that hears its client out before it closes.

    A socket closed with bytes unread takes the answer back that is on its way (RFC 9112, section 9.6); so what still
    arrives is read, and dropped, until the client is done, or whoever made this calls `close` again, or `abort`.
    """

    def __init__(self, transport: asyncio.Transport, unread: Callable[[], bool]) -> None:
        """`unread` says whether something may still arrive."""
        self._transport, self._unread = transport, unread
        self.lingers = False
        """Whether it would be closed already."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Whatever else a transport can."""
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Whether it is of no more use."""
        return self.lingers or self._transport.is_closing()

    def close(self) -> None:
        """Say that no more will be sent; the second time, close."""
        if self.is_closing() or not self._unread():
            self._transport.close()
        else:
            self.lingers = True
            self._transport.write_eof()
            self._transport.resume_reading()


def protocol(limits: Limits, farewell: Callable[[], None] | None = None) -> type[asyncio.Protocol]:
    """HTTP over one connection, within limits; `farewell` is called when the server begins to end."""
    import h11  # noqa: PLC0415 - whoever only listens needs none of it
    from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: PLC0415

    class Bounded(H11Protocol):
        """Uvicorn's own, with clocks on both directions."""

        _line: Lingering
        _arrival: asyncio.TimerHandle | None = None
        _arrived = 0
        """Bytes since the clock of what arrives was set."""
        _sending: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            """A client has come; it has so long to say what it wants."""
            self._line = Lingering(transport, self._unread)
            super().connection_made(cast("asyncio.Transport", self._line))
            if len(self.connections) > limits.connections:
                transport.abort()
                return
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.buffer)
            transport.set_write_buffer_limits(0)  # whoever sends waits until the system has taken all of it
            self._arrival = self.loop.call_later(limits.receive, transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            """It is gone."""
            super().connection_lost(exc)
            self._unset_keepalive_if_required()
            for timer in (self._arrival, self._sending):
                if timer is not None:
                    timer.cancel()

        def shutdown(self) -> None:
            """The server ends, and this connection with its answer."""
            if farewell is not None:
                farewell()
            super().shutdown()

        def data_received(self, data: bytes) -> None:
            """The clock runs from the first byte of a request to its last; it begins anew after each longest body."""
            if self._line.lingers:
                return  # and the clock runs on
            super().data_received(data)
            asked = self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self.transport.is_closing()
            arriving = asked or self._line.lingers
            self._arrived += len(data)
            if self._arrival is not None and (not arriving or self._arrived > limits.body):
                self._arrival.cancel()
                self._arrival = None
            if arriving and self._arrival is None:
                self._arrival, self._arrived = self.loop.call_later(limits.receive, self.transport.abort), 0

        def _unread(self) -> bool:
            """Whether a request is answered before all of it is here: it is too long, or none at all."""
            return self.conn.their_state in (h11.SEND_BODY, h11.ERROR)

        def pause_writing(self) -> None:
            """Something lies ready for the client; from now on it has to read, or it is let go."""
            super().pause_writing()
            self._look(None, 0)

        def resume_writing(self) -> None:
            """It has read all there was."""
            super().resume_writing()
            if self._sending is not None:
                self._sending.cancel()

        def _look(self, left: int | None, times: int) -> None:
            """Whether it has read something since the last look, and is not at it for ever."""
            now = self.transport.get_write_buffer_size()
            if left is not None and (now >= left or times * limits.send > limits.seconds):
                self.transport.abort()
            else:
                self._sending = self.loop.call_later(limits.send, self._look, now, times + 1)

    return Bounded


class Server(uvicorn.Server):
    """Uvicorn's own, that ends with what `farewell` does, and with no signal."""

    def __init__(
        self, app: ASGIApp, limits: Limits, *, begun: Callable[[], None], farewell: Callable[[], None]
    ) -> None:
        """`begun` is called when connections are taken, `farewell` when no more are."""
        super().__init__(uvicorn.Config(app, http=protocol(limits), **options(limits)))
        self._begun, self._farewell = begun, farewell

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        asyncio.get_running_loop().set_exception_handler(silent)
        await super().startup(sockets)
        self._begun()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and wait for what is being answered."""
        self._farewell()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """The first signal asks for an end, a second one insists; neither is raised again afterwards."""
        before = {number: signal.signal(number, self._asked) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _asked(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.force_exit = self.should_exit and number == signal.SIGINT
        self.should_exit = True


def options(limits: Limits) -> dict[str, Any]:
    """How uvicorn is to serve."""
    return {
        "ws": "none", "lifespan": "off", "loop": "asyncio", "log_config": None, "log_level": "critical",
        "access_log": False, "server_header": False, "proxy_headers": False, "timeout_keep_alive": KEEP,
        "timeout_graceful_shutdown": int(limits.farewell + GRACE), "backlog": 1024,
    }  # fmt: skip


def silent(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What goes wrong on a connection is told to nobody: its words may hold what a client wrote."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Errors: OSError."""
    family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    found = socket.socket(family, kind, number)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(1024)
    except OSError:
        found.close()
        raise
    return found


def more_descriptors(count: int) -> None:
    """Ask the system for as many open files, where it lets itself be asked."""
    try:
        import resource  # noqa: PLC0415 - there is none on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < count:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
    except (ImportError, ValueError, OSError):
        return
