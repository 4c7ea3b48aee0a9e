"""What the engine's thread hands to the event loop: pieces of one request's stories; knows neither of the two sides."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque

from fabula.serve.rows import Piece


class Mailbox:
    """Pieces of one request, put in by one thread and taken out in the event loop in which it was made."""

    def __init__(self, bound: float = math.inf, *, whole: bool = False) -> None:
        """So many pieces at most lie in it; the reader of a `whole` story is not woken before it is over."""
        self.loop = asyncio.get_running_loop()
        self.closed = False
        """Nobody will read any more: what writes for it may stop."""
        self._pieces: deque[Piece] = deque()
        self._bound, self._whole, self._posted, self._taken = bound, whole, 0, 0
        self._filled = asyncio.Event()

    @property
    def full(self) -> bool:
        """Whether the reader has so much to do that its stories should wait."""
        return self._posted - self._taken >= self._bound

    def count(self) -> None:
        """One more piece is on its way; called by the thread, before `put` is called in the loop."""
        self._posted += 1

    def put(self, piece: Piece) -> None:
        """A piece has come."""
        self._pieces.append(piece)
        if not self._whole or piece.finish or piece.failure or piece.judged:
            self._filled.set()

    def close(self) -> None:
        """Nobody reads any more; wakes whoever waits."""
        self.closed = True
        self._filled.set()

    async def take(self, seconds: float) -> list[Piece]:
        """All pieces there are, after waiting for the first so many seconds, or until it is closed."""
        if not self._pieces and not self.closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._filled.wait()
        self._filled.clear()
        pieces = list(self._pieces)
        self._pieces.clear()
        self._taken += len(pieces)
        return pieces


def hand_over(pieces: list[tuple[Mailbox, Piece]]) -> None:
    """Put some pieces where they belong; called in the event loop."""
    for mailbox, piece in pieces:
        mailbox.put(piece)
