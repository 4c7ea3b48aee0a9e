"""Processes that work side by side: each is given a task, gives back a result, and ends with us; knows no text.

They are programs of their own and not forks or copies of the caller, so a script needs no `if __name__` around it, and
nothing that it has loaded is loaded again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from fabula import errors
from fabula.errors import FabulaError
from fabula.store.messages import receive, send

Work = Mapping[str, Callable[..., Any]]
"""What can be done, by name."""

Task = tuple[str, tuple[Any, ...]]
"""A name and arguments."""

_CODE = "from fabula.store.worker import main; main()"
_ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


class Pool:
    """So many processes, started when they are first needed; with one, all is done in this one unless `apart`."""

    def __init__(self, processes: int, work: Work, *, apart: bool = False, threads: bool = False) -> None:
        self._work = work
        self._inside = processes <= 1 and not apart
        self._count = processes
        self._threads = threads
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Pool:
        """Nothing is started yet."""
        return self

    def __exit__(self, *raised: object) -> None:
        """End them, whatever they do."""
        for process in self._processes:
            with suppress(OSError):
                process.kill()
        for _ in self._processes:
            self._tasks.put(None)
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    if pipe:
                        pipe.close()
        self._processes.clear()

    def run(self, tasks: Iterable[Task]) -> Iterator[Any]:
        """The results in the order in which they come; no more tasks are made than are worked on and one more.

        Errors: those of the work that are a `FabulaError` or an `OSError`; FabulaError when a process has ended.
        """
        if self._inside:
            for name, arguments in tasks:
                yield self._work[name](*arguments)
            return
        begun = 0
        for task in tasks:
            if len(self._processes) < self._count and begun >= len(self._processes):
                self._start()
            self._tasks.put(task)
            begun += 1
            if begun > self._count:
                yield self._next()
                begun -= 1
        for _ in range(begun):
            yield self._next()

    def _next(self) -> Any:  # noqa: ANN401 - whatever the work gives back
        kind, value = self._results.get()
        if kind == "done":
            return value
        if kind == "os":
            raise OSError(*value)
        if kind == "lost":
            raise FabulaError("a process that read the text has ended (out of memory?): give fewer --processes")
        raised = getattr(errors, kind, None)
        failure = FabulaError.__new__(raised if isinstance(raised, type) else FabulaError)
        failure.args = (value,)
        raise failure

    def _start(self) -> None:
        alone = {} if self._threads else {**_ALONE, "TOKENIZERS_PARALLELISM": "false"}
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **alone, "PYTHONPATH": paths},
        )
        self._processes.append(process)
        threading.Thread(target=self._serve, args=(process,), daemon=True).start()

    def _serve(self, process: subprocess.Popen[bytes]) -> None:
        """Give one process its tasks and take its results."""
        assert process.stdin
        assert process.stdout
        while (task := self._tasks.get()) is not None:
            try:
                send(process.stdin, task)
                kind, value = receive(process.stdout)
                self._results.put((kind, value))
            except (OSError, EOFError, ValueError):
                self._results.put(("lost", None))
                return
