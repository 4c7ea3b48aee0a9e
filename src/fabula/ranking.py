"""Which of several stories is the best, and why; knows no network and no terminal.

Each story gets four marks from 0 to 1, and their weighted mean:

    fluency   how likely the network finds its units, as its rank among the others
    novelty   what it did not copy: one less the mean of its shares in runs of 4 and of 8 words or more
    variety   of its runs of three words, how many come only once
    ending    1 where it ends with a sentence, else 0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fabula.endings import ends_sentence
from fabula.storyteller import Telling
from fabula.text import words_of

WEIGHTS: Mapping[str, float] = {"fluency": 0.35, "novelty": 0.35, "variety": 0.2, "ending": 0.1}
"""What each mark counts; nobody has measured what people prefer."""

RUN = 3
"""Words in the runs that are counted for variety."""


@dataclass(frozen=True)
class Judged:
    """A story with its marks."""

    story: int
    """Its number: `write(story=...)` tells it again."""
    telling: Telling
    score: float
    marks: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """What `fabula write --best-of` prints of each with `--json`."""
        return {"story": self.story, "score": round(self.score, 4), **_rounded(self.marks), **self.telling.to_json()}


def rank(tellings: Sequence[Telling]) -> list[Judged]:
    """The stories, the best first; of equals the one told first."""
    costs = sorted(telling.nats_per_token for telling in tellings)
    judged = []
    for story, telling in enumerate(tellings):
        worse = sum(cost > telling.nats_per_token for cost in costs)
        marks = {
            "fluency": worse / max(1, len(tellings) - 1),
            "novelty": 1 - ((telling.copied_4 or 0.0) + (telling.copied_8 or 0.0)) / 2,
            "variety": _variety(telling.text),
            "ending": float(ends_sentence(telling.text)),
        }
        score = sum(weight * marks[name] for name, weight in WEIGHTS.items())
        judged.append(Judged(story, telling, score, marks))
    return sorted(judged, key=lambda one: -one.score)


def _variety(text: str) -> float:
    words = words_of(text)
    runs = [tuple(words[place : place + RUN]) for place in range(len(words) - RUN + 1)]
    return len(set(runs)) / len(runs) if runs else 1.0


def _rounded(marks: Mapping[str, float]) -> dict[str, float]:
    return {name: round(mark, 4) for name, mark in marks.items()}


def table(judged: Sequence[Judged], most: int = 5) -> list[str]:
    """The first lines of a ranking, for people."""
    lines = [f"{'story':>5} {'score':>6} " + " ".join(f"{name:>8}" for name in WEIGHTS) + "  begins"]
    for one in judged[:most]:
        marks = " ".join(f"{one.marks[name]:>8.2f}" for name in WEIGHTS)
        lines.append(f"{one.story:>5} {one.score:>6.3f} {marks}  {' '.join(one.telling.text.split())[:40]}")
    return lines
