"""A text as the article reads it: symbols between white space, each an integer by frequency. Knows no network."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabula.config import TextConfig
from fabula.errors import TextError, UsageError
from fabula.novelty import Copied, copied
from fabula.streams import Ceiling, ceiling
from fabula.text import read_library
from fabula.text.scripts import script_shares, unspaced_share
from fabula.tokens.symbols import Symbols

FABLE = "belling_the_cat.txt"
TOLD = 32
"""Words that the article lets its network tell."""


@dataclass(frozen=True)
class Material:
    """What is learned by heart: N symbols, V of them different."""

    name: str
    path: Path | str
    symbols: tuple[str, ...]
    vocabulary: tuple[str, ...]
    """By falling frequency, ties by first appearance: the place is the id."""
    ids: NDArray[np.int64]
    """Shape (N,)."""
    spaced: bool
    """Whether people write white space between these symbols."""

    @property
    def is_fable(self) -> bool:
        """Whether it is the article's own text, so that its figures can stand beside ours."""
        return self.name == FABLE and self.symbols == fable().symbols

    def text(self, words: list[str] | tuple[str, ...]) -> str:
        """Symbols as the article prints them."""
        return (" " if self.spaced else "").join(words)

    def encode(self, prompt: str, window: int) -> list[int]:
        """The last `window` symbols of a prompt; errors: UsageError, UnknownSymbolError naming the nearest."""
        words = split(prompt, spaced=self.spaced)
        ids = Symbols(self.vocabulary).encode(" ".join(words)).tolist()
        if len(ids) < window:
            raise UsageError(
                f"a prompt must have at least {window} symbols, as the window has, got {len(ids)}: {prompt!r}"
            )
        return ids[-window:]

    def prompts(self, window: int) -> list[str]:
        """Where the two stories begin: a place of the text, and one word of it again and again.

        Of the fable as in the article: `had a general`, and `mouse mouse mouse`.
        """
        start, word = (self.symbols.index("had"), "mouse") if self.is_fable else (len(self.symbols) // 4, self._hero())
        start = min(start, len(self.symbols) - window)
        return [self.text(self.symbols[start : start + window]), self.text([word] * window)]

    def _hero(self) -> str:
        """The commonest symbol of more than three letters, or of any."""
        least = 4 if self.spaced else 1
        return next((s for s in self.vocabulary if len(s) >= least and s.isalpha()), self.vocabulary[0])

    def ceilings(self, windows: range) -> list[dict[str, float | int]]:
        """The best that anyone can do who sees so many words of this text and no more, counted."""
        ids = [self.ids.astype(np.int32)]
        found: list[tuple[int, Ceiling]] = [(w, ceiling(ids, w)) for w in windows if w < len(self.symbols)]
        return [{"window": w, "right": c.right, "total": c.total, "share": c.right / c.total} for w, c in found]

    def copied(self, prompt: list[str], words: list[str]) -> Copied:
        """What a story has from this text."""
        return copied([*prompt, *words], self.symbols, prompt=len(prompt))


def split(text: str, *, spaced: bool) -> list[str]:
    """Symbols: what stands between white space, or every character where words are not spaced.

    >>> split("鼠 说:好", spaced=False)
    ['鼠', '说', ':', '好']
    """
    return text.split() if spaced else [character for character in text if not character.isspace()]


def read(path: Path | str, encoding: str | None = None) -> Material:
    """Read a text; errors: TextError."""
    library = read_library([path], TextConfig(encoding=encoding))
    text = "\n".join(story.text for story in library.stories)
    return from_text(text, "standard input" if str(path) == "-" else Path(path).name, path)


def from_text(text: str, name: str, path: Path | str = "") -> Material:
    """The symbols of a text and their ids."""
    spaced = unspaced_share(script_shares(text[:200_000])) < 0.5
    symbols = split(text, spaced=spaced)
    vocabulary = [symbol for symbol, _ in Counter(symbols).most_common()]
    numbers = {symbol: number for number, symbol in enumerate(vocabulary)}
    ids = np.array([numbers[symbol] for symbol in symbols], np.int64)
    return Material(name, path, tuple(symbols), tuple(vocabulary), ids, spaced)


def fable() -> Material:
    """The article's fable, which comes with the package."""
    return bundled(FABLE)


def bundled(name: str) -> Material:
    """A text of `fabula/data`."""
    with resources.as_file(resources.files("fabula") / "data" / name) as path:
        return from_text(path.read_text(encoding="utf-8"), name, path)


def check(material: Material, window: int) -> None:
    """Errors: TextError when the text has no window with a next symbol."""
    if len(material.symbols) <= window:
        raise TextError(
            f"a text must have more than {window} symbols for a window of {window}, got {len(material.symbols)} "
            f"in {material.name!r}: take a longer text or a smaller --window"
        )
