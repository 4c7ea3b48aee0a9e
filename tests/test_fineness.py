"""Subwords get finer only where a text is read often and an n-gram model foretells it better by them."""

import random

from fabula.fineness import finer, steps
from fabula.tokens import build


def _verses(count: int) -> list[str]:
    """Words made of syllables, every pair of which is as likely as any other: whole words can not be foretold."""
    rng = random.Random(3)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    return [" ".join("".join(rng.choices(syllables, k=3)) for _ in range(50)) for _ in range(count)]


def _phrases(count: int) -> list[str]:
    """Words of their own spelling, each nearly always followed by the same other: a whole word tells the next."""
    rng = random.Random(4)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(150)]
    texts = []
    for _ in range(count):
        told = [rng.randrange(len(words))]
        while len(told) < 50:
            told.append((told[-1] + 1) % len(words) if rng.random() < 0.8 else rng.randrange(len(words)))
        texts.append(" ".join(words[number] for number in told))
    return texts


def test_free_syllables_are_foretold_better_by_finer_units() -> None:
    texts = _verses(120)
    usual = build("subwords", texts, 700)
    assert finer(usual, texts, 0) is usual
    once, twice = finer(usual, texts, 1), finer(usual, texts, 2)
    assert once.size < usual.size
    assert twice.size < once.size


def test_set_phrases_keep_their_long_units() -> None:
    texts = _phrases(120)
    usual = build("subwords", texts, 900)
    assert usual.size > 600
    assert finer(usual, texts, 3) is usual


def test_one_short_text_is_enough() -> None:
    text = _verses(3)[0]
    assert finer(build("subwords", [text]), [text], 3).size <= 512


def test_a_long_text_in_a_short_time_stays_as_it_is() -> None:
    assert steps(10**6, 60) == 0
    assert steps(10**6, 600) > steps(10**6, 180) > 0
    assert steps(0, 60) > 0
