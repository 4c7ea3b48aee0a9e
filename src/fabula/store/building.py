"""Texts to a store: a plan, a vocabulary, the blocks in many processes, what is left where it stopped; knows no ids.

A store is resumable because each shard is whole or not there, and because `plan.json` says what they were made from.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from fabula import disk, machine
from fabula.config import TextConfig
from fabula.errors import FolderError, SavingError, TextError, UsageError
from fabula.store.arrays import read_json, write_json
from fabula.store.blocks import Block, blocks_of
from fabula.store.encoding import TOKENIZER_LIMIT
from fabula.store.finishing import Record, finish
from fabula.store.learning import SAMPLE
from fabula.store.manifest import Store, is_store, open_store
from fabula.store.names import COPIES, FACTS, FORMAT, KIND, MANIFEST, PLAN, TOKENIZER, array, is_ours, stem
from fabula.store.pool import Pool
from fabula.store.sides import share_of
from fabula.store.sources import BLOCK, Source, find_sources
from fabula.store.worker import WORK
from fabula.text import read_library
from fabula.tokens import Tokenizer, from_json
from fabula.version import __version__

LOOKED_AT = 64
"""Places of the text that the vocabulary is learned from."""

NOTES = 20
"""Notes of all blocks that are kept."""

GLANCE = 0.2
"""Seconds between two looks whether another process has finished."""

_RECORD_LIMIT = 1 << 20


@dataclass(frozen=True)
class Progress:
    """How far it is."""

    stage: str
    """vocabulary, storing, finishing."""
    done: int
    total: int
    """Bytes of the text; 0 where nobody knows."""


Tell = Callable[[Progress], None]


def build(
    paths: Sequence[str | Path],
    config: TextConfig,
    target: str | Path,
    *,
    processes: int | None = None,
    tokenizer: Tokenizer | None = None,
    tell: Tell | None = None,
    wait: bool = False,
    block: int = BLOCK,
) -> Store:
    """The store of some texts, made at `target` or gone on with there; one that is there already is opened.

    `tokenizer` is that of a model which goes on. With `wait` another process makes it, and this one waits. Each process
    works on `block` bytes at a time, and the shards are as large.

    Errors: TextError, UsageError, MissingExtraError; FolderError when the folder is somebody else's; SavingError.
    """
    folder, named = Path(target), [str(path) for path in paths]
    unit = tokenizer.unit if tokenizer else config.unit
    if unit == "symbols":
        raise UsageError("a store needs units that spell every text, but symbols cannot: give --unit words")
    sources, notes = find_sources(named, block)
    plan = _plan(sources, config, tokenizer, block)
    while wait and _plan_of(folder, MANIFEST) != plan:
        time.sleep(GLANCE)
    if is_store(folder) and _plan_of(folder, MANIFEST) == plan:
        return open_store(folder)
    _claim(folder)
    with disk.alone_in(folder) as alone:
        if not alone:
            raise FolderError(f"another process is writing the store {str(folder)!r}: let it end, or choose another")
        try:
            notes = [*_begin(folder, plan), *notes]
            maker = _Maker(folder, sources, config, processes or machine.cores(), tell or (lambda _: None))
            said = maker.make(tokenizer)
            if _plan(find_sources(named, block)[0], config, tokenizer, block) != plan:
                raise TextError("the texts have changed while they were read: the same again makes the store anew")
            write_json(folder / MANIFEST, {
                "kind": KIND, "format": FORMAT, "fabula": __version__, "plan": plan, **said,
                "notes": [*notes, *said["notes"]],
            })  # fmt: skip
            _clear(folder, whole=False)
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise SavingError(
                f"the store {str(folder)!r} could not be written ({reason}): make room, the same again goes on"
            ) from None
    return open_store(folder)


def _plan(sources: Sequence[Source], config: TextConfig, tokenizer: Tokenizer | None, block: int) -> str:
    """Hash of all that decides what will be in a store."""
    own, _ = find_sources(config.held_out_paths) if config.held_out_paths else ([], [])
    files = [[one.kind, one.paths, one.size, one.changed] for one in (*sources, *own)]
    asked = [config.unit, config.vocabulary, config.encoding, config.stories, config.field, config.held_out]
    given = tokenizer and tokenizer.to_json()
    text = json.dumps([FORMAT, block, files, len(own), asked, given], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plan_of(folder: Path, name: str) -> str | None:
    """The plan that a file of a store names."""
    try:
        return str(read_json(folder / name, 1 << 28)["plan"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _claim(folder: Path) -> None:
    """Make the folder, and make sure that it is ours; errors: FolderError."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise FolderError(f"a store must be a folder, but {str(folder)!r} is something else: choose another with -o")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = sorted(entry.name for entry in folder.iterdir() if not is_ours(entry.name))
    except OSError as error:
        raise FolderError(f"cannot make the folder {str(folder)!r}: {error.strerror}") from None
    if foreign:
        raise FolderError(f"{str(folder)!r} holds other files ({foreign[0]!r}): choose another folder with -o")
    if (folder / MANIFEST).exists() and not is_store(folder):
        raise FolderError(f"{str(folder)!r} holds something else than a store: choose another folder with -o")


