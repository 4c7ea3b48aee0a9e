"""Made-up tales of any size: words of a language that does not exist by Zipf's law, in sentences and stories."""

from __future__ import annotations

from pathlib import Path

import numpy as np

WORDS = 170_000
"""As many as a large dictionary has."""

PIECE = 1 << 20
"""Words drawn at a time."""

_ONSETS = ["", *"bcdfghklmnprstvw", "br", "ch", "dr", "gl", "pr", "sh", "st", "th", "tr"]
_VOWELS = ["a", "e", "i", "o", "u", "ai", "ea", "ou"]
_CODAS = ["", "", "n", "r", "s", "t", "l", "nd", "ck", "m"]


def vocabulary(rng: np.random.Generator) -> list[str]:
    """Different words, the frequent ones short."""
    found: dict[str, None] = {}
    while len(found) < WORDS:
        longest = 1 + (len(found) > 150) + (len(found) > 6000) + (len(found) > 60_000)
        found.setdefault("".join(_syllable(rng) for _ in range(rng.integers(max(1, longest - 1), longest + 1))))
    return list(found)


def _syllable(rng: np.random.Generator) -> str:
    first, second, third = rng.integers(1 << 30, size=3).tolist()
    return _ONSETS[first % len(_ONSETS)] + _VOWELS[second % len(_VOWELS)] + _CODAS[third % len(_CODAS)]


def write(path: Path, size: int, seed: int = 1) -> None:
    """About `size` bytes of stories with titles: sentences of some 15 words, paragraphs of 5, stories of 6."""
    rng = np.random.default_rng(seed)
    words = vocabulary(rng)
    chances = 1 / (np.arange(1, WORDS + 1) + 2.7)
    edges = np.cumsum(chances / chances.sum())
    ends = (" ", ", ", ". ", ".\n\n", ".\n\n# ")  # in a sentence, and behind a clause, sentence, paragraph, story
    forms = [np.array([word + end for word in words], object) for end in ends]
    begins = np.array([word.capitalize() + " " for word in words], object)
    written = 0
    with path.open("w", encoding="utf-8") as file:
        written += file.write("# ")
        while written < size:
            numbers = np.minimum(np.searchsorted(edges, rng.random(PIECE)), WORDS - 1)
            kinds = len(ends) - 1 - np.searchsorted(_CHANCES, rng.random(PIECE))
            told = np.empty(PIECE, object)
            for kind, form in enumerate(forms):
                told[kinds == kind] = form[numbers[kinds == kind]]
            first = np.concatenate([[True], kinds[:-1] >= 2]) & (kinds == 0)
            told[first] = begins[numbers[first]]
            # Of every story the first sentence is the title, on a line of its own.
            stories = "".join(told.tolist()).split("\n\n# ")
            written += file.write("\n\n# ".join(story.replace(". ", "\n\n", 1) for story in stories))


_CHANCES = np.array([1 / 450, 1 / 75, 1 / 15, 1 / 9])
"""How often a word is the last of a story, of a paragraph or more, of a sentence or more, of a clause or more."""
