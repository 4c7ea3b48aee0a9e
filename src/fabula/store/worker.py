"""The program that a process of the pool runs: tasks come on stdin, results go to stdout; all ends with stdin."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from fabula.errors import FabulaError
from fabula.store.copies import find_copies
from fabula.store.encoding import store_block
from fabula.store.finishing import keep
from fabula.store.learning import learn
from fabula.store.messages import receive, send
from fabula.store.pool import Work

WORK: Work = {"store": store_block, "learn": learn, "copies": find_copies, "keep": keep}
"""All that can be asked for."""


def main() -> None:
    """Work until nobody asks any more; the process that started us hears Ctrl-C and ends us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    results = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no result
    while True:
        try:
            name, arguments = receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            send(results, _result(name, arguments))
        except BrokenPipeError:
            return


def _result(name: str, arguments: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        return "done", WORK[name](*arguments)
    except FabulaError as error:
        return type(error).__name__, str(error)
    except MemoryError:
        return "lost", None
    except OSError as error:
        return "os", (error.errno, error.strerror, error.filename)
