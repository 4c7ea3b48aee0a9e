"""The chapters of a book and their titles; knows no file format.

Each chapter goes on from the last words of the one before, so it costs what the first did, however long the book gets.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fabula.config import SamplingConfig
from fabula.errors import UnknownSymbolError, UsageError
from fabula.novelty import Copied
from fabula.storyteller import Storyteller
from fabula.text import count_words, guess_language, script_shares, word_spans, words_of
from fabula.tokens import Tokenizer

CHAPTER = 2500
"""Words of a chapter; a shorter book has shorter ones."""

FEWEST = 8
"""Chapters of a book that is long enough for them."""

SHORTEST = 200
"""Words below which a chapter is none."""

CARRIED = 400
"""Characters of a chapter that the next one goes on from."""

_CLAUSE = re.compile(r"[^.!?,;:\u2026\u3002\uff01\uff1f\uff0c\uff1b\uff1a\n]+")


@dataclass(frozen=True)
class Chapter:
    """One chapter."""

    title: str
    text: str
    words: int
    copied: Copied | None
    """What it has from the training text; None where nobody knows."""
    longest: str = ""
    """Its longest copied run, as it stands there."""


@dataclass(frozen=True)
class Book:
    """A whole book."""

    title: str
    language: str
    """Code for readers and their voices, `und` where it was not recognised."""
    model: str
    seed: int
    chapters: tuple[Chapter, ...]


def write_book(
    teller: Storyteller,
    words: int,
    prompt: str = "",
    *,
    title: str,
    model: str,
    sampling: SamplingConfig,
    tell: Callable[[int, int, Chapter], None] | None = None,
) -> Book:
    """A book of about so many words that begins with `prompt`; `tell` hears of every chapter when it is written.

    Errors: UsageError for fewer than `SHORTEST` words.
    """
    if words < SHORTEST:
        raise UsageError(f"a book must have at least {SHORTEST} words, got {words:,}: fabula write --words {words}")
    size = max(SHORTEST, min(CHAPTER, words // FEWEST))
    count = max(1, round(words / size))
    chapters: list[Chapter] = []
    before = prompt
    for number in range(count):
        told = teller.write(before, story=number, words=size, until="paragraph", sampling=sampling)
        text = (prompt if number == 0 else "") + told.text
        chapters.append(_chapter(teller, text.strip(), told.text, before))
        if tell:
            tell(number + 1, count, chapters[-1])
        before = _end_of(teller.tokenizer, text)
    return _bound(chapters, title=title, model=model, seed=sampling.seed)


def bind(teller: Storyteller, text: str, *, title: str, model: str, seed: int) -> Book:
    """A story that is written already as a book of one chapter; without a title it is called as it begins."""
    book = _bound([_chapter(teller, text.strip(), text, "")], title=title, model=model, seed=seed)
    return book if title else replace(book, title=book.chapters[0].title)


def _bound(chapters: Sequence[Chapter], *, title: str, model: str, seed: int) -> Book:
    """Chapters with their titles, and the language they are in."""
    named = tuple(
        replace(chapter, title=name)
        for chapter, name in zip(chapters, titles([chapter.text for chapter in chapters]), strict=True)
    )
    sample = "\n".join(chapter.text for chapter in named)[:100_000]
    language = guess_language(sample, script_shares(sample))
    return Book(title, "und" if language == "unknown" else language, model, seed, named)


def _chapter(teller: Storyteller, text: str, told: str, before: str) -> Chapter:
    """A chapter without a title yet."""
    found, longest = teller.copied(told, before), ""
    if found and found.runs:
        whole, run = before + told, max(found.runs, key=lambda one: one.length)
        spans = list(word_spans(whole))
        longest = whole[spans[run.start][0] : spans[run.start + run.length - 1][1]]
    return Chapter("", text, count_words(text), found, longest)


def _end_of(tokenizer: Tokenizer, text: str) -> str:
    """The last words of a text, and the gap after a paragraph; nothing where the unit cannot spell them again."""
    tail = text.rstrip()[-CARRIED:]
    space = tail.find(" ")
    end = (tail[space + 1 :] if 0 <= space < len(tail) // 2 else tail) + "\n\n"
    try:
        tokenizer.encode_prompt(end)
    except UnknownSymbolError:  # a symbol of the unit `symbols`, as people write it
        return ""
    return end


def titles(texts: Sequence[str]) -> list[str]:
    """A title for each chapter: a run of words that comes again in it and in no other, else how it begins.

    >>> titles(["The old miller slept. He, the old miller, snored.", "The fox ran, and a fox ran home."])
    ['Old miller', 'Fox ran']
    """
    words = [words_of(text) for text in texts]
    spread = Counter(word for own in words for word in set(own))
    common = {word for word, chapters in spread.items() if chapters >= max(2, len(texts) / 2)}
    # Of one chapter alone nothing tells what is its own.
    sizes = (3, 2) if len(texts) > 1 else ()
    runs = [{size: Counter(_runs(own, size)) for size in sizes} for own in words]
    everywhere = Counter(run for own in runs for counts in own.values() for run in counts)
    found: list[str] = []
    for text, own in zip(texts, runs, strict=True):
        fit = [
            (count * size, run)
            for size, counts in own.items()
            for run, count in counts.items()
            if count > 1 and everywhere[run] == 1 and not common & {run[0], run[-1]} and len("".join(run)) > size
        ]
        best = max(fit, key=lambda pair: pair[0], default=(0, ()))[1]
        name = _spelled(text, best) if best else _beginning(text)
        found.append(name[:1].upper() + name[1:])
    return found


def _runs(words: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(words[place : place + size]) for place in range(len(words) - size + 1)]


def _spelled(text: str, run: Sequence[str]) -> str:
    """How a text first spells a run of words, on one line."""
    spans = list(word_spans(text))
    place = next(
        place for place in range(len(spans)) if [word for _, _, word in spans[place : place + len(run)]] == list(run)
    )
    return " ".join(text[spans[place][0] : spans[place + len(run) - 1][1]].split())


def _beginning(text: str) -> str:
    """The first clause of a text, at most six words or twelve characters of a script without spaces."""
    clause = next((found.strip() for found in _CLAUSE.findall(text) if found.strip()), "…")
    words = clause.split()
    return " ".join(words[:6]) if len(words) > 1 or clause.isascii() else clause[:12]
