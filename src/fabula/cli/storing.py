"""How the making of a store looks: a bar with the time left on a terminal, a line for each stage elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from fabula.cli.display import clock

if TYPE_CHECKING:
    from fabula.store import Progress as Step

REFRESH = 0.1
"""Seconds between two looks at the bar."""

STAGES = {
    "vocabulary": "learning the vocabulary",
    "storing": "storing",
    "finishing": "leaving out copies",
    "verifying": "verifying",
}


class Storing:
    """Hears how far a store is; says nothing when quiet."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._begun = self._shown = 0.0
        self._before = 0

    def __enter__(self) -> Self:
        """Nothing is shown until there is something to show."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self.close()

    def close(self) -> None:
        """Take the bar away; a later step brings it back."""
        if self._bar:
            self._bar.stop()
        self._bar, self._stage = None, ""

    def __call__(self, step: Step) -> None:
        """Listen."""
        if self._quiet:
            return
        now = time.perf_counter()
        if step.stage != self._stage:
            self._begin(step, now)
        if self._bar is None or self._task is None or now - self._shown < REFRESH:
            return
        self._shown = now
        pace = (step.done - self._before) / max(now - self._begun, 1e-9)
        facts = f"{pace / 1e6:.1f} MB/s" if pace else ""
        if pace and step.total:
            facts += f"  {clock((step.total - step.done) / pace)} left"
        part = step.done / step.total if step.total else None
        self._bar.update(self._task, completed=part or 0.0, facts=facts, refresh=True)
        if step.done == step.total:
            self.close()

    def say(self, line: str, style: str = "") -> None:
        """A line for people."""
        from fabula.cli import visible  # noqa: PLC0415

        if not self._quiet:
            self._console.print(Text(visible(line), style=style))

    def _begin(self, step: Step, now: float) -> None:
        self.close()
        self._stage, self._begun, self._before = step.stage, now, step.done
        name = STAGES[step.stage]
        if not self._console.is_terminal:
            size = f" {step.total / 1e6:,.1f} MB" if step.total and step.stage == "storing" else ""
            self.say(f"{name}{size} ...", "dim")
            return
        columns = (TextColumn(name), BarColumn(), TextColumn("{task.percentage:>3.0f}% {task.fields[facts]}"))
        self._bar = Progress(*columns, console=self._console, transient=True, auto_refresh=False)
        self._task = self._bar.add_task(name, total=1.0, facts="")
        self._bar.start()
