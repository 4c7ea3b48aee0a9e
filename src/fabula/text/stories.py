"""Documents to stories: finds where each begins and ends and says how; knows no files and no encodings."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fabula.errors import TextError
from fabula.text.contents import Part
from fabula.text.counting import count_words
from fabula.text.files import Document, quoted

TITLE = re.compile(r"^# +(?=\S)", re.MULTILINE)
SEPARATOR = re.compile(r"^[ \t]*(?:-{3,}|\*{3,}|={3,}|~{3,}|_{3,}|⁂|\f|(?:[-*=~] +){2,}[-*=~])[ \t]*$", re.MULTILINE)
GAP = re.compile(r"\n{3,}")
MARKER = "<|endoftext|>"
_MARKER_LINE = re.compile(r"^<\|endoftext\|>|<\|endoftext\|>$", re.MULTILINE)

WAYS: Mapping[str, str] = {
    "title": "by '# Title' lines",
    "separator": "by separator lines",
    "gap": "by gaps of two or more blank lines",
    "endoftext": f"by {MARKER}",
    "field": "one a row",
    "chapters": "by chapters",
    "file": "one a file",
    "whole": "one text",
}
"""How stories can be found, in words."""

_SHORT_FILE = 3_000  # words: a file below this, among others, is one story with its scene breaks
_SHORT_PIECE = 20  # words: what is mostly shorter was not cut into stories


@dataclass(frozen=True)
class Story:
    """One story and where it came from."""

    text: str
    """Without blank lines around it; a `# Title` line is part of it."""
    source: str
    """Path of its document."""
    title: str | None = None


def find_stories(
    documents: Sequence[Document], mode: str, *, alone: bool | None = None
) -> tuple[list[Story], str, int]:
    """The stories, a sentence that says how they were found, and how many empty ones were left out.

    `mode` is one of `TextConfig.stories`; `alone` says that there are no other documents, here or elsewhere. Errors:
    TextError for mode `field` on a text without fields.
    """
    if mode == "whole":
        text = "\n\n".join(part.text for document in documents for part in document.contents.parts)
        found = [(Story(trimmed(text), documents[0].source.path), "whole")]
    else:
        alone = len(documents) == 1 if alone is None else alone
        found = [pair for document in documents for pair in _stories_of(document, mode, alone=alone)]
    kept = [(story, way) for story, way in found if has_body(story.text)]
    return [story for story, _ in kept], _sentence(Counter(way for _, way in kept)), len(found) - len(kept)


def _stories_of(document: Document, mode: str, *, alone: bool) -> list[tuple[Story, str]]:
    """The stories of one document, each with the way in which it was found."""
    path, contents = document.source.path, document.contents
    if mode == "field" and contents.kind != "rows":
        raise TextError(f"stories by field need .jsonl or .csv files, got {quoted(path)}: try another --stories")
    if mode in ("auto", "field") and contents.kind == "rows":
        way, parts = "field", contents.parts
    elif mode == "auto" and contents.kind == "chapters":
        way, parts = "chapters", tuple(Part(piece) for part in contents.parts for piece in _titled(part.text))
    else:
        text = "\n\n".join(part.text for part in contents.parts)
        way, pieces = best_cut(text, alone=alone) if mode == "auto" else (mode, _CUTS[mode](text))
        parts = tuple(map(Part, pieces))
    texts = ((trimmed(part.text), part.title) for part in parts)
    return [(Story(text, path, title or _title(text)), way) for text, title in texts]


def best_cut(text: str, *, alone: bool) -> tuple[str, list[str]]:
    """The plainest marks that a running text has: `(way, pieces)`."""
    if _MARKER_LINE.search(text):
        return "endoftext", by_marker(text)
    titled = _titled(text)
    if len(titled) > 1:
        return "title", titled
    if alone or count_words(text) > _SHORT_FILE:
        separated = SEPARATOR.split(text)
        if _look_like_stories(separated, 3):
            return "separator", separated
        gapped = GAP.split(text)
        # Blank lines mean less than a line somebody drew: play scripts and headings have them too.
        if _look_like_stories(gapped, 5) and max(map(len, gapped)) * 2 < len(text):
            return "gap", gapped
    return "whole" if alone else "file", [text]


def _look_like_stories(pieces: Sequence[str], least: int) -> bool:
    """True for at least so many pieces, most of them longer than a heading."""
    full = [piece for piece in pieces if piece.strip()]
    return len(full) >= least and statistics.median(count_words(piece) for piece in full) >= _SHORT_PIECE


def _titled(text: str) -> list[str]:
    """The text by its titles when it has several with something below them, else in one piece."""
    pieces = by_titles(text)
    return pieces if sum(TITLE.match(piece) is not None and has_body(piece) for piece in pieces) > 1 else [text]


def by_titles(text: str) -> list[str]:
    """Cut before every `# Title` line."""
    starts = [found.start() for found in TITLE.finditer(text)]
    return [text[a:b] for a, b in zip([0, *starts], [*starts, len(text)], strict=True) if b > a]


def by_separators_and_gaps(text: str) -> list[str]:
    """Cut at separator lines and at gaps."""
    return [piece for part in SEPARATOR.split(text) for piece in GAP.split(part)]


def by_marker(text: str) -> list[str]:
    """Cut at `<|endoftext|>`."""
    pieces = text.split(MARKER)
    return pieces if pieces[-1].strip() else pieces[:-1]  # nothing is missing after the last marker


_CUTS: Mapping[str, Callable[[str], list[str]]] = {
    "file": lambda text: [text],
    "title": by_titles,
    "separator": by_separators_and_gaps,
    "endoftext": by_marker,
}


def trimmed(text: str) -> str:
    """The text without the blank lines around it; the indent of its first line stays.

    >>> trimmed("\\n  \\n  Once\\n upon \\n\\n")
    '  Once\\n upon '
    """
    lead = len(text) - len(text.lstrip())
    start = text.rfind("\n", 0, lead) + 1
    end = text.find("\n", len(text.rstrip()))
    return text[start:] if end < 0 else text[start : max(start, end)]


def _title(text: str) -> str | None:
    """The title when the first line is `# Title`."""
    return text.partition("\n")[0][2:].strip() or None if text.startswith("# ") else None


def has_body(text: str) -> bool:
    """True when there is more than blank space and a title."""
    if not text.startswith("# "):
        return bool(text) and not text.isspace()
    body = text.partition("\n")[2]
    return bool(body) and not body.isspace()


def _sentence(ways: Counter[str]) -> str:
    """`842 stories, by '# Title' lines`, or several ways with their counts."""
    total = ways.total()
    if len(ways) == 1:
        way = next(iter(ways))
        return WAYS[way] if way == "whole" else f"{total:,} {'story' if total == 1 else 'stories'}, {WAYS[way]}"
    parts = (f"{count:,} {WAYS[way]}" for way, count in ways.most_common())
    return f"{total:,} stories: {', '.join(parts)}"
