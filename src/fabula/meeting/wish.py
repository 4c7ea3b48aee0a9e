"""What is asked for: a prompt, an end, how far they are apart, and how the units between them are chosen."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np

from fabula.config import SamplingConfig
from fabula.endings import LETTER, kind_of
from fabula.errors import UsageError
from fabula.sampling import FAR
from fabula.storyteller import PROMPT
from fabula.tokens import Tokenizer
from fabula.tokens.symbols import CLOSING

WORDS = 60
"""Words written between prompt and end when nothing is said."""

MOST = 1000
"""Most words that may be asked for."""

END = 1 << 16
"""Most characters of an end."""

DRAFTS = 16
"""Drafts from either side; fewer for many words, and one where nothing is left to chance."""

DRAFTED = 4000
"""Words of all drafts from one side together."""

LEEWAY = 0.1
"""How far the number of words may be from the one asked for, as a share of it."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A text that is wanted between a prompt and an end."""

    how: SamplingConfig
    words: int
    story: int
    prompt: str
    end: str
    tokenizer: Tokenizer
    given: list[int]
    """The prompt in units ..."""
    closing: list[int]
    """... and the end with the space before it."""

    @property
    def space(self) -> str:
        """What stands before the end."""
        return space_before(self.end)

    @property
    def drops_space(self) -> bool:
        """Whether the space that ends the prompt is read with the first word to come."""
        spell = self.tokenizer.spelling
        if not self.given or not self.prompt[-1].isspace() or spell(self.given[-1])[-1:].isspace():
            return False
        return kind_of(self.prompt.rstrip()[-1:]) == LETTER

    @property
    def drafts(self) -> int:
        """How many drafts either side makes."""
        return 1 if self.how.temperature < 1e-6 else max(2, min(DRAFTS, DRAFTED // self.words))

    @property
    def leeway(self) -> float:
        """How many words more or less will do."""
        return max(1.0, LEEWAY * self.words)

    def rngs(self, side: int) -> list[np.random.Generator]:
        """The chances of each draft of a side."""
        return [np.random.default_rng((self.how.seed, self.story, side, number)) for number in range(self.drafts)]

    def repeats(self, units: list[int]) -> bool:
        """Whether a run of `no_repeat` units comes again that the text between, these units, has a part in."""
        size = self.how.no_repeat
        if not size:
            return False
        before, after, seen = self.given[-FAR:], self.closing[:FAR], dict[tuple[int, ...], bool]()
        line, last = [*before, *units, *after], len(before) + len(units)
        for place in range(len(line) - size + 1):
            run, own = tuple(line[place : place + size]), len(before) - size < place < last
            if run in seen and (own or seen[run]):
                return True
            seen[run] = own
        return False


def wish(
    tokenizer: Tokenizer, prompt: str, end: str, *, words: int | None, how: SamplingConfig, story: int = 0
) -> Wish:
    """A wish in the units of a model; errors: UsageError, TextError, UnknownSymbolError."""
    check(prompt, end, words, how)
    return Wish(
        how=how, words=WORDS if words is None else words, story=story, prompt=prompt, end=end, tokenizer=tokenizer,
        given=tokenizer.encode_prompt(prompt).tolist(), closing=tokenizer.encode(space_before(end) + end).tolist(),
    )  # fmt: skip


def check(prompt: str, end: str, words: int | None, how: SamplingConfig) -> None:
    """Errors: UsageError for what cannot be joined."""
    if not end.strip():
        raise UsageError("an end must be a text to end with, got an empty one: leave it out")
    if len(end) > END:
        raise UsageError(f"an end must have at most {END:,} characters, got {len(end):,}: give its first part")
    if len(prompt) > PROMPT:
        raise UsageError(f"a prompt must have at most {PROMPT:,} characters, got {len(prompt):,}: give its last part")
    odd = next((one for one in end if unicodedata.category(one) == "Cc" and one not in "\r\n\t"), None)
    if odd is not None:
        raise UsageError(f"an end must be a text to read, got the control character U+{ord(odd):04X} in it")
    if words is not None and not 1 <= words <= MOST:
        raise UsageError(f"words before a given end must be between 1 and {MOST:,}, got {words}")
    if how.dry or how.repetition_penalty != 1:
        name = "dry" if how.dry else "repetition_penalty"
        raise UsageError(
            f"{name} looks back along a story, but one with a given end is told from both sides: leave it out, or "
            "rule out what comes twice by no_repeat"
        )


def space_before(end: str) -> str:
    """What stands between a text and the end that follows it.

    >>> space_before("And so"), space_before(", and so"), space_before("\\nAnd so"), space_before("于是")
    (' ', '', '', '')
    """
    return " " if kind_of(end[0]) == LETTER and not CLOSING.match(end) else ""
