"""The figures of a table as people read them: surprises, shares, choices; prints nothing."""

from __future__ import annotations

import math

from fabula.cli import visible
from fabula.table import Choice, Copies, Desk

_HIDDEN = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x2028, 0x2029], "\ufffd")
"""What turns the direction of a line, or breaks it, on some terminals."""


def shown(text: str) -> str:
    """Text as a screen may have it: nothing in it moves the cursor, turns a line or rings; tabs are spaces."""
    return visible(text).translate(_HIDDEN).replace("\t", " ")


def bits(nats: float) -> float:
    """Nats as bits."""
    return nats / math.log(2)


def surprise(nats: float) -> str:
    """How surprising a word is, and how likely it was.

    >>> surprise(math.log(18)), surprise(math.log(200)), surprise(0.0)
    ('4.2 bits, 6%', '7.6 bits, 1 in 200', '0.0 bits, 100%')
    """
    odds = math.exp(min(nats, 27.6))
    chance = f"{1 / odds:.0%}" if odds <= 100 else f"1 in {odds:,.0f}" if odds < 1e6 else "below 1 in a million"
    return f"{bits(nats):.1f} bits, {chance}"


def spelled(text: str) -> str:
    """A word on one line, a line break in front of it as a sign.

    >>> spelled("\\n\\nOnce"), spelled(" fox")
    ('¶Once', 'fox')
    """
    lead = "¶" if "\n" in text[: len(text) - len(text.lstrip())] else ""
    return lead + " ".join(shown(text).split())


def offered(choice: Choice) -> str:
    """A choice and its chance.

    >>> offered(Choice(" fox", (1,), 0.123)), offered(Choice(" hen", (1,), 0.0001))
    ('fox 12%', 'hen <1%')
    """
    return f"{spelled(choice.text)} {f'{choice.chance:.0%}' if choice.chance >= 0.005 else '<1%'}"


def copied(found: Copies | None) -> str:
    """What is copied, briefly.

    >>> copied(Copies(0.31, 9, frozenset())), copied(Copies(0.0, 0, frozenset())), copied(None)
    ('copied 31%, longest run 9', 'copied nothing', 'copied: not known')
    """
    if found is None:
        return "copied: not known"
    return f"copied {found.share:.0%}, longest run {found.longest}" if found.longest else "copied nothing"


def surprises(desk: Desk, words: list[int]) -> list[tuple[str, float]]:
    """Some words of the table and the bits of each."""
    return [(spelled(desk.table.words[word].text), bits(desk.nats(word))) for word in words]
