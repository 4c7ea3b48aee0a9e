"""Continuous batching: one thread steps all stories of one model side by side; they join and leave between steps.

Knows no HTTP. A story's text hangs on no neighbour, for the engine's rows never mix. Prompts are read in short parts
between the steps, so that a long one holds nobody up.

Legend: B rows, T time, H hidden units, V vocabulary, W window.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np

from fabula.engine import Floats, State
from fabula.serve.jobs import Job, Load, Queue, Seat
from fabula.serve.limits import Limits
from fabula.serve.mailbox import Mailbox, hand_over
from fabula.serve.refusals import busy, failed, unable
from fabula.serve.rows import Piece, Row
from fabula.storyteller import Storyteller

PART = 0.008
"""Seconds that reading one part of a prompt should take."""

PARTS = (4, 4096)
"""Fewest and most units of a part."""

POLL = 0.02
"""Seconds between two looks at clients that read slowly."""

LOOK = 0.1
"""Seconds between two looks at the prompts that wait."""

ENDED = "the server is shutting down"

_LOG = logging.getLogger("fabula.serve")


class Scheduler:
    """Writes the stories of all requests to one model, in a thread of its own."""

    def __init__(self, teller: Storyteller, limits: Limits) -> None:
        self.load = Load()
        self._teller, self._engine, self._limits = teller, teller.engine, limits
        self._window = teller.settings.model.window
        self._lock = threading.Condition()
        self._queue = Queue()
        self._ready: deque[Seat] = deque()  # rows that wait for a place
        self._parked: list[Seat] = []  # rows whose clients read slowly
        self._batch: list[tuple[Row, Job]] = []
        self._state = self._engine.initial_state(0)  # of the batch (B, H)
        self._part, self._parts, self._last_step, self._looked = 32, 0, 0.0, 0.0
        self._beat, self._working, self._ends = time.monotonic(), False, float("inf")
        self._out: list[tuple[Mailbox, Piece]] = []
        self._thread = threading.Thread(target=self._work, name="fabula-engine", daemon=True)

    def start(self) -> None:
        """Take a first step, so that no request pays for it, and begin."""
        end = self._teller.tokenizer.end
        self._foretell([end], [[end] * self._window], self._engine.read(np.array([[end]]), self._fresh()))
        self._thread.start()

    def submit(self, jobs: Sequence[Job]) -> None:
        """Write some stories; their pieces go to the mailboxes. Errors: Refusal when too much waits, or none can be."""
        if (trouble := self.trouble) is not None:
            raise unable(f"the engine is {trouble}")
        count, units = sum(job.weight for job in jobs), sum(job.weight * len(job.units) for job in jobs)
        with self._lock:
            if self._ends < float("inf"):
                raise unable(ENDED)
            if self.waiting + count > self._limits.queue or self._queue.units + units > self._limits.waiting:
                raise busy()
            for job in jobs:
                self._queue.add(job)
            self._lock.notify()

    def forget(self, mailbox: Mailbox) -> None:
        """Nobody waits for these stories any more."""
        mailbox.close()
        with self._lock:
            for job in self._queue:
                if job.mailbox is mailbox:
                    self._queue.take(job)
            self._lock.notify()

    def end(self, seconds: float) -> None:
        """Take no more stories, and end those that are not over in so many seconds."""
        with self._lock:
            self._ends = min(self._ends, time.monotonic() + seconds)
            self._lock.notify()

    @property
    def trouble(self) -> str | None:
        """`dead` or `stuck`, None while all is well."""
        if not self._thread.is_alive():
            return "dead" if self._ends == float("inf") else None
        return "stuck" if self._working and time.monotonic() - self._beat > self._limits.stuck else None

    @property
    def running(self) -> int:
        """Rows that are being written."""
        return len(self._batch) + len(self._parked)

    @property
    def waiting(self) -> int:
        """Stories that wait to be begun."""
        return self._queue.stories + len(self._ready)

    # --- the thread ------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while True:
                with self._lock:
                    self._working = False
                    while not (self._queue or self._ready or self._batch or self._parked):
                        if self._ends < float("inf"):
                            return  # the model goes with its thread
                        self._lock.wait()
                    if not (self._queue or self._ready or self._batch):
                        self._lock.wait(POLL)
                self._beat, self._working = time.monotonic(), True
                self._cycle()
                self._deliver()
        finally:  # what ends a thread is no fault of one request: all hear of it
            seats = [*self._ready, *self._parked]
            jobs = [*self._queue, *(seat.job for seat in seats), *(job for _, job in self._batch)]
            self._out += [(mailbox, Piece(0, failure=unable("the engine is dead"))) for mailbox in _boxes(jobs)]
            self._deliver()

    def _cycle(self) -> None:
        """Look after those who left or must end, read a little, and take one step."""
        self._sweep()
        self._read()
        self._join()
        if self._batch:
            self._step()

    def _sweep(self) -> None:
        """Drop what nobody reads any more, end what has no time left, and set slow readers' stories aside."""
        now = time.monotonic()
        if now - self._looked > LOOK:
            self._looked = now
            for job in self._queue:
                if now > min(job.deadline, self._ends) and self._take(job):
                    ended = now > self._ends
                    self._post(job.mailbox, Piece(0, failure=unable(ENDED) if ended else busy()))
        self._ready = deque(seat for seat in self._ready if self._keep(seat, now))
        parked = [seat for seat in self._parked if self._keep(seat, now)]
        self._ready.extendleft(seat for seat in parked if not seat.job.mailbox.full)
        self._parked = [seat for seat in parked if seat.job.mailbox.full]
        going = []
        for place, (row, job) in enumerate(self._batch):
            if not self._keep(Seat(row, job, self._state), now, place):
                continue
            if job.mailbox.full:
                self._parked.append(Seat(row, job, _some(self._state, [place])))
            else:
                going.append(place)
        self._hold(going)

    def _keep(self, seat: Seat, now: float, place: int = 0) -> bool:
        """Whether the row at a place of some goes on; the client of one that has no time left hears of it."""
        row, job, state = seat
        if not job.mailbox.closed and now > min(job.deadline, self._ends):
            self._post(job.mailbox, job.told(row.cut(), state, place))
            return False
        return not job.mailbox.closed

    def _read(self) -> None:
        """Read prompts for about as long as a step takes, as long as there is room for their stories."""
        until = time.perf_counter() + max(PART, self._last_step)
        while len(self._batch) + len(self._ready) < self._limits.rows and time.perf_counter() < until:
            with self._lock:
                if not self._queue:
                    return
                # The short ones go first, so that a long one holds nobody up; every other part is for the oldest.
                self._parts += 1
                job = self._queue.next(oldest=self._parts % 2 == 0)
            self._beat = time.monotonic()
            try:
                done = self._window or job.judged is not None or self._read_part(job)
            except Exception as error:  # noqa: BLE001 - no memory, for instance: the next prompt may be luckier
                self._take(job)
                self._fail([job], error)
                continue
            if done and self._take(job):
                rows = [job.judged] if job.judged is not None and not job.judged.over else job.stories
                self._ready.extend(Seat(row, job, job.state or self._fresh()) for row in rows)

    def _read_part(self, job: Job) -> bool:
        """One part of a prompt, all of whose units but the last are read; whether that was the last part."""
        job.state = job.state or self._fresh()
        part = np.array([job.units[job.read : min(job.read + self._part, len(job.units) - 1)]], np.int64)  # (1, T)
        if part.size:
            began = time.perf_counter()
            job.state = self._engine.read(part, job.state)
            job.read += part.size
            self.load.read += part.size
            pace = PART / max(1e-6, time.perf_counter() - began)
            if part.size == self._part:
                self._part = int(np.clip(self._part * min(2.0, max(0.5, pace)), *PARTS))
        return job.read >= len(job.units) - 1

    def _join(self) -> None:
        """Those who wait take the free places."""
        new = [self._ready.popleft() for _ in range(min(len(self._ready), self._limits.rows - len(self._batch)))]
        if new:
            self._batch += [(seat.row, seat.job) for seat in new]
            parts = [self._state, *(seat.state for seat in new)]
            self._state = tuple(np.concatenate(memories) for memories in zip(*parts, strict=True))

    def _step(self) -> None:
        """One unit more for every row."""
        began = time.perf_counter()
        windows = [row.window(self._window) for row, _ in self._batch] if self._window else []
        try:
            scores, self._state = self._foretell([row.latest for row, _ in self._batch], windows, self._state)
        except Exception as error:  # noqa: BLE001 - as above: those who come later may be luckier
            self._fail([job for _, job in self._batch], error)
            self._hold([])
            return
        going: list[int] = []
        for place, (row, job) in enumerate(self._batch):
            self._beat = time.monotonic()
            try:
                piece = row.feed(scores[place])
            except Exception as error:  # noqa: BLE001 - one story, and not its neighbours
                self._fail([job], error)
                continue
            if piece is not None:
                self._post(job.mailbox, job.told(piece, self._state, place) if row.over else piece)
            if not row.over:
                going.append(place)
            elif row is job.judged:
                self._ready.extend(Seat(story, job, _some(self._state, [place])) for story in job.stories)
        self._last_step = time.perf_counter() - began
        self.load.steps += 1
        self.load.tokens += len(self._batch)
        self.load.seconds += self._last_step
        self._hold(going)

    def _foretell(self, latest: list[int], windows: list[list[int]], state: State) -> tuple[Floats, State]:
        """What comes after the latest units of all rows: log-probabilities (B, V) and the new state."""
        if not self._window:
            return self._engine.step(np.array(latest, np.int64), state)
        read = np.array(windows, np.int64)  # (B, W)
        scores, _ = self._engine.step(
            read[:, -1], self._engine.read(read[:, :-1], self._engine.initial_state(len(read)))
        )
        return scores, state

    def _fresh(self) -> State:
        return self._engine.initial_state(1)

    def _hold(self, going: list[int]) -> None:
        """Keep these rows of the batch."""
        if len(going) < len(self._batch):
            self._batch, self._state = [self._batch[place] for place in going], _some(self._state, going)

    def _take(self, job: Job) -> bool:
        """A prompt leaves the queue; whether it was still there."""
        with self._lock:
            return self._queue.take(job)

    def _fail(self, jobs: Iterable[Job], error: Exception) -> None:
        """Stories end by a fault of ours, of which only its kind is told: its words may hold what a client wrote."""
        self.load.failures += 1
        _LOG.error("a story failed: %s", type(error).__name__)
        for mailbox in _boxes(jobs):
            self._post(mailbox, Piece(0, failure=failed()))

    def _post(self, mailbox: Mailbox, piece: Piece) -> None:
        mailbox.count()
        self._out.append((mailbox, piece))

    def _deliver(self) -> None:
        """Hand over all pieces of a cycle at once."""
        if self._out:
            out, self._out = self._out, list[tuple[Mailbox, Piece]]()
            try:
                out[0][0].loop.call_soon_threadsafe(hand_over, out)
            except RuntimeError:  # the loop is closed: nobody is there any more
                return


def _some(state: State, rows: list[int]) -> State:
    return tuple(memory[rows] for memory in state)


def _boxes(jobs: Iterable[Job]) -> set[Mailbox]:
    return {job.mailbox for job in jobs}
