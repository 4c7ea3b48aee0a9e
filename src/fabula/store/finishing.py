"""Shards that are written to a store that can be opened: copies, sides, what is kept of each shard, the manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabula.errors import TextError
from fabula.evaluation import Counts
from fabula.store import copies, sides
from fabula.store.arrays import open_array, write_array
from fabula.store.encoding import BYTES, CHARS, WORDS, facts_of
from fabula.store.ends import cut_end
from fabula.store.names import FACTS, FREQUENCIES, HELD_OUT, array
from fabula.store.pool import Pool
from fabula.store.shards import STARTS, TOKENS
from fabula.tokens import Tokenizer

Record = dict[str, Any]
"""What is written down of a shard."""

Job = tuple[str, int, int, list[int]]
"""A shard's name, how many stories come before it, how many it has, and which of them are held out."""

TOGETHER = 16
"""Shards that one process finishes in one go."""


def keep(folder: str, jobs: Sequence[Job], size: int) -> tuple[list[Record], NDArray[np.int64]]:
    """Write which stories of some shards are learned from; records of them, and how often each of the units occurs."""
    records, frequencies = list[Record](), np.zeros(size, np.int64)
    for name, first, count, held_out in jobs:
        kept = ~copies.marks_of(Path(folder), first, count)
        kept[held_out] = False
        numbers = np.flatnonzero(kept).astype(np.int32)
        starts = np.array(open_array(Path(folder) / array(name, "starts"), STARTS))
        tokens = open_array(Path(folder) / array(name, "tokens"), TOKENS)
        facts = open_array(Path(folder) / array(name, FACTS), ("<u8",), ndim=2)
        lengths = np.diff(starts)
        taken = tokens if kept.all() else tokens[np.repeat(kept, lengths)]
        frequencies += np.bincount(taken, minlength=size)
        records.append({
            "name": name,
            "stories": len(numbers),
            "tokens": int(lengths[numbers].sum()),
            "counts": [int(facts[row][numbers].sum()) for row in (BYTES, CHARS, WORDS)],
            "kept": write_array(Path(folder) / array(name, "kept"), numbers),
        })  # fmt: skip
    return records, frequencies


def find_copies(folder: Path, records: Sequence[Record], pool: Pool) -> int:
    """Mark all copies of earlier stories; how many there are."""
    total = sum(record["stories"] for record in records)
    copies.make_marks(folder, total)
    names, parts = [record["name"] for record in records], copies.ranges(total)
    return sum(pool.run(("copies", (str(folder), names, part, parts)) for part in range(parts)))


def finish(
    folder: Path,
    records: Sequence[Record],
    tokenizer: Tokenizer,
    pool: Pool,
    *,
    wished: float,
    own: Sequence[str],
    tell: Callable[[float], None],
) -> Record:
    """All that the manifest says of the stories; `own` are stories to measure on in place of the `wished` share.

    Errors: TextError.
    """
    copied = find_copies(folder, records, pool)
    counts = [(record["name"], record["stories"]) for record in records]
    total = sum(record["bytes"] for record in records)
    share = sides.share_of(wished, total)
    chosen: sides.Sides = {} if own else sides.choose(folder, counts, share, total)
    if share and not own and not chosen:  # the stories are few and long
        chosen = cut_end(folder, records, tokenizer, share, sum(record["tokens"] for record in records))
        counts = [(record["name"], record["stories"]) for record in records]
        find_copies(folder, records, pool)
    jobs = list(_jobs(counts, chosen))
    frequencies = np.zeros(tokenizer.size, np.int64)
    kept: dict[str, Record] = {}
    for done, (some, counted) in enumerate(pool.run(("keep", (str(folder), job, tokenizer.size)) for job in jobs), 1):
        frequencies += counted
        kept |= {record["name"]: record for record in some}
        tell(done / len(jobs))
    train = [_listed(record, kept[record["name"]]) for record in records]
    stories = sum(int(record["stories"]) for record in train)
    if not stories:
        raise TextError("there is no story to learn from: give a longer text")
    frequencies[tokenizer.end] = stories
    held_out = _held_out(folder, records, chosen, tokenizer, own)
    return {
        "copies": copied,
        "frequencies": write_array(folder / FREQUENCIES, frequencies),
        "train": {"shards": train, "counts": asdict(_sum(train))},
        "held_out": held_out and {"shards": [held_out], "counts": asdict(_sum([held_out]))},
    }


def _listed(written: Record, kept: Record) -> Record:
    """What the manifest says of a shard."""
    files = {**written["files"], "kept": kept["kept"]}
    del files[FACTS]
    return {"name": kept["name"], "stories": kept["stories"], "tokens": kept["tokens"], "counts": kept["counts"],
            "files": files}  # fmt: skip


def _jobs(shards: Sequence[tuple[str, int]], chosen: sides.Sides) -> Iterator[list[Job]]:
    """What the processes are given to do, some shards each."""
    first, job = 0, list[Job]()
    for number, (name, count) in enumerate(shards):
        job.append((name, first, count, chosen.get(number, [])))
        first += count
        if len(job) == TOGETHER:
            yield job
            job = list[Job]()
    if job:
        yield job


def _held_out(
    folder: Path, records: Sequence[Record], chosen: sides.Sides, tokenizer: Tokenizer, own: Sequence[str]
) -> Record | None:
    """Write what is held out as a shard of its own, in the order of the text."""
    parts: list[NDArray[Any]] = []
    sizes = np.zeros(3, np.int64)
    if own:
        parts = list(tokenizer.encode_many(own))
        sizes += facts_of(own)[BYTES:].sum(axis=1).astype(np.int64)
    for number in sorted(chosen):
        name = records[number]["name"]
        tokens, starts, facts = (
            open_array(folder / array(name, "tokens"), TOKENS),
            open_array(folder / array(name, "starts"), STARTS),
            open_array(folder / array(name, FACTS), ("<u8",), ndim=2),
        )
        parts += [np.array(tokens[starts[story] : starts[story + 1]]) for story in chosen[number]]
        sizes += facts[BYTES:, chosen[number]].sum(axis=1).astype(np.int64)
    if not parts:
        return None
    kind = np.uint16 if tokenizer.size <= 1 << 16 else np.int32
    lengths = [len(part) for part in parts]
    arrays = {
        "tokens": np.concatenate(parts).astype(kind),
        "starts": np.cumsum([0, *lengths], dtype=np.int64),
        "kept": np.arange(len(parts), dtype=np.int32),
    }
    files = {what: write_array(folder / array(HELD_OUT, what), values) for what, values in arrays.items()}
    return {
        "name": HELD_OUT, "stories": len(parts), "tokens": sum(lengths), "counts": sizes.tolist(), "files": files,
    }  # fmt: skip


def _sum(records: Sequence[Mapping[str, Any]]) -> Counts:
    sizes = np.array([record["counts"] for record in records], np.int64).sum(axis=0).tolist()
    return Counts(bytes=sizes[0], chars=sizes[1], words=sizes[2])
