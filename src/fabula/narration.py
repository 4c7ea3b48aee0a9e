"""What is kept and told of a training on the way: metrics.jsonl, and a story at every measurement in samples.jsonl.

The place where learning and writing meet while both are under way: it listens to the one and asks the other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fabula import folder
from fabula.config import SamplingConfig
from fabula.events import Began, Evaluated, Event
from fabula.meeting import tell_backwards
from fabula.storyteller import Storyteller

WORDS, HOW = 40, {"temperature": 0.6, "seed": 1}


class Journal:
    """Writes one line of metrics.jsonl for every measurement."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def __call__(self, event: Event) -> None:
        """Listen."""
        if isinstance(event, Began):
            self._folder = event.folder
        elif isinstance(event, Evaluated) and self._folder:
            folder.append(self._folder, "metrics.jsonl", event.to_json())


class Narrator:
    """Tells the same beginning with the same seed at every measurement, so that one sees it learn.

    One that reads from the end tells how it came to the same closing words.
    """

    def __init__(self, show: Callable[[str, str], None] | None = None, prompt: str | None = None) -> None:
        """`show(prompt, text)` is called with every story told; `prompt` replaces the opening of the text."""
        self._began: Began | None = None
        self._show, self._prompt = show, prompt

    def __call__(self, event: Event) -> None:
        """Listen."""
        if isinstance(event, Began):
            self._began = event
        elif isinstance(event, Evaluated) and self._began:
            began = self._began
            teller, sampling = Storyteller(began.settings, began.tokenizer, event.weights()), SamplingConfig(**HOW)
            if began.backward:
                prompt, text = "", tell_backwards(teller, began.closing, words=WORDS, sampling=sampling)
            else:
                prompt = began.opening if self._prompt is None else self._prompt
                text = teller.write(prompt, words=WORDS, sampling=sampling).text
            record = {"step": event.step, "seconds": round(event.seconds, 3), "prompt": prompt, "text": text}
            folder.append(began.folder, "samples.jsonl", record)
            if self._show:
                self._show(prompt, text)
