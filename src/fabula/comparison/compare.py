"""A text beside its source: what is copied, from where, and how that compares with what people copy; no network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fabula.config import TextConfig
from fabula.errors import TextError
from fabula.novelty import SHORTEST, Copied, Index
from fabula.text import Library, Story, read_library, split, word_spans, words_of

LENGTHS = (SHORTEST, 5, 6, 8, 10, 12, 16, 24, 32)
"""Words in a row for which the share in such runs is told."""


@dataclass(frozen=True)
class Passage:
    """One copied run, and where it stands in the source."""

    start: int
    """Of its first character in the text, and ..."""
    end: int
    """... after its last."""
    words: int
    source: str
    """Path of the file it is from."""
    title: str | None
    """Of the story there."""
    line: int
    """Of that story, 1 for its first."""
    quote: str
    """How the source spells it."""


@dataclass(frozen=True)
class Comparison:
    """What a text has from its source."""

    text: str
    words: int
    passages: tuple[Passage, ...]
    """Every longest run of at least `SHORTEST` words, in the order of the text; they may overlap."""
    longest: int
    shares: dict[int, float]
    """Of the text's words, how many lie in runs of at least so many words."""
    human: dict[int, float] | None
    """The same of stories of the source that were set aside, against all its others; None for a source too short."""
    human_words: int

    def to_json(self) -> dict[str, Any]:
        """What `fabula novelty --json` prints."""
        return dataclasses.asdict(self)


def compare(text: str, paths: Sequence[str | Path], config: TextConfig) -> Comparison:
    """Look for a text's runs of words in files and folders, read as a training reads them.

    Errors: TextError for a source that cannot be read, or a text without words.
    """
    library = read_library(tuple(map(str, paths)), config)
    spans = list(word_spans(text))
    if not spans:
        raise TextError("a story must have words to be compared, got none")
    stories = [words_of(story.text) for story in library.stories]
    found = Index.of(stories).copied([word for _, _, word in spans])
    begins = np.cumsum([0, *map(len, stories)])
    passages = []
    for run in found.runs:
        number = int(begins.searchsorted(run.place, side="right")) - 1
        start, end = spans[run.start][0], spans[run.start + run.length - 1][1]
        source = _passage(library.stories[number], run.place - int(begins[number]), run.length)
        passages.append(Passage(start, end, run.length, *source))
    human, human_words = _by_people(library)
    shares = _shares([found], [len(spans)])
    return Comparison(text, len(spans), tuple(passages), found.longest, shares, human, human_words)


def _passage(story: Story, word: int, length: int) -> tuple[str, str | None, int, str]:
    """File, title, line and spelling of some words of a story."""
    spans = list(word_spans(story.text))
    start, end = spans[word][0], spans[word + length - 1][1]
    return story.source, story.title, story.text.count("\n", 0, start) + 1, story.text[start:end]


def _by_people(library: Library) -> tuple[dict[int, float] | None, int]:
    """The shares of what is set aside of a library against the rest, and how many words that is."""
    parts = split(library)
    if not parts.held_out:
        return None, 0
    index = Index.of(words_of(story.text) for story in parts.train)
    told = [words_of(story.text) for story in parts.held_out]
    return _shares([index.copied(words) for words in told], [len(words) for words in told]), sum(map(len, told))


def _shares(found: Sequence[Copied], words: Sequence[int]) -> dict[int, float]:
    """Of all words, how many lie in runs of at least each of `LENGTHS`."""
    counts = dict.fromkeys(LENGTHS, 0)
    for copied, size in zip(found, words, strict=True):
        longest = np.zeros(size, np.int64)  # of the runs that each word lies in
        for run in copied.runs:
            part = longest[run.start : run.start + run.length]
            np.maximum(part, run.length, out=part)
        for length in LENGTHS:
            counts[length] += int((longest >= length).sum())
    return {length: count / max(1, sum(words)) for length, count in counts.items()}
