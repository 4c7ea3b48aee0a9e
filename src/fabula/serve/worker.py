"""One of several processes behind a port: when it begins, when it ends, and what it has not; knows no supervisor."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import threading

from fastapi import APIRouter

from fabula.serve.app import House
from fabula.serve.refusals import Refusal
from fabula.serve.transport import silent

ORPHANED = 2.0
"""Seconds that stories have to come to their end when the process that started this one is gone."""


class Life:
    """What uvicorn calls before a worker takes connections, and after it has let go of all."""

    def __init__(self, house: House) -> None:
        self.should_exit, self.state, self._house = False, dict[str, object](), house

    async def startup(self) -> None:
        """Let the engines begin."""
        asyncio.get_running_loop().set_exception_handler(silent)
        self._house.start()
        gc.freeze()
        gc.enable()

    async def shutdown(self) -> None:
        """Let them end, where no connection told them to."""
        self._house.end()


def begin(house: House) -> None:
    """Make a house one of several."""
    house.open(_rooms())
    threading.Thread(target=_end_with_parent, args=(house,), daemon=True, name="fabula-parent").start()


def _end_with_parent(house: House) -> None:
    """End when the process that started this one is gone: it was killed, and nobody else would end us."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    house.end(ORPHANED)
    os.kill(os.getpid(), signal.SIGTERM)


def _rooms() -> APIRouter:
    """What is where the studio would be."""
    rooms = APIRouter(include_in_schema=False)

    @rooms.get("/")
    async def index() -> None:
        raise Refusal(404, "the studio is served by one process alone: leave --workers out; the API is at /docs")

    return rooms
