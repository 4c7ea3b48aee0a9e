"""A server whose engine can be made slow, stuck or dead, and whose limits can be tightened: a program for tests.

    python faulty.py FOLDER STATE LIMITS

STATE is a file; while it is there, every step of the engine does what it says: `slow`, `stuck`, `dead` or `fails`.
"""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from fabula.serve.app import House
from fabula.serve.limits import Limits
from fabula.serve.transport import Server, listen, more_descriptors
from fabula.storyteller import load

SECRET = b"a key that all servers of these tests share"
"""Seals the states of stories."""


class Faulty:
    """An engine with a will of its own."""

    def __init__(self, engine: Any, state: Path) -> None:
        self._engine, self._state = engine, state

    def initial_state(self, batch: int) -> Any:
        return self._engine.initial_state(batch)

    def read(self, ids: Any, state: Any) -> Any:
        self._obey()
        return self._engine.read(ids, state)

    def step(self, ids: Any, state: Any) -> Any:
        self._obey()
        return self._engine.step(ids, state)

    def _obey(self) -> None:
        word = self._state.read_text(encoding="utf-8") if self._state.exists() else ""
        if word == "slow":
            time.sleep(0.02)
        if word == "dead":
            raise SystemExit
        if word == "fails":
            raise MemoryError("a secret that nobody may read")
        while word == "stuck" and self._state.exists():
            time.sleep(0.02)


def main(folder: str, state: str, limits: str) -> None:
    teller = load(folder)
    teller.engine = Faulty(teller.engine, Path(state))
    logging.basicConfig(stream=sys.stderr, format="fabula: %(message)s", level=logging.ERROR)
    house = House(
        {"model": teller}, limits=Limits(**json.loads(limits)), folders={"model": Path(folder)}, secret=SECRET
    )
    more_descriptors(house.limits.connections + 64)
    listener = listen("127.0.0.1", 0)
    house.start()
    Server(
        house.app,
        house.limits,
        begun=lambda: say(f"http://127.0.0.1:{listener.getsockname()[1]}"),
        farewell=house.end,
    ).run(sockets=[listener])


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
