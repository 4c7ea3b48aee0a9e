"""A full account of a library: what is in it, what is wrong with it, what to do with it; prints nothing."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import PurePath

import numpy as np

from fabula.text.advice import hope_for, recommend_unit
from fabula.text.boilerplate import Finding, find_boilerplate
from fabula.text.counting import count_words, words_of
from fabula.text.duplicates import find_duplicates
from fabula.text.files import Source
from fabula.text.languages import guess_language
from fabula.text.library import Library
from fabula.text.scripts import NAMES, code_points, script_numbers
from fabula.text.stories import Story

_EXAMPLES = 5


@dataclass(frozen=True)
class Likeness:
    """Two stories that are nearly the same."""

    one: str
    other: str
    likeness: float
    """Estimated share of their word runs that they have in common."""


@dataclass(frozen=True)
class Autopsy:
    """What is known about a library; lengths are words as `count_words` counts them."""

    sources: tuple[Source, ...]
    how: str
    notes: tuple[str, ...]
    stories: int
    shortest: int
    median: float
    longest: int
    bytes: int
    """Of all stories as UTF-8."""
    characters: int
    words: int
    distinct_words: int
    """Different words, case and punctuation aside."""
    scripts: dict[str, float]
    """Shares of the letters, the largest first."""
    language: str
    exact_duplicates: int
    """Stories that are copies of an earlier one."""
    near_duplicates: int
    """Pairs of stories that are nearly the same."""
    likenesses: tuple[Likeness, ...]
    """The most alike of these pairs."""
    boilerplate: tuple[Finding, ...]
    unit: str
    unit_reason: str
    hope: str

    def to_json(self) -> dict[str, object]:
        """Plain lists, dicts, texts and numbers."""
        return asdict(self)


def inspect_library(library: Library) -> Autopsy:
    """Looks at every story of a library; seconds for 10 MB or 10,000 stories."""
    texts = [story.text for story in library.stories]
    lengths = [count_words(text) for text in texts]
    scripts = _script_shares(texts)
    duplicates = find_duplicates(texts)
    unit, reason = recommend_unit(library)
    return Autopsy(
        sources=library.documents,
        how=library.how,
        notes=library.notes,
        stories=len(texts),
        shortest=min(lengths),
        median=statistics.median(lengths),
        longest=max(lengths),
        bytes=sum(len(text.encode()) for text in texts),
        characters=sum(map(len, texts)),
        words=sum(lengths),
        distinct_words=len({word for text in texts for word in words_of(text)}),
        scripts=scripts,
        language=guess_language(library.opening(), scripts),
        exact_duplicates=len(duplicates.exact),
        near_duplicates=len(duplicates.near),
        likenesses=tuple(
            Likeness(_label(library.stories[a], a), _label(library.stories[b], b), round(likeness, 2))
            for a, b, likeness in duplicates.near[:_EXAMPLES]
        ),
        boilerplate=tuple(find_boilerplate(texts)),
        unit=unit,
        unit_reason=reason,
        hope=hope_for(sum(lengths)),
    )


def _script_shares(texts: list[str]) -> dict[str, float]:
    """Shares of the scripts over all texts, story by story so that nothing large is copied."""
    counts = np.zeros(len(NAMES), dtype=np.int64)
    for text in texts:
        counts += np.bincount(script_numbers(code_points(text)), minlength=len(NAMES))
    letters = Counter({name: int(count) for name, count in zip(NAMES, counts, strict=True) if name and count})
    return {name: count / letters.total() for name, count in letters.most_common()}


def _label(story: Story, place: int) -> str:
    """How a story is called: by its title, else by its number."""
    return f"{story.title or f'story {place + 1:,}'} ({PurePath(story.source).name})"
