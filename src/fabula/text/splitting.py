"""Stories to learn from and stories to measure on; knows no files.

A story's side hangs on a hash of its text, so it stays where it is when others come, and copies stay together.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fabula.text.counting import count_words
from fabula.text.library import Library
from fabula.text.scripts import script_shares, unspaced_share
from fabula.text.stories import Story

BY_HEART_WORDS = 2_000
BY_HEART_CHARACTERS = 4_000
"""Below these (words, or characters of a script without spaces) a text is too short to keep a part aside."""


@dataclass(frozen=True)
class Split:
    """Two sides of a library."""

    train: list[Story]
    held_out: list[Story]
    how: str
    """What was kept aside, in words."""
    by_heart: bool
    """True when the text is so short that all of it is learned and nothing can be measured."""


def split(library: Library, share: float = 0.05) -> Split:
    """Keeps about `share` of the text aside: whole stories by hash, ends of long texts, nothing of a short one."""
    stories = list(library.stories)
    if is_short(stories):
        return Split(stories, [], "all of it is learned by heart: too short to keep a part aside", by_heart=True)
    if not share:
        return Split(stories, [], "nothing is kept aside", by_heart=False)
    held_out = _chosen(stories, share)
    if not held_out:
        return _split_ends(stories, share)
    train = [story for story in stories if story.text not in held_out]
    aside = [story for story in stories if story.text in held_out]
    return Split(train, aside, f"kept aside: {len(aside):,} of {len(stories):,} stories", by_heart=False)


def is_short(stories: Sequence[Story]) -> bool:
    """True when the stories together can only be learned by heart."""
    characters = sum(len(story.text) for story in stories)
    if characters > 100 * BY_HEART_WORDS:
        return False
    text = "\n".join(story.text for story in stories)
    words = count_words(text)
    return words < (BY_HEART_CHARACTERS if unspaced_share(script_shares(text)) > 0.5 else BY_HEART_WORDS)


def _chosen(stories: Sequence[Story], share: float) -> set[str]:
    """Texts of the held-out stories; empty when the stories are so few and long that only their ends can be taken.

    A hash below `share` decides. Where that leaves too little, the next lowest hashes follow. Stories that would take
    several times the share with them stay in training.
    """
    lengths = {story.text: len(story.text) for story in stories}
    total = sum(lengths.values())
    target = share * total
    candidates = sorted((_position(text), text) for text, length in lengths.items() if length <= 3 * target)
    if sum(lengths[text] for _, text in candidates) < 2 * target:
        return set()
    most = min(4 * target, (total + target) / 2)
    chosen: set[str] = set()
    size = 0
    for position, text in candidates:
        enough = position >= share and size >= target / 2
        if enough or size + lengths[text] > most:
            break
        chosen.add(text)
        size += lengths[text]
    return chosen


def _position(text: str) -> float:
    """A number from 0 to 1 that only the text decides."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _split_ends(stories: Sequence[Story], share: float) -> Split:
    """The last part of each long story; short ones among them are learned whole."""
    longest = max(len(story.text) for story in stories)
    train: list[Story] = []
    held_out: list[Story] = []
    for story in stories:
        cut = _boundary(story.text, share) if len(story.text) * 10 >= longest else len(story.text)
        train.append(replace(story, text=story.text[:cut]))
        if cut < len(story.text):
            held_out.append(replace(story, text=story.text[cut:]))
    which = "the text" if len(held_out) == 1 else f"each of {len(held_out):,} long texts"
    return Split(train, held_out, f"kept aside: the last {share * 100:g} % of {which}", by_heart=False)


def _boundary(text: str, share: float) -> int:
    """Where the last `share` of a text begins: a paragraph, line, sentence or word near that place."""
    cut = round(len(text) * (1 - share))
    reach = max(1, round(len(text) * share / 4))
    near = text[cut - reach : cut + reach]
    for pattern in (r"\n\n+", r"\n", r"[.!?…]['\"”’»)]*\s+|[。！？][」』”’）]*", r"\s+"):
        ends = [found.end() for found in re.finditer(pattern, near) if found.end() < len(near)]
        if ends:
            return cut - reach + min(ends, key=lambda end: abs(end - reach))
    return cut
