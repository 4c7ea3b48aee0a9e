"""Drafts as the page reads them; changes nothing."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from fabula.config import SamplingConfig
from fabula.table import ROOT, Copies, Table

SETTINGS = (
    "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "no_repeat", "dry", "max_copy", "ban",
    "ban_letters", "seed",
)  # fmt: skip
"""What of the sampling can be chosen for a draft."""


RUN = 200
"""Characters of a run of words that are shown whole."""


def settings_of(sampling: SamplingConfig) -> dict[str, Any]:
    """The settings that can be chosen."""
    found = dataclasses.asdict(sampling)
    return {name: found[name] for name in SETTINGS}


def word_of(table: Table, number: int, *, copied: bool) -> list[Any]:
    """Number, text, whether it is the writer's, bits, how many ever stood there, whether it is copied."""
    word = table.words[number]
    bits = None if word.nats is None else round(word.nats / math.log(2), 2)
    return [number, word.text, int(word.own), bits, len(table.words[word.parent].children), int(copied)]


def copied_of(copies: Copies | None) -> dict[str, Any] | None:
    """What is copied, and where; None where nobody knows."""
    if copies is None:
        return None
    places = sorted(place - 1 for place in copies.places if place)
    return {"share": round(copies.share, 4), "longest": copies.longest, "places": places}


def tree_of(table: Table) -> list[dict[str, Any]]:
    """The story with all its branches, in runs of words between two forks."""
    path, nodes = set(table.path), list[dict[str, Any]]()
    waiting: list[tuple[int, int | None]] = [(child, None) for child in reversed(table.words[ROOT].children)]
    while waiting:
        word, parent = waiting.pop()
        run = [word]
        while len(children := table.words[run[-1]].children) == 1 and (run[-1] in path) == (children[0] in path):
            run.append(children[0])
        text = "".join(table.words[one].text for one in run)
        nodes.append({
            "id": word, "parent": parent, "text": text if len(text) <= RUN else f"{text[:120]} … {text[-70:]}",
            "words": len(run), "word": run[-1], "on_path": run[-1] in path,
            "own": all(table.words[one].own for one in run),
        })  # fmt: skip
        waiting += [(child, word) for child in reversed(table.words[run[-1]].children)]
    return nodes


def line(text: str, most: int) -> str:
    """One line without characters that cannot be seen."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())[:most]
