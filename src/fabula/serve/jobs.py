"""What the scheduler writes: prompts with their stories, and how many of them wait; knows no thread and no engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fabula.engine import State
from fabula.serve.mailbox import Mailbox
from fabula.serve.rows import Judged, Piece, Row


@dataclass(eq=False)
class Job:
    """One prompt of a request and the stories that go on from it."""

    mailbox: Mailbox
    units: list[int]
    """An end mark and the prompt; the stories are fed the last of them first."""
    stories: Sequence[Row]
    judged: Judged | None
    deadline: float
    """On the clock of `time.monotonic`."""
    keeps: bool = False
    """Whether what the network remembers at the end of its story is wanted."""
    read: int = 0
    state: State = ()

    def told(self, piece: Piece, state: State, place: int) -> Piece:
        """The last piece of a story, with what the network remembers of it: the row at `place` of (B, H) each."""
        return piece._replace(memory=tuple(memory[[place]] for memory in state)) if self.keeps else piece

    @property
    def weight(self) -> int:
        """Stories, or the one prompt that is judged."""
        return max(1, len(self.stories))


class Seat(NamedTuple):
    """A row with what the network remembers before its latest unit: (1, H) each."""

    row: Row
    job: Job
    state: State


@dataclass
class Load:
    """What was done so far, for those who measure."""

    steps: int = 0
    seconds: float = 0.0
    """Spent in steps."""
    tokens: int = 0
    """Units written."""
    read: int = 0
    """Units of prompts read."""
    failures: int = 0
    """Stories that ended by a fault."""


class Queue:
    """Prompts that are not read yet, the oldest first, and how much that is; the lock is its owner's."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self.stories = self.units = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(tuple(self._jobs))

    def add(self, job: Job) -> None:
        """It waits."""
        self._jobs.append(job)
        self._count(job, 1)

    def next(self, *, oldest: bool) -> Job:
        """Whose prompt is to be read on: the oldest, or the one that is read soonest."""
        return self._jobs[0] if oldest else min(self._jobs, key=lambda job: len(job.units) - job.read)

    def take(self, job: Job) -> bool:
        """It waits no longer; whether it did."""
        if job not in self._jobs:
            return False
        self._jobs.remove(job)
        self._count(job, -1)
        return True

    def _count(self, job: Job, sign: int) -> None:
        self.stories += sign * job.weight
        self.units += sign * job.weight * len(job.units)
