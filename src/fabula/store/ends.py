"""The end of the last story held out, where every story is too long to be held out whole; knows no shares."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabula.store.arrays import open_array, write_array, write_json
from fabula.store.encoding import BYTES, facts_of
from fabula.store.names import FACTS, array
from fabula.store.shards import STARTS, TOKENS
from fabula.store.sides import Sides
from fabula.tokens import Tokenizer

_REACH = 4096
"""Units in which a line, or a word, is looked for at whose end one may cut."""


def cut_end(folder: Path, records: Sequence[dict[str, Any]], tokenizer: Tokenizer, share: float, total: int) -> Sides:
    """Cut the last long story in two, so that its second part is about `share` of `total` units; where that part is.

    Only where each story of its shard begins is written anew. Errors: OSError.
    """
    wanted = max(1, int(share * total))
    for shard in reversed(range(len(records))):
        name = records[shard]["name"]
        starts = np.array(open_array(folder / array(name, "starts"), STARTS))
        long = np.flatnonzero(np.diff(starts) >= 2 * wanted)
        if len(long):
            story = int(long[-1])
            cut = _cut(folder, records[shard], starts, story, wanted=wanted, tokenizer=tokenizer)
            return {shard: [story + 1]} if cut else {}
    return {}


def _cut(
    folder: Path, record: dict[str, Any], starts: NDArray[np.int64], story: int, *, wanted: int, tokenizer: Tokenizer
) -> bool:
    """Cut one story in two, the second of so many units, if there is a place to cut it."""
    name, (first, last) = record["name"], starts[story : story + 2].tolist()
    units = open_array(folder / array(name, "tokens"), TOKENS)[first:last].astype(np.int32)
    cut = _place(units, len(units) - wanted, tokenizer)
    if not 0 < cut < len(units):
        return False
    facts = np.array(open_array(folder / array(name, FACTS), ("<u8",), ndim=2))
    parts = facts_of([tokenizer.decode(units[:cut]), tokenizer.decode(units[cut:])])
    facts = np.concatenate([facts[:, :story], parts, facts[:, story + 1 :]], axis=1)
    record["stories"] += 1
    record["bytes"] = int(facts[BYTES].sum())
    record["files"]["starts"] = write_array(folder / array(name, "starts"), np.insert(starts, story + 1, first + cut))
    record["files"][FACTS] = write_array(folder / array(name, FACTS), facts)
    write_json(folder / f"{name}.json", record)
    return True


def _place(units: NDArray[np.int32], near: int, tokenizer: Tokenizer) -> int:
    """Where a line begins, or a word, or at least a character, not far behind a place."""
    spelled = [tokenizer.spelling(token) for token in units[near - 1 : near + _REACH].tolist()]
    for fits in (_is_line, _is_word, _is_character):
        for number, (before, after) in enumerate(pairwise(spelled)):
            if fits(before, after):
                return near + number
    return 0


def _is_line(before: bytes, after: bytes) -> bool:
    return before.endswith(b"\n") and not after.startswith((b"\n", b"\r"))


def _is_word(_: bytes, after: bytes) -> bool:
    return after.startswith(b" ")


def _is_character(_: bytes, after: bytes) -> bool:
    return after[:1] < b"\x80" or after[:1] >= b"\xc0"