def _begin(folder: Path, plan: str) -> list[str]:
    """Clear away what another plan has left; a note where there was something."""
    disk.clear_drafts(folder)
    if _plan_of(folder, PLAN) == plan:
        return []
    left = any(folder.iterdir())
    _clear(folder, whole=True)
    write_json(folder / PLAN, {"plan": plan})
    return ["the texts or the settings have changed: the store is made anew"] if left else []


def _clear(folder: Path, *, whole: bool) -> None:
    """Remove what is needed only while a store is made, or everything."""
    (folder / (MANIFEST if whole else PLAN)).unlink(missing_ok=True)
    for entry in list(folder.iterdir()):
        is_record = entry.name.startswith("shard-") and entry.suffix == ".json"
        passing = is_record or entry.name == COPIES or entry.name.endswith(f".{FACTS}.npy")
        if passing or (whole and is_ours(entry.name)):
            entry.unlink(missing_ok=True)


class _Maker:
    """Makes one store, by what its folder holds already."""

    def __init__(self, folder: Path, sources: Sequence[Source], config: TextConfig, processes: int, tell: Tell) -> None:
        self._folder, self._sources, self._config, self._tell = folder, sources, config, tell
        self._total = sum(source.size for source in sources) if all(source.size for source in sources) else 0
        self._processes = 1 if len(sources) == 1 and 0 < self._total <= sources[0].block else processes
        self._alone = len(sources) == 1 and len(sources[0].paths) == 1

    def make(self, tokenizer: Tokenizer | None) -> Record:
        """What the manifest says."""
        own = [story.text for story in self._own()]
        wished = 0.0 if own else self._config.held_out
        tokenizer, reason = self._settle(tokenizer, share_of(wished, self._total))
        records, notes = list[Record](), dict[str, None]()
        with Pool(self._processes, WORK) as pool:
            done = 0
            for record in self._stored(pool):
                records.append(record)
                done += record["size"]
                notes |= dict.fromkeys(record["notes"])
                self._tell(Progress("storing", min(done, self._total), self._total))
            records.sort(key=lambda record: tuple(map(int, record["name"].split("-")[1:])))
            found = finish(
                self._folder, records, tokenizer, pool, wished=wished, own=own,
                tell=lambda part: self._tell(Progress("finishing", round(part * self._total), self._total)),
            )  # fmt: skip
        said = [*islice(notes, NOTES), *_said(found, own=bool(own))]
        written = _written(self._folder / TOKENIZER)
        return {"tokenizer": written, "unit_reason": reason, "notes": said, **found}

    def _own(self) -> Sequence[Any]:
        """Stories of the user's own to measure on."""
        paths = self._config.held_out_paths
        return read_library(paths, self._config).stories if paths else ()

    def _settle(self, tokenizer: Tokenizer | None, share: float) -> tuple[Tokenizer, str]:
        """The tokenizer that was given, or learned before, or is learned now; and why its unit."""
        file = self._folder / TOKENIZER
        if tokenizer is None and file.exists():
            learned = read_json(self._folder / PLAN, _RECORD_LIMIT)
            return from_json(read_json(file, TOKENIZER_LIMIT)), str(learned.get("unit_reason", ""))
        reason = "as asked"
        if tokenizer is not None:
            made = tokenizer.to_json()
        else:
            self._tell(Progress("vocabulary", 0, self._total))
            with Pool(1, WORK, apart=self._total > BLOCK, threads=True) as pool:
                arguments = (list(self._sample()), self._config, self._total or 1 << 40, share)
                made, reason = next(pool.run([("learn", arguments)]))
            plan = _plan_of(self._folder, PLAN)
            write_json(self._folder / PLAN, {"plan": plan, "unit_reason": reason})
        write_json(file, made)
        return from_json(made), reason

    def _sample(self) -> Iterator[Block]:
        """Blocks from everywhere in the text."""
        places: list[tuple[int, int]] = []
        for number, source in enumerate(self._sources):
            whole = source.kind in ("text", "lines") and not source.is_packed
            places += [(number, part) for part in range(-(-source.size // source.block) if whole else 1)]
        count = min(LOOKED_AT, len(places))
        chosen = [places[len(places) * one // count] for one in range(count)]
        each = SAMPLE // len(chosen)
        for number in dict.fromkeys(number for number, _ in chosen):
            wanted = {part for one, part in chosen if one == number}
            blocks = blocks_of(number, self._sources[number], self._config, alone=self._alone)
            for block in blocks:
                brings = block.data is not None or block.texts
                if brings and block.part * self._sources[number].block >= each:
                    break
                if brings or block.part in wanted:
                    yield _shortened(block, each)

    def _stored(self, pool: Pool) -> Iterator[Record]:
        """The records of all blocks, those first that were done before."""
        before: list[Record] = []

        def tasks() -> Iterator[tuple[str, tuple[Any, ...]]]:
            for number, source in enumerate(self._sources):
                for block in blocks_of(number, source, self._config, alone=self._alone):
                    record = _done(self._folder, stem(number, block.part))
                    if record is not None:
                        before.append(record)
                    else:
                        yield "store", (str(self._folder), block, self._config)

        for record in pool.run(tasks()):
            yield from before
            before.clear()
            yield record
        yield from before


def _shortened(block: Block, most: int) -> Block:
    """A block that brings along no more than is looked at."""
    if block.data is not None:
        return replace(block, data=block.data[: block.data.rfind(b"\n", 0, most) + 1] or block.data[:most])
    return replace(block, texts=block.texts[: max(1, len(block.texts) * most // max(1, block.size))])


def _done(folder: Path, name: str) -> Record | None:
    """What was written down of a shard that is whole."""
    try:
        record = read_json(folder / f"{name}.json", _RECORD_LIMIT)
        whole = all(
            (folder / array(name, kind)).stat().st_size == file["size"] for kind, file in record["files"].items()
        )
        return record if whole and record["name"] == name else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _written(path: Path) -> Record:
    data = path.read_bytes()
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _said(found: Record, *, own: bool) -> Iterator[str]:
    """Notes on what is in the store."""
    train, held_out = found["train"]["shards"], found["held_out"]
    stories, tokens = (sum(record[what] for record in train) for what in ("stories", "tokens"))
    yield f"{stories:,} stories, {tokens:,} units in {len(train):,} shards"
    if found["copies"]:
        yield f"left out {found['copies']:,} {'copy' if found['copies'] == 1 else 'copies'} of other stories"
    if held_out:
        (aside,) = held_out["shards"]
        which = "measured on" if own else "kept aside:"
        size = held_out["counts"]["bytes"] / 1e6
        yield f"{which} {aside['stories']:,} stories, {size:.1f} MB"
    else:
        yield "nothing is kept aside"
