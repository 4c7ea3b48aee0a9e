"""Several processes that take connections from one socket, under uvicorn's supervisor; knows no model and no route.

The supervisor replaces a worker that died, ends all of them on SIGTERM and SIGINT, and replaces one after another on
SIGHUP. It loads nothing that only a worker needs.
"""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from fabula.errors import FabulaError
from fabula.serve.limits import Limits
from fabula.serve.plan import Plan
from fabula.serve.transport import GRACE, options, protocol

READY = 120.0
"""Seconds in which the first workers must be ready."""

ANSWERS = 10
"""Seconds in which a worker must answer its supervisor: one that is just being started on a busy machine, too."""

LATE = 5.0
"""Seconds beyond all that an ending may take after which a worker is killed."""

_LOG = logging.getLogger("fabula.serve")


class Blueprint(uvicorn.Config):
    """What a worker is made of, as it is sent to it; the house is built where it is used."""

    def __init__(self, plan: Plan, limits: Limits, workers: int) -> None:
        super().__init__("", workers=workers, timeout_worker_healthcheck=ANSWERS, **options(limits))
        self.plan, self.limits = plan, limits
        self.lenient = False
        """Whether a worker begins without a model that it cannot read, as one does that replaces another."""

    def load(self) -> None:
        """Read the models, in the worker."""
        gc.disable()  # nothing of what is imported and read goes away again
        logging.basicConfig(stream=sys.stderr, format="fabula: %(message)s", level=logging.ERROR)
        try:
            house = self.plan.house(_load, lenient=self.lenient)
        except FabulaError:  # which the supervisor finds out and tells once
            sys.exit(STARTUP_FAILURE)
        except Exception as error:  # noqa: BLE001 - whatever it is, it would happen again and again
            _LOG.error("a worker cannot start: %s", type(error).__name__)
            sys.exit(STARTUP_FAILURE)
        from fabula.serve.worker import Life, begin  # noqa: PLC0415 - as all that the supervisor does not need

        begin(house)
        vars(self).update(app=house.app, http=protocol(self.limits, house.end))
        super().load()
        self.lifespan_class = lambda config: Life(house)  # noqa: ARG005 # pyrefly: ignore


class Supervisor(Multiprocess):
    """Uvicorn's own, that says when all are ready, and waits for none of them for ever."""

    def __init__(
        self, plan: Plan, limits: Limits, workers: int, listener: socket.socket, begun: Callable[[], None]
    ) -> None:
        """`begun` is called when all of them answer."""
        self.blueprint = Blueprint(plan, limits, workers)
        super().__init__(self.blueprint, [listener])
        self._limits, self._begun = limits, begun
        self.failed = False
        """Whether one of the first workers could not begin, so that all of them ended."""

    def run(self) -> None:
        """Serve until a signal ends it; whatever goes wrong, no worker stays behind."""
        try:
            super().run()
        except BaseException:
            self.terminate_all()
            self.join_all()
            raise

    def init_processes(self) -> None:
        """Start them, and wait for them."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches them before they listen: we pass it on
        super().init_processes()
        signal.signal(signal.SIGINT, before)
        until = time.monotonic() + READY
        for process in self.processes:
            while not process.is_ready(timeout=0.25):
                self.handle_signals()
                if self.should_exit.is_set():
                    return
                if not process.process.is_alive() or time.monotonic() > until:
                    self.failed = True
                    self.should_exit.set()
                    return
                time.sleep(0.01)
        self.blueprint.lenient = True
        self._begun()

    def restart_all(self) -> None:
        """Replace them one after another, as long as the new ones can begin."""
        before, self.blueprint.lenient = list(self.processes), False
        super().restart_all()
        self.blueprint.lenient = True
        if set(before) & set(self.processes) and not self.should_exit.is_set():
            _LOG.error("a new worker could not begin: the old ones go on")

    def join_all(self) -> None:
        """Wait for them to end; who hangs is killed."""
        until = time.monotonic() + self._limits.farewell + GRACE + LATE
        for process in self.processes:
            process.process.join(max(0.0, until - time.monotonic()))
            if process.process.is_alive():
                process.process.kill()
                process.process.join()


def _load() -> None:
    """What a worker needs besides."""
    from fabula.serve import worker  # noqa: F401, PLC0415
