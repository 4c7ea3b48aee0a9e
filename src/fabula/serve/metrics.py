"""What can be measured of a running server, for Prometheus; labels come from our own names, never from a request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from fabula.serve.scheduler import Scheduler

OTHER = "other"
"""The label of a path that is none of ours."""


class Metrics:
    """Counts requests, and asks the schedulers how they are when it is asked."""

    def __init__(self, schedulers: Mapping[str, Scheduler]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Engines(schedulers))
        self._requests = Counter(
            "fabula_requests", "Requests answered.", ["route", "method", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "fabula_request_seconds", "From a request to the end of its answer.", ["route"], registry=self._registry,
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300),
        )  # fmt: skip
        self._open = Gauge("fabula_requests_open", "Requests being answered.", registry=self._registry)
        tasks = Gauge("fabula_tasks", "Tasks of the event loop.", registry=self._registry)
        tasks.set_function(lambda: len(asyncio.all_tasks()))

    @contextmanager
    def request(self) -> Generator[Callable[[Scope, int], None]]:
        """Count one request; call what it gives at the end, with the scope and the status that was sent."""
        began = time.perf_counter()
        self._open.inc()

        def done(scope: Scope, status: int) -> None:
            route = getattr(scope.get("route"), "path", OTHER)
            method = scope["method"] if scope["method"] in {"GET", "POST", "HEAD", "OPTIONS"} else OTHER
            self._requests.labels(route, method, str(status or OTHER)).inc()
            self._seconds.labels(route).observe(time.perf_counter() - began)

        try:
            yield done
        finally:
            self._open.dec()

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)


class _Engines(Collector):
    """How the engines are at the moment when it is asked."""

    def __init__(self, schedulers: Mapping[str, Scheduler]) -> None:
        self._schedulers = schedulers

    def collect(self) -> Iterator[Metric]:
        """One family a figure, one sample a model."""
        gauges: dict[str, tuple[str, Callable[[Scheduler], float]]] = {
            "fabula_engine_up": ("Whether the engine steps or could.", lambda one: one.trouble is None),
            "fabula_stories_running": ("Stories being written.", lambda one: one.running),
            "fabula_stories_waiting": ("Stories that wait to be begun.", lambda one: one.waiting),
        }
        counters: dict[str, tuple[str, Callable[[Scheduler], float]]] = {
            "fabula_units_written": ("Units written.", lambda one: one.load.tokens),
            "fabula_units_read": ("Units of prompts read.", lambda one: one.load.read),
            "fabula_steps": ("Steps of the engine.", lambda one: one.load.steps),
            "fabula_step_seconds": ("Seconds spent in steps.", lambda one: one.load.seconds),
            "fabula_failures": ("Stories that ended by a fault.", lambda one: one.load.failures),
        }
        for kind, figures in ((GaugeMetricFamily, gauges), (CounterMetricFamily, counters)):
            for name, (about, value) in figures.items():
                family = kind(name, about, labels=["model"])
                for model, scheduler in list(self._schedulers.items()):
                    family.add_metric([model], float(value(scheduler)))
                yield family
