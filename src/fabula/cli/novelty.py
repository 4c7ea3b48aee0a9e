"""`fabula novelty`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fabula.cli.options import STDIN, Encoding, Json, Quiet, layered, print_json
from fabula.cli.parsing import Option

if TYPE_CHECKING:
    from fabula.comparison import Comparison, Passage
    from fabula.config import TextConfig

SHOWN = 10
"""Runs that are listed, the longest first."""


def novelty(
    story: str,
    /,
    *,
    source: Annotated[tuple[str, ...], Option("-s")] = (),
    html: Path | None = None,
    lang: str | None = None,
    encoding: Encoding = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Show what a story has copied, from where, and how that compares with what people copy.

    Parameters
    ----------
    story
        A text file, or - for stdin.
    source
        Files and folders it may be copied from; may be given again.
    html
        Write a page too.
    lang
        What the page opens in: en or zh; the browser's language when not given.
    """
    from fabula.cli.waiting import waiting  # noqa: PLC0415
    from fabula.comparison import compare, render  # noqa: PLC0415
    from fabula.config import resolve  # noqa: PLC0415
    from fabula.errors import UsageError  # noqa: PLC0415
    from fabula.pages import check_language  # noqa: PLC0415

    if not source:
        raise UsageError(f"expected what it may be copied from: fabula novelty {story} --source stories/")
    check_language(lang)
    settings = resolve(layered({"text": {"encoding": encoding}}))
    with waiting("comparing ...", quiet=quiet):
        found = compare(_read(story, settings.text), source, settings.text)
    name = "stdin" if story == STDIN else Path(story).name
    if html is not None:
        _write(html, render(found, name, lang))
    if json:
        print_json(found.to_json())
        return 0
    _show(found)
    if html is not None and not quiet:
        from fabula.cli import visible  # noqa: PLC0415

        sys.stderr.write(f"page: {visible(str(html))}\n")
    return 0


def _read(story: str, config: TextConfig) -> str:
    """The text of a file or of stdin; errors: TextError."""
    from fabula.text import read_library  # noqa: PLC0415

    return read_library((story,), replace(config, stories="whole")).stories[0].text


def _write(path: Path, page: str) -> None:
    from fabula.errors import FolderError  # noqa: PLC0415
    from fabula.folder import publish  # noqa: PLC0415

    try:
        publish(path, page.encode())
    except OSError as error:
        raise FolderError(f"cannot write {str(path)!r}: {error.strerror}") from None


def _show(found: Comparison) -> None:
    """The story with its copied runs in colour, the shares beside those of people, and the longest runs."""
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from fabula.cli import visible  # noqa: PLC0415
    from fabula.novelty import LONG  # noqa: PLC0415

    console = Console(highlight=False, soft_wrap=True)
    if console.is_terminal:
        coloured = Text(visible(found.text))
        for passage in sorted(found.passages, key=lambda one: one.words):
            look = "bold red" if passage.words >= LONG else "yellow"
            coloured.stylize(look, passage.start, passage.end)
        console.print(coloured, "")
    console.print(f"{found.words:,} words; the longest copied run has {found.longest}")
    people = f", people {{:.1%}} (of {found.human_words:,} words set aside)" if found.human else ""
    for length, share in found.shares.items():
        beside = people.format(found.human[length]) if found.human else ""
        console.print(f"in runs of {length:>2} or more: {share:6.1%}{beside}")
    for passage in sorted(found.passages, key=lambda one: -one.words)[:SHOWN]:
        console.print(Text(visible(f"{passage.words:>3} words, {_place(passage)}: {_quoted(passage.quote)}")))


def _place(passage: Passage) -> str:
    title = f", {passage.title!r}" if passage.title else ""
    return f"{passage.source}{title}, line {passage.line}"


def _quoted(text: str) -> str:
    """A run on one line, its middle left out where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= 100 else f"{line[:60]} ... {line[-30:]}"
