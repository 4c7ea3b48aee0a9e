"""`fabula inspect`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fabula.cli.options import Encoding, Json, Quiet, Set, layered, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fabula.text import Autopsy

SHOWN = 5
"""Files named one by one; more are counted."""


def inspect(
    *paths: str,
    encoding: Encoding = None,
    set_: Set = (),
    json: Json = False,
    quiet: Quiet = False,  # noqa: ARG001 - there is nothing to be quiet about
) -> int:
    """Look at texts before learning from them: encoding, language, stories, copies, what to hope for.

    Parameters
    ----------
    paths
        Files, folders, or - for stdin.
    """
    from fabula.cli import visible  # noqa: PLC0415
    from fabula.config import resolve  # noqa: PLC0415
    from fabula.errors import UsageError  # noqa: PLC0415
    from fabula.text import inspect_library, read_library  # noqa: PLC0415

    if not paths:
        raise UsageError("expected a text to look at: fabula inspect my-stories.txt")
    config = resolve(layered({"text": {"encoding": encoding}}, set_)).text
    autopsy = inspect_library(read_library(paths, config))
    if json:
        print_json(autopsy.to_json())
        return 0
    for name, value in _rows(autopsy):
        sys.stdout.write(visible(f"{name:<14} {value}") + "\n")
    return 0


def _rows(found: Autopsy) -> Iterator[tuple[str, str]]:
    """What to show, line by line."""
    for source in found.sources[:SHOWN]:
        guessed = ", a guess" if source.guessed else ""
        yield "file", f"{source.path}: {source.size:,} bytes, {source.encoding}{guessed}"
    if len(found.sources) > SHOWN:
        yield "", f"and {len(found.sources) - SHOWN:,} more"
    shares = ", ".join(f"{name} {share:.0%}" for name, share in found.scripts.items() if share >= 0.005)
    yield "language", f"{found.language} ({shares or 'no letters'})"
    yield "stories", f"{found.how}; {found.shortest:,} to {found.longest:,} words, median {found.median:,.0f}"
    yield "size", f"{found.words:,} words, {found.distinct_words:,} different; {found.characters:,} characters"
    if found.exact_duplicates or found.near_duplicates:
        yield "copies", f"{found.exact_duplicates:,} stories stand twice, {found.near_duplicates:,} pairs nearly so"
    for pair in found.likenesses:
        yield "", f"{pair.likeness:.0%} alike: {pair.one} / {pair.other}"
    for finding in found.boilerplate:
        yield "not a story", f"{finding.kind}, {finding.count:,} times: {finding.example}"
    for note in found.notes:
        yield "note", note
    yield "unit", f"{found.unit}: {found.unit_reason}"
    yield "hope", found.hope
