"""Which unit suits a text and what can be hoped for from so much of it, as two tables; knows no files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from fabula.text.counting import count_words
from fabula.text.library import Library
from fabula.text.scripts import script_shares, unspaced_share
from fabula.text.splitting import is_short

CLOSED = "<unk>"
"""What stands for every rare word in texts that were made for word models, such as WikiText."""

_POINT = re.compile(r"(\s)?[.,;:!?](?=\s|$)")


@dataclass(frozen=True)
class Facts:
    """What the advice hangs on."""

    short: bool
    """Too short for anything but learning by heart."""
    unspaced: bool
    """Mostly in scripts without white space between words."""
    closed: bool
    """Its rare words were replaced already."""
    points_apart: bool
    """Punctuation stands between spaces, as in a text that was split into symbols."""


UNITS: tuple[tuple[Callable[[Facts], bool], str, str], ...] = (
    (lambda facts: facts.unspaced, "chars", "its script puts no spaces between words"),
    (lambda facts: facts.short and facts.points_apart, "symbols", "its words and punctuation already stand apart"),
    (lambda facts: facts.short, "words", "it is so short that it will be learned by heart, word by word"),
    (lambda facts: facts.closed, "words", f"its rare words were replaced by {CLOSED} already"),
    (lambda _: True, "subwords", "pieces of words learn fastest where words are spaced"),
)
"""The first row whose condition holds gives the unit and the reason."""

HOPES: tuple[tuple[float, str], ...] = (
    (2_000, "so few words can only be learned by heart; expect the text itself, give or take a turn"),
    (20_000, "expect its names and turns of phrase, often copied, in sentences that do not always hold"),
    (200_000, "expect real words and mostly sound sentences in its style; the thread of a story will not hold"),
    (2_000_000, "expect fluent sentences and short scenes; who is who may slip after a paragraph"),
    (float("inf"), "expect fluent paragraphs; the time you train, not the text, will be the limit"),
)
"""The first row with more words than the text says what to hope for."""


def recommend_unit(library: Library) -> tuple[str, str]:
    """The unit that suits the stories of a library, and the reason in words."""
    facts = gather_facts(library)
    return next((unit, reason) for holds, unit, reason in UNITS if holds(facts))


def hope_for(words: int) -> str:
    """What can be expected from a text of so many words.

    >>> hope_for(204)
    'so few words can only be learned by heart; expect the text itself, give or take a turn'
    """
    return next(sentence for limit, sentence in HOPES if words < limit)


def gather_facts(library: Library) -> Facts:
    """What the advice hangs on, from the first stories."""
    text = library.opening()
    points = _POINT.findall(text)
    return Facts(
        short=is_short(library.stories),
        closed=text.count(CLOSED) > 0.002 * count_words(text),
        unspaced=unspaced_share(script_shares(text)) > 0.5,
        points_apart=len(points) >= 3 and sum(map(bool, points)) >= 0.9 * len(points) and count_words(text) >= 10,
    )
