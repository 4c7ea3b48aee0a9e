"""What is kept and told of a training on the way: metrics.jsonl, and a story at every measurement in samples.jsonl.

The place where learning and writing meet while both are under way: it listens to the one and asks the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fabula import folder
from fabula.config import SamplingConfig
from fabula.events import Began, Evaluated, Event
from fabula.meeting import tell_backwards
from fabula.storyteller import Storyteller

WORDS, HOW = 40, {"temperature": 0.6, "seed": 1}


_log = logging.getLogger(__name__)


class Lines:
    """Lines of a file in a model folder; what a disk refuses is kept, and tried again with the next."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._waiting: list[Mapping[str, Any]] = []

    def add(self, path: Path, record: Mapping[str, Any]) -> None:
        """Write a line and those that could not be written before; what cannot be written costs no training."""
        self._waiting.append(record)
        try:
            while self._waiting:
                folder.append(path, self._name, self._waiting[0])
                del self._waiting[0]
        except OSError as error:
            _log.warning("%s could not be written (%s): tried again with its next line", self._name, error.strerror)


class Journal:
    """Writes one line of metrics.jsonl for every measurement."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._lines = Lines("metrics.jsonl")

    def __call__(self, event: Event) -> None:
        """Listen."""
        if isinstance(event, Began):
            self._folder, self._lines = event.folder, Lines("metrics.jsonl")
        elif isinstance(event, Evaluated) and self._folder:
            self._lines.add(self._folder, event.to_json())


class Narrator:
    """Tells the same beginning with the same seed at every measurement, so that one sees it learn.

    One that reads from the end tells how it came to the same closing words.
    """

    def __init__(self, show: Callable[[str, str], None] | None = None, prompt: str | None = None) -> None:
        """`show(prompt, text)` is called with every story told; `prompt` replaces the opening of the text."""
        self._began: Began | None = None
        self._show, self._prompt = show, prompt
        self._lines = Lines("samples.jsonl")

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
            self._lines.add(began.folder, record)
            if self._show:
                self._show(prompt, text)
