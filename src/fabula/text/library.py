"""Paths to a library: all stories of a user with what must be said aloud about them; the room's one way in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fabula.errors import TextError
from fabula.text.counting import count_words
from fabula.text.files import Document, Source, quoted, read_documents
from fabula.text.stories import Story, find_stories

if TYPE_CHECKING:
    from fabula.config import TextConfig


@dataclass(frozen=True)
class Library:
    """The stories of some files."""

    stories: tuple[Story, ...]
    documents: tuple[Source, ...]
    how: str
    """How stories were found, as `842 stories, by '# Title' lines`."""
    notes: tuple[str, ...] = ()
    """What to say aloud: guessed encodings, files left out, damage."""

    def opening(self, length: int = 200_000) -> str:
        """The first characters of all stories together: enough to know script and language by."""
        pieces: list[str] = []
        for story in self.stories:
            if length <= 0:
                break
            pieces.append(story.text[:length])
            length -= len(pieces[-1])
        return "\n".join(pieces)


def read_library(paths: Sequence[str | Path], config: TextConfig, *, stdin: BinaryIO | None = None) -> Library:
    """Reads files, folders, archives and `-` (standard input, given as `stdin`) and finds their stories.

    Errors: TextError when something is missing, binary, undecodable or has fewer than two words; MissingExtraError.
    """
    documents, notes = read_documents(paths, config, stdin)
    stories, how, dropped = find_stories(documents, config.stories)
    _check_words(stories, documents, paths)
    if dropped:
        notes.append(f"left out {dropped:,} empty {'story' if dropped == 1 else 'stories'}")
    return Library(
        tuple(stories),
        tuple(document.source for document in documents),
        how,
        (*_encoding_notes(documents), *notes),
    )


def _check_words(stories: Sequence[Story], documents: Sequence[Document], paths: Sequence[str | Path]) -> None:
    """Errors: TextError when there are not even two words to learn an order from."""
    count = 0
    for story in stories:
        count += count_words(story.text)
        if count >= 2:
            return
    one = quoted(paths[0]) if len(paths) == 1 else f"these {len(paths):,} paths"
    blank = any(part.text for document in documents for part in document.contents.parts)
    got = "one word" if count else "only white space" if blank else "nothing"
    raise TextError(f"{one} must hold at least two words (or two Chinese or Japanese characters), got {got}")


def _encoding_notes(documents: Sequence[Document]) -> list[str]:
    """One sentence for each guessed encoding and one for all damaged places."""
    notes: list[str] = []
    guessed = Counter(document.source.encoding for document in documents if document.source.guessed)
    for encoding, count in guessed.most_common():
        first = next(d.source.path for d in documents if d.source.guessed and d.source.encoding == encoding)
        which = quoted(first) if count == 1 else f"{count:,} files, the first {quoted(first)},"
        notes.append(f"{which} read as {encoding}, a guess: --encoding NAME overrules it")
    for document in documents:
        if document.contents.replaced:
            count = document.contents.replaced
            places = "a damaged place" if count == 1 else f"{count:,} damaged places"
            notes.append(f"{quoted(document.source.path)} has {places}, read as U+FFFD")
    return notes
