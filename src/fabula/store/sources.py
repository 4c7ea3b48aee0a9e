"""Paths to sources: which files there are, how large, and which are read together; opens none of them.

A file of one block or less is read whole, several at a time; a larger one in blocks of its own.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fabula.errors import TextError
from fabula.text.files import STDIN, printable, quoted, suffix_of
from fabula.text.formats import READERS, read_plain
from fabula.text.tables import read_jsonl

BLOCK = 16 << 20
"""Bytes of text that one process works on at a time, and that become one shard."""

LARGE = 64 << 20
"""Bytes of all files from which they are too many to be held in memory."""

UNPACKED = 4
"""How many times more a packed file has than one sees: enough to plan by."""

HUB = "hf:"
"""What stands before the name of a data set of the Hugging Face Hub."""

PARQUET = ".parquet"
_SAVED = ("dataset_info.json", "dataset_dict.json")


@dataclass(frozen=True)
class Source:
    """Files that are read together, or one that is read in blocks."""

    kind: str
    """files, text, lines, table, parquet, saved, hub."""
    paths: tuple[str, ...]
    size: int
    """Bytes on the disk; packed ones count as what they may hold; 0 where nobody knows."""
    changed: tuple[int, ...] = ()
    """When each was changed last, in nanoseconds."""
    named: bool = True
    """Whether the user named it, and did not only name a folder that holds it."""
    block: int = BLOCK
    """Bytes of a block."""

    @property
    def is_packed(self) -> bool:
        """Whether it comes as one stream that cannot be entered in its middle."""
        return self.paths[0].lower().endswith(".gz")


def find_sources(paths: Sequence[str], block: int = BLOCK) -> tuple[list[Source], list[str]]:
    """What there is to read, in order, and notes on what is left out; errors: TextError."""
    if not paths or "" in paths:
        raise TextError("give a text to read: a file, a folder, an archive, or hf:OWNER/NAME")
    left_out: Counter[str] = Counter()
    found: list[Source] = []
    together: list[Source] = []

    def close() -> None:
        if together:
            found.append(
                Source(
                    "files",
                    tuple(one.paths[0] for one in together),
                    sum(one.size for one in together),
                    tuple(one.changed[0] for one in together),
                    together[0].named,
                    block,
                )
            )
            together.clear()

    for path in paths:
        for source in _sources_of(path, left_out, block):
            if source.kind == "files" and source.size <= block:
                full = sum(one.size for one in together) + source.size > block
                if full or (together and together[0].named != source.named):
                    close()
                together.append(source)
            else:
                close()
                found.append(source)
    close()
    if not found:
        one = quoted(paths[0]) if len(paths) == 1 else f"these {len(paths):,} paths"
        raise TextError(f"no text in {one}: expected files such as .txt, .md, .jsonl, .csv, .html, .epub or .parquet")
    notes = []
    if left_out:
        kinds = ", ".join(f"{count:,} {printable(suffix)}" for suffix, count in left_out.most_common(5))
        total = left_out.total()
        notes.append(f"left out {total:,} {'file' if total == 1 else 'files'} of kinds that are not read: {kinds}")
    return found, notes


def is_large(paths: Sequence[str]) -> bool:
    """Whether the files are too many to be held in memory, or of a kind that only a store reads; looks, opens none."""
    if any(path.startswith(HUB) for path in paths):
        return True
    total = 0
    try:
        for path in paths:
            for source in _sources_of(path, Counter()) if path not in ("", STDIN) else ():
                total += source.size
                if total > LARGE or source.kind in ("parquet", "saved"):
                    return True
    except TextError:  # whoever reads it says why
        return False
    return False


def is_saved(path: Path) -> bool:
    """Whether a folder was saved by the datasets library."""
    return any((path / name).is_file() for name in _SAVED)


def _sources_of(path: str, left_out: Counter[str], block: int = BLOCK) -> Iterator[Source]:
    """Each file below a path, in the order of the names; hidden ones and those of no fitting kind are left out."""
    if path.startswith(HUB):
        yield Source("hub", (path,), 0, block=block)
        return
    if path == STDIN:
        raise TextError("a store cannot be made of standard input: put the text into a file")
    facts = _facts(path)
    if not stat.S_ISDIR(facts.st_mode):
        if not stat.S_ISREG(facts.st_mode):
            raise TextError(f"{quoted(path)} is a pipe or a device, not a file")
        yield _source(path, facts, block, named=True)
        return
    if is_saved(Path(path)):
        files = sorted(file for file in Path(path).rglob("*") if file.is_file())
        every = [file.stat() for file in files]
        changed = tuple(one.st_mtime_ns for one in every)
        yield Source("saved", (path,), sum(one.st_size for one in every), changed, block=block)
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in files if not name.startswith(".")):
            suffix = suffix_of(name)
            if suffix in READERS or suffix in (".zip", PARQUET):
                inside = str(Path(folder, name))
                facts = _facts(inside)
                if stat.S_ISREG(facts.st_mode):
                    yield _source(inside, facts, block, named=False)
            else:
                left_out[suffix or "without ending"] += 1


def _facts(path: str) -> os.stat_result:
    try:
        return Path(path).stat()
    except FileNotFoundError:
        raise TextError(f"no file or folder {quoted(path)}: look at its spelling") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "its name cannot be used"
        raise TextError(f"cannot read {quoted(path)}: {reason.lower()}") from None


def _source(path: str, facts: os.stat_result, block: int, *, named: bool) -> Source:
    """One file, and how it is read."""
    packed, suffix = path.lower().endswith(".gz"), suffix_of(Path(path).name)
    size, reader = facts.st_size * (UNPACKED if packed else 1), READERS.get(suffix, read_plain)
    kind = "files"
    if suffix == PARQUET:
        kind = "parquet"
    elif size > block:
        if reader is read_plain and suffix != ".zip":
            kind = "text"
        elif reader is read_jsonl:
            kind = "lines"
        elif suffix in (".csv", ".tsv"):
            kind = "table"
    return Source(kind, (path,), size, (facts.st_mtime_ns,), named, block)
