"""What must hold of a text between a prompt and an end: judged by its words, whoever told which; knows no network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fabula.config import SamplingConfig
from fabula.endings import WORD, kind_of
from fabula.engine import Floats
from fabula.meeting.drafts import Draft
from fabula.novelty import LONG, SHORTEST, Copied, Index
from fabula.text import word_spans, words_of

WIDTH = 32
"""Characters of a word, more than enough to find some words at the beginning of a text."""


class Rules:
    """What a text must keep to between a prompt and an end; what these two say themselves is no fault of it."""

    def __init__(self, how: SamplingConfig, *, prompt: str, end: str, index: Index | None) -> None:
        self._letters = frozenset(how.ban_letters.casefold())
        self._banned = {tuple(words_of(phrase)) for phrase in how.ban} - {()}
        self._required = [tuple(words_of(text)) for text in how.require]
        self._most, self._index = how.max_copy, index
        self._reach = max([(how.max_copy or 0) + 1, *map(len, self._banned)])
        before, after = list(word_spans(prompt)), list(word_spans(end))
        self._before = prompt[before[-self._reach :][0][0] :] if before else ""
        self._after = end[: after[: self._reach][-1][1]] if after else end

    def says(self, text: str) -> list[bool]:
        """Which of the required phrases a part of a text says."""
        own = words_of(text) if self._required else []
        return [any(_at(own, place, phrase) for place in range(len(own))) for phrase in self._required]

    def hold(self, text: str) -> bool:
        """Whether a text keeps them all."""
        if not self._letters.isdisjoint(text.casefold()):
            return False
        if not (self._banned or self._required or self._most):
            return True
        first, last = len(self._before), len(self._before) + len(text)
        spans = list(word_spans(self._before + text + self._after))
        words = [word for _, _, word in spans]
        inside = [end > first and start < last for start, end, _ in spans]
        own = words[sum(end <= first for _, end, _ in spans) : sum(start < last for start, _, _ in spans)]
        said = all(any(_at(own, place, phrase) for place in range(len(own))) for phrase in self._required)
        return said and self._harmless(words, inside)

    def allows_before(self, piece: str, text: str) -> bool:
        """Whether a piece may come before a text that the end follows; a word counts once, when it is complete."""
        if not self._letters.isdisjoint(piece.casefold()):
            return False
        if not (self._banned or self._most):
            return True
        text = piece + text[: WIDTH * (self._reach + 1)]
        spans = list(word_spans(text + self._after))
        if spans and spans[0][0] == 0 and kind_of(text[:1] or " ") != WORD:
            spans.pop(0)  # it may go on to the left
        if not spans or spans[0][0] > len(piece):
            return True
        fresh = [start <= len(piece) and start < len(text) for start, _, _ in spans]
        return self._harmless([word for _, _, word in spans], fresh)

    def _harmless(self, words: Sequence[str], inside: Sequence[bool]) -> bool:
        """Whether nothing banned and no long copy reaches into what is `inside`."""
        for phrase in self._banned:
            size = len(phrase)
            if any(_at(words, place, phrase) and any(inside[place : place + size]) for place in range(len(words))):
                return False
        if self._most is None or self._index is None:
            return True
        runs = self._index.copied(words).runs
        return not any(run.length > self._most and any(inside[run.start :][: run.length]) for run in runs)


def _at(words: Sequence[str], place: int, phrase: tuple[str, ...]) -> bool:
    return tuple(words[place : place + len(phrase)]) == phrase


def copies(index: Index, prompt: str, text: str, end: str) -> Copied:
    """What a text between a prompt and an end has from the source; its runs may begin in the one and end in the other.

    The shares are those of its own words.
    """
    first, last = len(prompt), len(prompt) + len(text)
    spans = list(word_spans(prompt + text + end))
    inside = np.array([stop > first and start < last for start, stop, _ in spans], bool)
    copied, deep, longest = np.zeros(len(spans), bool), np.zeros(len(spans), bool), 0
    for run in index.copied([word for _, _, word in spans]).runs:
        part = slice(run.start, run.start + run.length)
        copied[part] |= run.length >= SHORTEST
        deep[part] |= run.length >= LONG
        longest = max(longest, run.length if inside[part].any() else 0)
    share, long_share = (float(marked[inside].mean()) if inside.any() else 0.0 for marked in (copied, deep))
    return Copied((), share, longest, long_share)


class FromEnd:
    """The rules as a guide of a draft that is told from the end."""

    def __init__(self, rules: Rules, draft: Draft) -> None:
        self._rules, self._draft = rules, draft

    def allows(self, unit: int) -> bool:
        """Whether a unit may come before what the draft says."""
        return self._rules.allows_before(self._draft.piece(unit)[0], self._draft.text)

    def instead(self, unit: int, scores: Floats, told: int) -> list[int]:  # noqa: ARG002
        """What was drawn comes."""
        return []

    def take(self, unit: int) -> None:
        """The draft knows."""
