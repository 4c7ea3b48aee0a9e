"""Where a story comes from: a label that travels with its text, and the proof that it is true.

A label is one line of JSON in a comment that Markdown and HTML do not show, after the story:

    <!-- fabula {"version": "...", "model": "...", "sha256": "...", "prompt": "...", "story": 0, ...} -->

It names the model by the hash of its network, and holds all that the story hangs on, but not the story itself.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabula.config import SamplingConfig
from fabula.errors import FabulaError, UsageError
from fabula.folder import BACKWARD, fingerprint
from fabula.meeting import Meeting
from fabula.storyteller import Storyteller
from fabula.version import __version__

_LABEL = re.compile(r"\n\n<!-- fabula (\{.*\}) -->\s*\Z")
_FIELDS = {
    "version", "model", "network", "sha256", "prompt", "story", "words", "until", "stop", "sampling", "mixture",
    "precision",
}  # fmt: skip
_END = "end"
"""One field more, of a story that was to end with a given line."""


@dataclass(frozen=True)
class Verdict:
    """What became of checking a label."""

    same: bool
    """The story was written again, bit for bit."""
    why: str
    """One sentence."""
    label: dict[str, Any]


def label(
    folder: str | Path,
    prompt: str,
    text: str,
    story: int,
    options: Mapping[str, Any],
    *,
    mixture: bool = False,
    precision: str = "fp32",
    end: str | None = None,
) -> str:
    """The label of a story that `load(folder).write(prompt, story=story, **options)` told, with the line before it.

    `options` must hold the sampling; `mixture` says whether an n-gram model had its say, `precision` is that
    of the storyteller. With an `end` it is `fabula.meeting.load(folder)` that told it.
    """
    sampling: SamplingConfig = options["sampling"]
    stop = options.get("stop") or ()
    said = {
        "version": __version__,
        "model": str(folder),
        "network": network(folder, both=end is not None),
        "sha256": _hash(prompt + text + (end or "")),
        "prompt": prompt,
        "story": story,
        "words": options.get("words"),
        "until": options.get("until"),
        "stop": [stop] if isinstance(stop, str) else list(stop),
        "sampling": dataclasses.asdict(sampling),
        "mixture": mixture,
        "precision": precision,
        **({} if end is None else {_END: end}),
    }
    # A comment must not end before its time, whatever the prompt says.
    line = json.dumps(said).replace("<", "\\u003c").replace(">", "\\u003e")
    return f"\n\n<!-- fabula {line} -->"


def part(text: str) -> tuple[str, dict[str, Any]]:
    """A labelled text as the story and what its label says; errors: UsageError without a sound label."""
    found = _LABEL.search(text)
    if not found:
        raise UsageError("a labelled story was expected, but no label ends the text: fabula write --label writes one")
    try:
        said = json.loads(found[1])
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or set(said) - {_END} != _FIELDS:
        raise UsageError("the label cannot be read: it was changed, or written by another version of fabula")
    return text[: found.start()], said


def network(folder: str | Path, *, both: bool) -> str:
    """What a label calls the model in a folder: its fingerprint, or those of both that a given end takes."""
    return fingerprint(folder) + (fingerprint(Path(folder) / BACKWARD) if both else "")


def verify(story: str, said: Mapping[str, Any], teller: Storyteller | Meeting, network: str) -> Verdict:
    """Write a story again by its label with a model, which `network` names; with a Meeting where it holds an end.

    Errors: UsageError for a label whose options are none.
    """
    found = dict(said)
    if said["network"] != network:
        return Verdict(same=False, why="the model is not the one that the label names", label=found)
    if said["sha256"] != _hash(story):
        return Verdict(same=False, why="the text was changed after it was written", label=found)
    try:
        told = _told(said, teller)
    except FabulaError:
        raise
    except (TypeError, ValueError, AttributeError):
        raise UsageError("the label cannot be read: its options are none") from None
    if told != story:
        return Verdict(same=False, why="written again, it is another text: the label is not of this story", label=found)
    return Verdict(same=True, why="written again, it is the same bit for bit", label=found)


def _told(said: Mapping[str, Any], teller: Storyteller | Meeting) -> str:
    """The story as it is told now, whole."""
    prompt, story, words, sampling = said["prompt"], said["story"], said["words"], SamplingConfig(**said["sampling"])
    if isinstance(teller, Meeting):
        return prompt + teller.write(prompt, said[_END], story=story, words=words, sampling=sampling).text + said[_END]
    until, stop = said["until"], tuple(said["stop"])
    return prompt + teller.write(prompt, story=story, words=words, until=until, stop=stop, sampling=sampling).text


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
