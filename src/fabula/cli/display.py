"""How a training looks on a terminal: a bar with the time left, a line for every measurement, the stories told."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from fabula import cli, rounding
from fabula.events import Began, Evaluated, Event, Foretold, Saved, Stepped, Warned

if TYPE_CHECKING:
    from fabula.outcome import Outcome

REFRESH = 0.1
"""Seconds between two looks at the bar."""


class Display:
    """Listens to a training; a bar only on a terminal, plain lines elsewhere, nothing when quiet."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._began: Began | None = None
        self._first: Stepped | None = None
        self._shown = 0.0
        self._tokens = 0
        self._held_out = ""
        self._way = ""
        """Which of two models learns."""

    def __enter__(self) -> Self:
        """Start; the bar itself appears with the first step."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        if self._bar:
            self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Listen."""
        if self._quiet:
            return
        match event:
            case Began():
                self._begin(event)
            case Stepped():
                self._step(event)
            case Evaluated():
                self._measure(event)
            case Saved():
                self._say(f"saved step {event.step:,}", "dim")
            case Warned():
                self._say(event.message, "yellow")
            case Foretold():
                told, times = event.forecast, f"{event.epochs:.1f}"
                figures = f"{told.bits_per_byte:.2f} bits/byte at the end ({told.low:.2f} to {told.high:.2f})"
                self._say(f"forecast: {figures}, the text read {times} times (dropout {event.dropout:g})", "dim")

    def tell(self, prompt: str, text: str) -> None:
        """A story told on the way."""
        if not self._quiet:
            story = Text("  ")
            story.append(cli.visible(prompt).replace("\n", " "), style="bold cyan")
            story.append(cli.visible(text).replace("\n", " "), style="cyan")
            self._console.print(story)

    def conclude(self, outcome: Outcome) -> None:
        """The last lines: what came of it and what to do next."""
        if self._quiet:
            return
        both = self._began is not None and self._began.settings.training.both_ways
        self._sum_up(outcome, "forward, " if both else "")
        if outcome.backward:
            self._sum_up(outcome.backward, "backward, ")
        name = str(outcome.folder)
        if outcome.interrupted:
            self._say(f"saved; go on with: fabula train --resume {name}", "bold")
        prompt, end = (self._began.opening, self._began.closing) if self._began else ("Once upon a time", "")
        towards = f' --end "{cli.visible(end)}"' if outcome.backward else ""
        self._say(f'next: fabula write {name} -p "{cli.visible(prompt)}"{towards}', "bold")

    def _sum_up(self, outcome: Outcome, which: str) -> None:
        """What came of one model, and how it stands beside others."""
        held_out = outcome.held_out
        figure = f"{held_out.bits_per_byte:.3f} bits per byte on held-out text" if held_out else (
            f"{outcome.train_accuracy:.1%} of its own text known by heart; nothing was held out to judge it by"
        )  # fmt: skip
        self._say(f"{which}{outcome.stopped}: {outcome.steps:,} steps in {outcome.seconds:.1f} s, {figure}", "bold")
        if held_out and outcome.baseline:
            gain = outcome.baseline - held_out.bits_per_byte
            verdict = f"beaten by {gain:.3f}" if gain > 0 else f"not beaten: better by {-gain:.3f}; give it more time"
            both = f"; both mixed: {outcome.mixture:.3f}" if outcome.mixture else ""
            self._say(f"an n-gram model of the same units: {outcome.baseline:.3f}, {verdict}{both}", "bold")
        if held_out and (told := outcome.forecast):
            inside = "inside" if told.low <= held_out.bits_per_byte <= told.high else "outside"
            self._say(f"forecast: {told.bits_per_byte:.2f} ({told.low:.2f} to {told.high:.2f}): {inside}", "bold")
        if outcome.old_held_out and outcome.old_held_out_before:
            lost = outcome.old_held_out - outcome.old_held_out_before
            verdict = f"{lost:.3f} forgotten" if lost > 0 else f"{-lost:.3f} gained"
            before = f"{outcome.old_held_out_before:.3f} before"
            self._say(f"on what the old model kept aside: {outcome.old_held_out:.3f}, {before}: {verdict}", "bold")
        if outcome.int8_cost is not None:
            chosen = "writes in int8" if rounding.choose("auto", outcome.to_json()) == "int8" else "writes in fp32"
            self._say(f"{chosen}: whole numbers cost {outcome.int8_cost:+.2%} of the held-out loss", "dim")

    @property
    def _unit(self) -> str:
        return self._began.tokenizer.unit if self._began else "units"

    def _begin(self, event: Began) -> None:
        self._began, self._first, self._held_out, self._tokens = event, None, "", 0
        self._way = ("backward  " if event.backward else "forward  ") if event.settings.training.both_ways else ""
        for note in event.notes:
            self._say(note, "dim")
        self._say(f"{event.parameters:,} parameters, {event.precision}, into {event.folder}", "dim")
        if self._bar:
            self._bar.stop()
        if self._console.is_terminal:
            columns = (
                TextColumn(f"learning {self._way}".rstrip()),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}% {task.fields[facts]}"),
            )
            self._bar = Progress(*columns, console=self._console, transient=True, auto_refresh=False)
            self._task = self._bar.add_task("learning", total=1.0, facts="")
            self._bar.start()

    def _step(self, event: Stepped) -> None:
        if self._bar is None or self._task is None:
            return
        self._tokens += event.tokens
        self._first = self._first or event
        passed = event.seconds - self._shown
        if passed < REFRESH:
            return
        speed = f"{self._tokens / passed:,.0f} {self._unit}/s"
        self._shown, self._tokens = event.seconds, 0
        pace = (event.progress - self._first.progress) / max(event.seconds - self._first.seconds, 1e-9)
        left = (1 - event.progress) / pace if pace else 0.0
        facts = "  ".join(filter(None, (f"loss {event.loss:.2f}", self._held_out, speed, f"{clock(left)} left")))
        self._bar.update(self._task, completed=event.progress, facts=facts, refresh=True)

    def _measure(self, event: Evaluated) -> None:
        parts = [f"{self._way}step {event.step:>6,}", f"loss {event.loss:.3f}", f"accuracy {event.accuracy:.1%}"]
        if event.held_out:
            self._held_out = f"held-out {event.held_out.bits_per_byte:.3f} bits/byte"
            parts.append(self._held_out + (" *" if event.best else ""))
        parts += [f"{event.tokens_per_second:,.0f} {self._unit}/s", clock(event.seconds)]
        self._say("  ".join(parts))

    def _say(self, line: str, style: str = "") -> None:
        if not self._quiet:
            self._console.print(Text(cli.visible(line), style=style))


def clock(seconds: float) -> str:
    """Minutes and seconds: 0:07, 12:30, 1:02:03.

    >>> clock(67.2)
    '1:07'
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
