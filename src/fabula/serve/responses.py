"""Answers on their way, whole or as a stream, until the client has all of it or is gone; knows no engine's inside."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fabula.serve.answers import DONE, Answer, Choice, event
from fabula.serve.limits import Limits
from fabula.serve.mailbox import Mailbox
from fabula.serve.orders import Order
from fabula.serve.refusals import Refusal, unable
from fabula.serve.rows import Piece, Token
from fabula.serve.scheduler import Scheduler

PATIENCE = 5
"""Seconds for which an engine may be stuck before a request is given up: it may only be short of memory."""

GLANCE, CROWD = 0.02, 0.001
"""Seconds between two events of a stream, and as many more for each story that is being written beside it."""

LATE = 2.0
"""Seconds after its time limit at which a request is given up that the engine does not end."""


class Writing(Response):
    """The stories of one request: written as soon as it is made, and sent when it is called."""

    def __init__(
        self, order: Order, answer: Answer, scheduler: Scheduler, limits: Limits, mailbox: Mailbox
    ) -> None:  # fmt: skip
        super().__init__()
        self._order, self._answer, self._scheduler = order, answer, scheduler
        self._mailbox, self._ends = mailbox, time.monotonic() + limits.seconds
        count = len(order.prompts) * order.best_of
        self._choices = [Choice() for _ in range(count)]
        jobs = order.jobs(self._mailbox, self._ends)
        judged = dict(enumerate(job.judged for job in jobs if job.judged is not None))
        self._prompts: list[Sequence[Token]] = [
            judged[n].tokens if n in judged else () for n in range(len(order.prompts))
        ]
        self._awaited = {number for number, one in judged.items() if not one.over}
        """Prompts that are not judged yet."""
        if not order.writes:
            for choice in self._choices:
                choice.finish = "length"
        scheduler.submit(jobs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a client that leaves takes its stories with it."""
        watcher = asyncio.create_task(self._watch(receive))
        try:
            await self._send(scope, receive, send)
        finally:
            self._scheduler.forget(self._mailbox)
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError

    async def _watch(self, receive: Receive) -> None:
        """Wait until the client is gone."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._scheduler.forget(self._mailbox)

    def _pace(self) -> float:
        """Seconds between two looks at what has come."""
        return 0.0

    async def _pieces(self) -> AsyncIterator[list[Piece]]:
        """What comes, until all is there; ends early when nobody is there to read it. Errors: Refusal."""
        silent = 0
        while self._awaited or any(choice.finish is None for choice in self._choices):
            pieces = await self._mailbox.take(1.0)
            if self._mailbox.closed:
                return
            silent = 0 if pieces else silent + 1
            self._check(silent)
            for piece in pieces:
                if piece.failure is not None:
                    raise piece.failure
                if piece.judged:
                    self._prompts[piece.choice] = piece.tokens
                    self._awaited.remove(piece.choice)
                else:
                    self._choices[piece.choice].add(piece)
            yield pieces
            await asyncio.sleep(self._pace())

    def _check(self, silent: int) -> None:
        """Nothing came for so many seconds. Errors: Refusal where nothing will."""
        trouble = self._scheduler.trouble if silent else None
        if trouble == "dead" or (trouble and silent >= PATIENCE) or time.monotonic() > self._ends + LATE:
            raise unable(f"the engine is {trouble or 'late'}")


class Whole(Writing):
    """All at once."""

    def __init__(self, order: Order, answer: Answer, scheduler: Scheduler, limits: Limits) -> None:
        super().__init__(order, answer, scheduler, limits, Mailbox(whole=True))

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async for _ in self._pieces():
                pass
        except Refusal as refusal:
            await refusal.response()(scope, receive, send)
            return
        if not self._mailbox.closed:
            body = self._answer.complete(self._choices, self._prompts)
            await Response(body, media_type="application/json")(scope, receive, send)


class Stream(Writing):
    """Events, each with what was written since the last: fifty a second for one stream, about twelve for each of 64."""

    def __init__(self, order: Order, answer: Answer, scheduler: Scheduler, limits: Limits, *, usage: bool) -> None:
        super().__init__(order, answer, scheduler, limits, Mailbox(limits.backlog))
        self._usage = usage
        self._opened: set[int] = set()

    def _pace(self) -> float:
        """The eye takes no more from one stream, and of many nobody follows all; every event costs the others time."""
        return GLANCE + CROWD * self._scheduler.running

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        kind = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        try:
            ready = [place for place in range(len(self._choices)) if place // self._order.n not in self._awaited]
            await _part(send, b"".join(self._begun(ready)))
            async for pieces in self._pieces():
                if body := b"".join(self._events(pieces)):
                    await _part(send, body)
        except Refusal as refusal:
            await _part(send, event(refusal.to_json()))
        else:
            if self._mailbox.closed:
                return
            if not self._order.writes:
                last = [self._told(place, choice) for place, choice in enumerate(self._choices)]
                await _part(send, b"".join(last))
            if self._usage:
                await _part(send, self._answer.bill(sum(choice.units for choice in self._choices)))
        await send({"type": "http.response.body", "body": DONE, "more_body": False})

    def _begun(self, places: Sequence[int]) -> list[bytes]:
        """What stands before some stories."""
        found = [self._answer.opening(place, self._prompts[place // self._order.n]) for place in places]
        return [self._answer.event(one, usage=self._usage) for one in found if one is not None]

    def _events(self, pieces: Sequence[Piece]) -> list[bytes]:
        """Some pieces, those of one story together."""
        events, told = list[bytes](), dict[int, Choice]()
        for piece in pieces:
            if piece.judged:
                events += self._begun(range(piece.choice * self._order.n, (piece.choice + 1) * self._order.n))
            else:
                told.setdefault(piece.choice, Choice()).add(piece)
        return events + [self._told(place, choice) for place, choice in told.items()]

    def _told(self, place: int, choice: Choice) -> bytes:
        first = place not in self._opened
        self._opened.add(place)
        told = self._answer.delta(place, choice, first=first)
        return self._answer.event(told, usage=self._usage, state=self._answer.state(choice))


async def _part(send: Send, body: bytes) -> None:
    if body:
        await send({"type": "http.response.body", "body": body, "more_body": True})
