"""The unit of a store and its vocabulary, learned from an even sample of its blocks; knows no shards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fabula.config import TextConfig
from fabula.store.blocks import Block
from fabula.store.encoding import hash_of
from fabula.store.reading import read_block
from fabula.text import Library, Story, recommend_unit
from fabula.tokens import build

SAMPLE = 32 << 20
"""Bytes of text that the vocabulary is learned from."""

SUBWORDS = 16_000
"""Most subwords, as where the whole text is at hand."""

Learned = tuple[dict[str, object], str]
"""A tokenizer and why its unit was chosen."""


def learn(blocks: Sequence[Block], config: TextConfig, total: int, share: float) -> Learned:
    """The tokenizer for `total` bytes of text; of every block only its share of the sample is looked at.

    Stories whose hash says that they will be held out (`share`) teach nothing. Errors: TextError, UsageError.
    """
    each, texts = SAMPLE // max(1, len(blocks)), list[str]()
    for block in blocks:
        left = each
        for story in read_block(_beginning(block, each), config)[0]:
            if left <= 0:
                break
            if hash_of(story) >= share * 2**64:
                texts.append(story[:left])
                left -= len(story)
    unit, reason = config.unit, "as asked"
    if unit == "auto":
        library = Library(tuple(Story(text, "") for text in texts), (), "")
        unit, reason = recommend_unit(library)
    vocabulary = config.vocabulary
    if unit == "subwords" and vocabulary is None:
        vocabulary = min(SUBWORDS, max(512, math.isqrt(total)))
    made: dict[str, Any] = build(unit, texts, vocabulary).to_json()
    return made, reason


def _beginning(block: Block, most: int) -> Block:
    """Only so much of a block as is needed, where that can be said before it is read."""
    if block.kind in ("text", "lines") and block.data is None and block.stop - block.start > most:
        return replace(block, stop=block.start + most)
    return block
