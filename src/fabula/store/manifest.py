"""A store opened and verified: strictly, and before anything large is read; knows no text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabula import machine
from fabula.errors import FabulaError, FolderError
from fabula.evaluation import Counts
from fabula.regular import open_regular
from fabula.store.arrays import digest_of, read_json
from fabula.store.encoding import TOKENIZER_LIMIT
from fabula.store.names import FORMAT, FREQUENCIES, KIND, KINDS, MANIFEST, PLAN, TOKENIZER, array, is_stem
from fabula.store.shards import Shard, damaged
from fabula.store.stored import Place, Stored
from fabula.tokens import Tokenizer, from_json

LIMIT = 256 << 20
"""Bytes of a manifest, some four hundred a shard."""

_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)
_HEAD = 64


@dataclass(frozen=True)
class Store:
    """The stories of a text as ids on the disk, with what is known of them."""

    path: Path
    tokenizer: Tokenizer
    digest: str
    """Hash of what is learned from; two stores of the same digest teach the same."""
    plan: str
    """Hash of what it was made from, and how."""
    train: Stored
    counts: Counts
    held_out: Stored | None
    held_out_counts: Counts | None
    unit_reason: str
    notes: tuple[str, ...]
    copies: int
    """Stories that were left out, for an earlier one has the same text."""
    files: Mapping[str, Mapping[str, Any]]
    """Size and SHA-256 of every file."""


def is_store(path: str | Path) -> bool:
    """Whether a folder holds the manifest of a store."""
    try:
        with open_regular(Path(path) / MANIFEST, links=False) as file:
            return KIND.encode() in file.read(_HEAD)
    except (OSError, ValueError):
        return False


def is_unfinished(path: str | Path) -> bool:
    """Whether a folder is a store that is being made, or was stopped on the way."""
    return (Path(path) / PLAN).is_file() and not is_store(path)


def open_store(path: str | Path) -> Store:
    """Open a store; errors: FolderError, one line."""
    folder = Path(path)
    try:
        said = read_json(folder / MANIFEST, LIMIT)
    except FileNotFoundError:
        why = f"expected a store, but {str(folder)!r} holds no {MANIFEST}: fabula store makes one"
        raise FolderError(why) from None
    except _DAMAGE as error:
        raise damaged(folder, error) from None
    try:
        return _opened(folder, said)
    except _DAMAGE as error:
        raise damaged(folder, error) from None
    except FabulaError as error:
        raise damaged(folder, str(error)) from None


def verify(path: str | Path, tell: Callable[[float], None] | None = None) -> Store:
    """Open a store and compare every file with its SHA-256; errors: FolderError that names the first that differs."""
    store = open_store(path)

    def wrong(name: str) -> str | None:
        try:
            return None if digest_of(store.path / name) == store.files[name] else name
        except OSError:
            return name

    with ThreadPoolExecutor(machine.cores()) as pool:
        for done, name in enumerate(pool.map(wrong, store.files), 1):
            if name is not None:
                pool.shutdown(cancel_futures=True)
                raise damaged(store.path, f"{name} is not what the manifest says")
            if tell:
                tell(done / len(store.files))
    return store


def _opened(folder: Path, said: Any) -> Store:  # noqa: ANN401 - JSON may hold anything
    expect(isinstance(said, dict) and said.get("kind") == KIND, "it is no store")
    expect(said["format"] == FORMAT, f"format {FORMAT} expected")
    tokenizer = from_json(read_json(folder / TOKENIZER, TOKENIZER_LIMIT))
    files = {TOKENIZER: said["tokenizer"], FREQUENCIES: said["frequencies"]}
    expect(digest_of(folder / TOKENIZER) == said["tokenizer"], f"{TOKENIZER} is not what the manifest says")
    train = [_shard(record, files) for record in said["train"]["shards"]]
    held_out = [_shard(record, files) for record in (said["held_out"] or {"shards": ()})["shards"]]
    names = [shard.name for shard in (*train, *held_out)]
    expect(len(set(names)) == len(names), "a shard stands in it twice")
    expect(sum(shard.stories for shard in train) > 0, "it has no stories")
    for name, listed in files.items():
        expect(set(listed) == {"size", "sha256"}, f"{name} is not listed as a file")
        expect((folder / name).lstat().st_size == listed["size"], f"{name} is cut off, or longer than it was")
    digest = _digest(said)
    end = tokenizer.end
    return Store(
        path=folder,
        tokenizer=tokenizer,
        digest=digest,
        plan=str(said["plan"]),
        train=Stored(Place(folder, tuple(train), end, digest, folder / FREQUENCIES)),
        counts=_counts(said["train"]),
        held_out=Stored(Place(folder, tuple(held_out), end, f"{digest}-held-out")) if held_out else None,
        held_out_counts=_counts(said["held_out"]) if held_out else None,
        unit_reason=str(said["unit_reason"]),
        notes=tuple(map(str, said["notes"])),
        copies=int(said["copies"]),
        files=files,
    )


def _shard(record: Mapping[str, Any], files: dict[str, Mapping[str, Any]]) -> Shard:
    name, stories, tokens = record["name"], record["stories"], record["tokens"]
    expect(isinstance(name, str) and is_stem(name), "it names a file that is none of a store")
    expect(all(type(one) is int and 0 <= one < 2**40 for one in (stories, tokens)), f"{name} has no sound sizes")
    expect(stories <= tokens, f"{name} has no sound sizes")
    for kind in KINDS:
        files[array(name, kind)] = record["files"][kind]
    return Shard(name, stories, tokens)


def _counts(side: Mapping[str, Any]) -> Counts:
    found = Counts(**side["counts"])
    expect(all(type(one) is int and 0 <= one < 2**60 for one in vars(found).values()), "it has no sound counts")
    return found


def _digest(said: Mapping[str, Any]) -> str:
    """Of the units and of what is learned from."""
    total = hashlib.sha256(said["tokenizer"]["sha256"].encode())
    for record in said["train"]["shards"]:
        for kind in KINDS:
            total.update(record["files"][kind]["sha256"].encode())
    return total.hexdigest()


def expect(condition: bool, otherwise: str) -> None:
    """Errors: ValueError that says what is wrong."""
    if not condition:
        raise ValueError(otherwise)
