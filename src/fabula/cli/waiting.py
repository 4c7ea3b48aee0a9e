"""A word on stderr for those who wait; knows nothing of what they wait for."""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager

PATIENCE = 2.0
"""Seconds of silence that nobody minds."""


@contextmanager
def waiting(sentence: str, *, quiet: bool) -> Generator[None]:
    """Say a sentence on stderr if what is done inside takes longer than `PATIENCE`."""
    timer = threading.Timer(PATIENCE, lambda: sys.stderr.write(sentence + "\n"))
    if not quiet:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
