"""Libraries of made-up stories, small enough for a test and of many blocks all the same."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

SMALL = 10_000
"""Bytes of a block in the tests."""


def _tell(count: int, seed: int = 0, words: int = 60) -> list[str]:
    rng = np.random.default_rng(seed)
    known = [f"{one}{two}" for one in ("ba", "ne", "mi", "lo", "tu") for two in ("ra", "sel", "dor", "k", "pin")]
    stories = []
    for number in range(count):
        told = rng.choice(known, int(rng.integers(words // 2, 2 * words)))
        text = " ".join(f"{word}." if place % 9 == 8 else str(word) for place, word in enumerate(told))
        stories.append(f"# Story {seed}-{number}\n\n{text}")
    return stories


@pytest.fixture(scope="session")
def tell() -> Callable[..., list[str]]:
    """Makes so many stories, each with a title."""
    return _tell


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Some four hundred stories in one file, of which ten stand in it twice."""
    stories = _tell(400)
    path = tmp_path / "library.txt"
    path.write_text("\n\n".join([*stories, *stories[5:15]]), encoding="utf-8")
    return path
