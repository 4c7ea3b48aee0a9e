"""`fabula store`."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fabula.cli.options import Config, Encoding, Json, Quiet, Set, layered, print_json
from fabula.cli.parsing import Option

if TYPE_CHECKING:
    from fabula.store import Store


def store(
    *paths: str,
    out: Annotated[Path | None, Option("-o")] = None,
    verify: bool = False,
    unit: str | None = None,
    held_out: tuple[str, ...] = (),
    processes: int | None = None,
    encoding: Encoding = None,
    config: Config = None,
    set_: Set = (),
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write texts of any size into a folder that training reads without loading it.

    Parameters
    ----------
    paths
        Files (also .parquet, .gz and .zip), folders, hf:OWNER/NAME[:SPLIT], or the store to verify.
    out
        Folder of the store; NAME-store when not given.
    verify
        Compare every file of a store with its SHA-256.
    unit
        What is learned and written: words, subwords, chars, bytes; auto when not given.
    held_out
        Texts of your own to measure on, in place of a share of the stories.
    processes
        How many work side by side; one a core when not given.
    """
    from fabula.cli.storing import Storing  # noqa: PLC0415
    from fabula.config import resolve  # noqa: PLC0415
    from fabula.errors import UsageError  # noqa: PLC0415
    from fabula.store import Progress, build  # noqa: PLC0415
    from fabula.store import verify as verify_store  # noqa: PLC0415

    begun = time.perf_counter()
    if verify and len(paths) != 1:
        raise UsageError("expected one store to verify: fabula store my-store --verify")
    if processes is not None and processes < 1:
        raise UsageError(f"--processes must be 1 or more, got {processes}")
    with Storing(quiet=quiet) as bar:
        if verify:
            found = verify_store(paths[0], lambda part: bar(Progress("verifying", round(part * 1000), 1000)))
        else:
            text = resolve(layered({"text": {"unit": unit, "encoding": encoding}}, set_, config)).text
            named = paths or text.paths
            if not named:
                raise UsageError("expected texts to store: fabula store library/ -o my-store")
            text = replace(text, paths=named, held_out_paths=held_out or text.held_out_paths)
            found = build(named, text, out or _default(named[0]), processes=processes, tell=bar)
    if json:
        print_json(_facts(found, time.perf_counter() - begun))
    elif verify:
        sys.stdout.write(f"sound: {len(found.files):,} files, {_bytes(found) / 1e6:,.1f} MB\n")
    else:
        for note in found.notes:
            bar.say(note, "dim")
        bar.say(f"unit: {found.tokenizer.unit}, {found.tokenizer.size:,} of them ({found.unit_reason})", "dim")
        bar.say(f"next: fabula train {found.path}", "bold")
    return 0


def _default(path: str) -> Path:
    """`library.txt` -> `library-store`, `hf:me/tales` -> `tales-store`."""
    name = Path(path.partition(":")[2].partition(":")[0] if path.startswith("hf:") else path).resolve().name
    return Path(f"{name.split('.')[0] or 'story'}-store")


def _bytes(found: Store) -> int:
    return sum(file["size"] for file in found.files.values())


def _facts(found: Store, seconds: float) -> dict[str, Any]:
    """What `--json` prints."""
    aside = found.held_out
    return {
        "store": str(found.path), "unit": found.tokenizer.unit, "vocabulary": found.tokenizer.size,
        "unit_reason": found.unit_reason, "stories": len(found.train), "units": found.train.tokens,
        "bytes": found.counts.bytes, "words": found.counts.words, "copies": found.copies,
        "held_out": aside and {
            "stories": len(aside), "units": aside.tokens,
            "bytes": found.held_out_counts.bytes if found.held_out_counts else 0,
        },
        "files": len(found.files), "stored_bytes": _bytes(found), "digest": found.digest,
        "notes": list(found.notes), "seconds": round(seconds, 3),
    }  # fmt: skip
