"""A story on its way to the page while it is told; knows no draft from inside."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from fabula.errors import FabulaError
from fabula.serve.refusals import Refusal, busy, failed

AHEAD = 64
"""Words told that may lie ready for a page that reads slowly; then the telling waits for it."""


class Told(StreamingResponse):
    """A story as it is told, in a thread of its own, as events for a page that may leave at any time.

    `tell` is given how to know that the page is gone, and that it has not read what was told; `done` is called once.
    """

    def __init__(
        self,
        tell: Callable[[Callable[[], bool], Callable[[], bool]], Iterator[dict[str, Any]]],
        done: Callable[[], None],
    ) -> None:
        super().__init__(self._events(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})
        self._tell, self._done = tell, done
        self._loop, self._gone = asyncio.get_running_loop(), threading.Event()
        self._come: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell it; a page that left before the first word has a thread that ends at once."""
        try:
            threading.Thread(target=self._work, daemon=True, name="fabula-telling").start()
        except RuntimeError:  # the system has no thread for us
            self._done()
            raise busy() from None
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._gone.set()

    async def _events(self) -> AsyncIterator[bytes]:
        """One event for each thing that is told."""
        while (one := await self._come.get()) is not None:
            yield b"data: " + json.dumps(one, separators=(",", ":")).encode() + b"\n\n"

    def _work(self) -> None:
        try:
            for one in self._tell(self._gone.is_set, lambda: self._come.qsize() >= AHEAD):
                self._hand_over(one)
        except Refusal as refusal:
            self._hand_over(refusal.to_json())
        except FabulaError as error:
            self._hand_over(Refusal(400, str(error)).to_json())
        except Exception:  # noqa: BLE001 - its words may hold what somebody wrote
            self._hand_over(failed().to_json())
        finally:
            self._done()
            self._hand_over(None)

    def _hand_over(self, one: dict[str, Any] | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._come.put_nowait, one)
        except RuntimeError:  # the loop is closed: nobody is there any more
            self._gone.set()
