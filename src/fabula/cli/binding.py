"""`fabula write --book`: a book written, bound and put down."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fabula.cli import visible
from fabula.cli.options import print_json
from fabula.errors import FolderError

if TYPE_CHECKING:
    from fabula.book import Chapter
    from fabula.config import SamplingConfig
    from fabula.storyteller import Storyteller


def bind(
    teller: Storyteller,
    words: int,
    beginning: str,
    sampling: SamplingConfig,
    *,
    model: str,
    out: Path | None,
    json: bool,
    quiet: bool,
) -> int:
    """Write a book of so many words as OUT.epub and OUT.html, telling of every chapter."""
    from fabula.book import to_epub, to_html, write_book  # noqa: PLC0415
    from fabula.folder import publish  # noqa: PLC0415

    base = out or Path(f"{model}-book")
    base = base.with_suffix("") if base.suffix in {".epub", ".html"} else base
    targets = [base.with_name(f"{base.name}.{kind}") for kind in ("epub", "html")]
    if there := next((target for target in targets if target.exists()), None):
        raise FolderError(f"{str(there)!r} exists: choose another name with -o")
    began = time.perf_counter()

    def tell(number: int, count: int, chapter: Chapter) -> None:
        if quiet:
            return
        left = (time.perf_counter() - began) * (count - number) / number
        copied = f", copied {chapter.copied.share:.0%}" if chapter.copied else ""
        more = f", about {left:.0f} s left" if number < count else ""
        sys.stderr.write(f"chapter {number} of {count}: {chapter.words:,} words{copied}{more}\n")

    title = base.name.replace("-", " ").replace("_", " ").strip().capitalize() or "A book"
    book = write_book(teller, words, beginning, title=title, model=model, sampling=sampling, tell=tell)
    try:
        for target, data in zip(targets, (to_epub(book), to_html(book).encode()), strict=True):
            publish(target, data)
    except OSError as error:
        raise FolderError(f"cannot write {str(targets[0])!r}: {error.strerror}") from None
    if json:
        chapters = [
            {
                "title": one.title, "words": one.words,
                "copied_4": one.copied and one.copied.share, "copied_8": one.copied and one.copied.long_share,
                "longest_copy": one.copied and one.copied.longest,
            }
            for one in book.chapters
        ]  # fmt: skip
        print_json({"epub": str(targets[0]), "html": str(targets[1]), "title": book.title, "chapters": chapters})
    else:
        sys.stdout.write("".join(f"{visible(str(target))}\n" for target in targets))
    return 0
