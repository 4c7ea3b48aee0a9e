"""Keeps `report.html` up to date while a training runs; knows when to write it, not what stands in it."""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from fabula import folder
from fabula.errors import DivergedError, FabulaError, FolderError
from fabula.events import Began, Evaluated, Event, Finished, Saved, Stepped
from fabula.report.curve import Curve
from fabula.report.history import History, facts_of, from_folder
from fabula.report.page import render

EVERY = 5.0
"""Seconds after which the page is written anew although nothing was measured: an open page renews itself as often."""

BRIEF = 1.0
"""Seconds between two writings at least, for trainings that measure at every step."""

_log = logging.getLogger(__name__)


class Reporter:
    """Listens to a training, after those who write metrics.jsonl and samples.jsonl; leaving it ends a live page."""

    def __init__(self, language: str | None = None) -> None:
        """`language` is what the page opens in; the reader's browser chooses when not given."""
        self._language = language
        self._history: History | None = None
        self._curve = Curve()
        self._before: list[list[object]] = []
        self._progress, self._clock = 0.0, 0.0
        self._written = -math.inf  # the first step is told at once
        self._error: str | None = None

    def __enter__(self) -> Self:
        """Start; the page appears with the first event."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A training that raised has ended too, and its page says so."""
        if self._history and isinstance(error, BaseException):
            self._error = str(error) if isinstance(error, FabulaError) else type(error).__name__
            how = "diverged" if isinstance(error, DivergedError) else "failed"
            self._write("interrupted" if isinstance(error, KeyboardInterrupt) else how)

    def __call__(self, event: Event) -> None:
        """Listen."""
        match event:
            case Began():
                self._begin(event)
            case Stepped():
                self._curve.add(event)
                self._progress, self._clock = event.progress, time.perf_counter() - event.seconds
                if event.seconds - self._written >= EVERY:
                    self._write(None)
            case Evaluated():
                self._curve.pause()
                self._progress, self._clock = event.progress, time.perf_counter() - event.seconds
                if event.seconds - self._written >= BRIEF:
                    self._write(None)
            case Saved():
                self._curve.pause()
            case Finished() if self._history:
                self._write(str(self._history.about().get("stopped") or "unknown"))

    def _begin(self, event: Began) -> None:
        self._history = History(event.folder)
        if event.step and self._history.recall():
            self._before = [point for point in self._history.steps if point[0] <= event.step]
        self._history.facts = facts_of(event)

    def _write(self, ended: str | None) -> None:
        """Write the page; a disk that refuses costs the page, not the training."""
        if self._history is None:
            return
        self._written = time.perf_counter() - self._clock if self._clock else 0.0
        self._history.steps = [*self._before, *self._curve.points()]
        self._history.state = {
            "ended": ended,
            "error": self._error,
            "progress": self._progress,
            "seconds": self._written,
            "written": int(time.time()),
        }
        try:
            _publish(self._history, self._history.path / "report.html", self._language)
        except OSError as error:
            _log.warning("report.html could not be written: %s", error.strerror)


def rewrite(path: str | Path, out: str | Path | None = None, language: str | None = None) -> Path:
    """Write the page of a model folder anew, into it or elsewhere; returns where. Errors: FolderError, UsageError."""
    home = Path(path)
    target = Path(out) if out is not None else home / "report.html"
    try:
        _publish(from_folder(home), target, language)
    except OSError as error:
        raise FolderError(
            f"cannot write the page {str(target)!r}: {error.strerror}: choose another file with -o"
        ) from None
    return target


def _publish(history: History, target: Path, language: str | None) -> None:
    folder.publish(target, render(history.to_json(), language).encode())
