"""Being asked to stop by a signal: which ones, how to wait meanwhile, what a program returns; knows no training.

Where there is nothing to save a signal ends the command at once, as `Stopped`; a training that can be saved only takes
note of the first one. Python hears signals only between two of its steps: a library that computes is not waited for.
"""

from __future__ import annotations

import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping
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


GRACE = 2.0
"""Seconds after which a command that has nothing to save ends even in the middle of what a library computes."""


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


def cause(error: BaseException | None) -> KeyboardInterrupt | None:
    """The signal for which an error stands, None where none does.

    Python 3.11 makes a RuntimeError of it where a class is just being made.
    """
    seen = set[int]()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def listening(hear: Callable[[int], None] = leave) -> Generator[None]:
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


@contextmanager
def leaving() -> Generator[None]:
    """Around a command: a signal that nobody inside takes note of ends it, at the latest after `GRACE` seconds."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if os.name == "nt":  # which wakes programs by sockets only
        with listening():
            yield
        return
    near, far = os.pipe()
    os.set_blocking(far, False)
    before = signal.set_wakeup_fd(far, warn_on_full_buffer=False)
    with listening():
        own = {number: signal.getsignal(number) for number in SIGNALS}
        threading.Thread(target=_watch, args=(near, own), name="signals", daemon=True).start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            os.close(far)


def _watch(near: int, own: Mapping[int, object]) -> None:
    """End the process when the main thread does not come to hear a signal that is its own to hear."""

    def is_ours(number: int) -> bool:
        return number in own and signal.getsignal(number) is own[number]

    try:
        while heard := os.read(near, 1):
            if not is_ours(heard[0]):
                continue
            nobody: list[int] = []
            more, _, _ = select.select([near], nobody, nobody, GRACE)
            ended = bool(more) and os.read(near, 1) == b""
            if not ended and is_ours(heard[0]):
                os._exit(exit_code(heard[0]))
    finally:
        os.close(near)


def wait(thread: threading.Thread, patience: float | None = None, until: Callable[[], bool] = bool) -> None:
    """Wait for a thread: at most so many seconds, and no longer once `until` is true, which a signal may make it."""
    end = math.inf if patience is None else time.perf_counter() + patience
    while thread.is_alive() and not until() and (left := end - time.perf_counter()) > 0:
        thread.join(min(left, GLANCE))
