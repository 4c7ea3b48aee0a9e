"""Being asked to stop by a signal: which ones, how to wait meanwhile, what a program returns; knows no training.

Where there is nothing to save a signal ends the command at once, as `Stopped`; a training that can be saved only takes
note of the first one.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""Returned after Ctrl-C (SIGINT)."""

PREEMPTED = 75
"""Returned after SIGTERM or SIGUSR1, as a cluster sends them: the same again, or `--resume`, goes on (EX_TEMPFAIL)."""

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)  # Windows has fewer


GLANCE = 0.05
"""Seconds after which somebody who waits looks whether to go on waiting."""


class Stopped(KeyboardInterrupt):
    """A signal asked to leave at once."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = exit_code(number)


def exit_code(number: int) -> int:
    """What a program returns that a signal has ended.

    >>> exit_code(signal.SIGINT), exit_code(signal.SIGTERM)
    (130, 75)
    """
    return INTERRUPTED if number == signal.SIGINT else PREEMPTED


def leave(number: int) -> None:
    """End what is being done, at once."""
    raise Stopped(number)


@contextmanager
def listening(hear: Callable[[int], None] = leave) -> Iterator[None]:
    """Call `hear` with the number of every signal that asks to stop; elsewhere than in the main thread a no-op."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda given, _: hear(given)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait(thread: threading.Thread, patience: float | None = None, until: Callable[[], bool] = bool) -> None:
    """Wait for a thread: at most so many seconds, and no longer once `until` is true, which a signal may make it."""
    end = math.inf if patience is None else time.perf_counter() + patience
    while thread.is_alive() and not until() and (left := end - time.perf_counter()) > 0:
        thread.join(min(left, GLANCE))
