"""The curve of a training, step by step, in few enough points to draw; knows no files and no page."""

from __future__ import annotations

from fabula.events import Stepped

POINTS = 240
"""More than this are never kept: two neighbours become one when it gets too many."""

Point = list[float | int | None]
"""Step, seconds, loss, accuracy, learning rate, units a second (None when nothing could be timed)."""


class Curve:
    """Averages over ever longer spans of steps, so that a run of a million steps costs what one of a hundred does."""

    def __init__(self) -> None:
        self._span = 1
        self._done: list[list[float]] = []
        self._open: list[float] = []
        self._since: float | None = None

    def add(self, event: Stepped) -> None:
        """One more step."""
        # The time of a step is only known when nothing else was done between it and the one before.
        busy = 0.0 if self._since is None else event.seconds - self._since
        timed = 0 if self._since is None else event.tokens
        self._since = event.seconds
        self._open = _joined(
            self._open, [event.step, event.seconds, event.loss, event.accuracy, event.lr, timed, busy, 1]
        )
        if self._open[-1] < self._span:
            return
        self._done.append(self._open)
        self._open = []
        if len(self._done) >= POINTS:
            self._done = [_joined(*pair) for pair in zip(self._done[::2], self._done[1::2], strict=True)]
            self._span *= 2

    def pause(self) -> None:
        """Something other than learning takes time now; it must not count as slowness."""
        self._since = None

    def points(self) -> list[Point]:
        """What there is to draw."""
        return [
            [int(step), seconds, loss / count, accuracy / count, lr, timed / busy if busy > 0 else None]
            for step, seconds, loss, accuracy, lr, timed, busy, count in (
                *self._done,
                *([self._open] if self._open else ()),
            )
        ]


def _joined(one: list[float], two: list[float]) -> list[float]:
    """Two spans as one: where the second ends, with the sums of both."""
    if not one:
        return two
    return [*two[:2], one[2] + two[2], one[3] + two[3], two[4], *(a + b for a, b in zip(one[5:], two[5:], strict=True))]
