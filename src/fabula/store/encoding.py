"""A block to a shard: its stories as ids, with what is to be known of each; knows no order and no other block."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabula.config import TextConfig
from fabula.store.arrays import read_json, write_array, write_json
from fabula.store.blocks import Block
from fabula.store.names import FACTS, TOKENIZER, array, stem
from fabula.store.reading import read_block
from fabula.text import count_words
from fabula.tokens import Remembering, from_json

TOKENIZER_LIMIT = 256 << 20
HASH, BYTES, CHARS, WORDS = range(4)
"""Rows of the facts of stories: a hash of each one's text, and its sizes."""

TOGETHER = 1 << 18
"""Characters encoded at once."""

NOTES = 20
"""Notes of a block that are kept."""


def store_block(folder: str, block: Block, config: TextConfig) -> dict[str, Any]:
    """Write the shard of a block; the record that says it is done. Errors: TextError, OSError."""
    encoder, kind = _encoder(folder, (Path(folder) / TOKENIZER).stat().st_mtime_ns)
    stories, notes = read_block(block, config)
    name = stem(block.source, block.part)
    parts, lengths = [np.empty(0, kind)], [np.zeros(1, np.int64)]
    for some in _batches(stories):
        ids, counts = encoder.encode_many(some)
        parts.append(ids.astype(kind))
        lengths.append(counts)
    tokens, starts = np.concatenate(parts), np.cumsum(np.concatenate(lengths))
    del parts
    facts = facts_of(stories)
    files = {
        "tokens": write_array(Path(folder) / array(name, "tokens"), tokens),
        "starts": write_array(Path(folder) / array(name, "starts"), starts),
        FACTS: write_array(Path(folder) / array(name, FACTS), facts),
    }
    record = {
        "name": name, "stories": len(stories), "tokens": len(tokens), "bytes": int(facts[BYTES].sum()),
        "size": block.size, "files": files,
        "notes": list(dict.fromkeys(notes))[:NOTES],
    }  # fmt: skip
    write_json(Path(folder) / f"{name}.json", record)
    return record


def facts_of(stories: Sequence[str]) -> NDArray[np.uint64]:
    """Hash, bytes, characters and words of some stories: shape (4, n)."""
    facts = np.zeros((4, len(stories)), np.uint64)
    for number, story in enumerate(stories):
        data = story.encode()
        facts[:, number] = hash_of(story), len(data), len(story), count_words(story)
    return facts


def hash_of(story: str) -> int:
    """64 bits that the text without blank space around it decides: by them copies are found, and sides chosen."""
    return int.from_bytes(hashlib.blake2b(story.strip().encode(), digest_size=8).digest())


def _batches(stories: Sequence[str]) -> list[Sequence[str]]:
    """The stories in runs of about `TOGETHER` characters."""
    ends, size = list[int](), 0
    for number, story in enumerate(stories, start=1):
        size += len(story)
        if size >= TOGETHER:
            ends.append(number)
            size = 0
    return [stories[a:b] for a, b in zip([0, *ends], [*ends, len(stories)], strict=True) if b > a]


@functools.lru_cache(maxsize=1)
def _encoder(folder: str, changed: int) -> tuple[Remembering, type[np.uint16] | type[np.int32]]:  # noqa: ARG001
    """What encodes for the store in a folder, and the type of its ids; a file that has changed is read again."""
    tokenizer = from_json(read_json(Path(folder) / TOKENIZER, TOKENIZER_LIMIT))
    return Remembering(tokenizer), np.uint16 if tokenizer.size <= 1 << 16 else np.int32
