"""Stories made ready to learn from: split, unit chosen, counted and encoded; knows no network.

The only place where the text room and the tokens room meet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fabula import fineness
from fabula import store as stores
from fabula.config import TextConfig
from fabula.errors import FolderError, UsageError
from fabula.evaluation import Counts
from fabula.store import Store, Stored, Tell
from fabula.streams import Held, Stories
from fabula.text import Story, count_words, read_library, recommend_unit, split
from fabula.tokens import Tokenizer, build

EDGE = 1000
"""Units of a story in which its first or last words are found."""


@dataclass(frozen=True)
class Part:
    """Some stories as ids, with what is needed to judge a figure measured on them."""

    streams: Stories
    counts: Counts

    @property
    def tokens(self) -> int:
        """Units in all stories, end marks not counted."""
        return self.streams.tokens

    @property
    def held(self) -> int:
        """Those of them that lie in memory."""
        return self.tokens if self.streams.held else 0

    def backwards(self) -> Part:
        """The same stories from their ends to their beginnings; their bytes are the same."""
        return replace(self, streams=self.streams.backwards())


@dataclass(frozen=True)
class Corpus:
    """What a training reads: the stories' ids, their tokenizer, and the sentences that say how it came about."""

    tokenizer: Tokenizer
    train: Part
    held_out: Part | None
    held_out_stories: tuple[Story, ...]
    by_heart: bool
    unit_reason: str
    notes: tuple[str, ...]
    opening: str
    """The first words of the text: what a story told on the way begins with."""
    closing: str = ""
    """The last words of its first story: what one told backwards ends with."""
    backward: bool = False
    """Every story is read from its end to its beginning."""

    def kept(self, most: int) -> Part | None:
        """The beginning of what is held out, about `most` units of it."""
        if self.held_out is None or self.held_out.tokens <= most:
            return self.held_out
        return self.encoded(first(self.held_out_stories, self.tokenizer, most))

    def encoded(self, stories: Sequence[Story]) -> Part:
        """Some stories as ids, in the order in which they are read."""
        part = encode(stories, self.tokenizer)
        return part.backwards() if self.backward else part

    def backwards(self) -> Corpus:
        """The same stories, each read from its end to its beginning."""
        held_out = self.held_out.backwards() if self.held_out else None
        return replace(self, train=self.train.backwards(), held_out=held_out, notes=(), backward=True)

    @property
    def digest(self) -> str:
        """Hash of the training stream; two corpora with the same digest teach the same."""
        if isinstance(self.train.streams, Stored):
            return self.train.streams.digest
        total = hashlib.sha256()
        for stream in self.train.streams:
            total.update(len(stream).to_bytes(8, "little"))
            total.update(np.ascontiguousarray(stream, dtype="<i4").tobytes())
        return total.hexdigest()


def count(stories: Sequence[Story]) -> Counts:
    """Bytes (UTF-8), characters and words of some stories."""
    return Counts(
        bytes=sum(len(story.text.encode()) for story in stories),
        chars=sum(len(story.text) for story in stories),
        words=sum(count_words(story.text) for story in stories),
    )


def encode(stories: Sequence[Story], tokenizer: Tokenizer) -> Part:
    """Some stories as ids."""
    return Part(Held(tokenizer.encode_many([story.text for story in stories])), count(stories))


def first(stories: Sequence[Story], tokenizer: Tokenizer, most: int) -> tuple[Story, ...]:
    """Stories from the first on, the last of them cut, until there are about `most` units."""
    taken: list[Story] = []
    for story in stories:
        units = len(tokenizer.encode(story.text))
        if units >= most:
            return (*taken, replace(story, text=story.text[: max(1, len(story.text) * most // units)]))
        taken.append(story)
        most -= units
    return tuple(taken)


def prepare(
    config: TextConfig,
    *,
    tokenizer: Tokenizer | None = None,
    stdin: BinaryIO | None = None,
    seconds: float | None = None,
    store: Path | None = None,
    digest: str | None = None,
    wait: bool = False,
    tell: Tell | None = None,
) -> Corpus:
    """Read `config.paths`, split, choose the unit, learn its vocabulary, encode.

    `tokenizer` is given when a training goes on, `seconds` where it will last that long. A single path may be a store.
    Texts that are too large for memory become one at `store`, where that is given; with `wait` another process makes
    it. The one that is there is taken, whatever became of the texts, if its digest is `digest`. `tell` hears how far it
    is.

    Errors: TextError; MissingExtraError when a format or script needs an extra; FolderError of a store.
    """
    if digest is not None and store is not None and stores.is_store(store):
        found = stores.open_store(store)
        if found.digest == digest:
            return _from_store(found)
    if path := next(filter(stores.is_unfinished, config.paths), None):
        raise FolderError(f"the store {path!r} is unfinished: the same fabula store as before goes on with it")
    if path := next(filter(stores.is_store, config.paths), None):
        if len(config.paths) > 1:
            raise UsageError(f"the store {path!r} must be the only text, got {len(config.paths)}: store them together")
        found = stores.open_store(path)
        _check(found, config, tokenizer)
        return _from_store(found)
    if store is not None and stores.is_large(config.paths):
        return _from_store(stores.build(config.paths, config, store, tokenizer=tokenizer, tell=tell, wait=wait))
    library = read_library(config.paths, config, stdin=stdin)
    notes = [library.how, *library.notes]
    if config.held_out_paths:
        own = read_library(config.held_out_paths, config)
        train, kept, by_heart = list(library.stories), list(own.stories), False
        notes.append(f"measured on {'a text' if len(kept) == 1 else f'{len(kept):,} stories'} of your own")
    else:
        parts = split(library, config.held_out)
        train, kept, by_heart = list(parts.train), list(parts.held_out), parts.by_heart
        notes.append(parts.how)
    unit, reason = recommend_unit(library) if config.unit == "auto" else (config.unit, "as asked")
    if tokenizer is None:
        # `symbols` has no way to spell what it has not met, so its vocabulary is that of the whole text.
        taught = [story.text for story in ([*train, *kept] if unit == "symbols" else train)]
        tokenizer = build(unit, taught, config.vocabulary)
        if unit == "subwords" and config.vocabulary is None and seconds is not None and not by_heart:
            steps = fineness.steps(sum(len(text.encode()) for text in taught), seconds)
            usual, tokenizer = tokenizer, fineness.finer(tokenizer, taught, steps)
            if tokenizer is not usual:
                notes.append(
                    f"{tokenizer.size:,} subwords in place of {usual.size:,}: a text that is read often is foretold "
                    "better by finer ones, says an n-gram model"
                )
    return Corpus(
        tokenizer=tokenizer,
        train=encode(train, tokenizer),
        held_out=encode(kept, tokenizer) if kept else None,
        held_out_stories=tuple(kept),
        by_heart=by_heart,
        unit_reason=reason,
        notes=tuple(note for note in notes if note),
        opening=_opening(train[0]),
        closing=_closing(train[0]),
    )


def _from_store(store: Store) -> Corpus:
    """The corpus that a store holds; only what is held out is read."""
    tokenizer, aside = store.tokenizer, store.held_out
    held_out = Part(aside, store.held_out_counts) if aside is not None and store.held_out_counts else None
    first = store.train[0]
    beginning, ending = (tokenizer.decode(units) for units in (first[:EDGE], first[-EDGE:]))
    title = beginning.partition("\n")[0][2:].strip() if beginning.startswith("# ") else None
    return Corpus(
        tokenizer=tokenizer,
        train=Part(store.train, store.counts),
        held_out=held_out,
        held_out_stories=tuple(Story(tokenizer.decode(units), str(store.path)) for units in aside or ()),
        by_heart=False,
        unit_reason=store.unit_reason,
        notes=(f"read from the store {str(store.path)!r}", *store.notes),
        opening=_opening(Story(beginning, "", title or None)),
        closing=_closing(Story(ending, "")),
    )


def _check(store: Store, config: TextConfig, tokenizer: Tokenizer | None) -> None:
    """Make sure that a store is what is asked for; errors: UsageError."""
    own, name = store.tokenizer, repr(str(store.path))
    if tokenizer is not None and tokenizer.to_json() != own.to_json():
        raise UsageError(f"the store {name} was written in other units than the model knows: give its texts instead")
    if config.unit not in ("auto", own.unit):
        raise UsageError(f"the store {name} holds {own.unit}, got the unit {config.unit}: leave it out")
    if config.vocabulary is not None and own.size > config.vocabulary:
        raise UsageError(
            f"the store {name} knows {own.size:,} {own.unit}, got text.vocabulary={config.vocabulary}: leave it out"
        )
    if config.held_out_paths:
        raise UsageError(f"the store {name} has chosen what it is measured on: give --held-out to fabula store")


def _opening(story: Story) -> str:
    """The first three words of a story without its title, or its first four characters where words have no spaces."""
    text = story.text.split("\n", 1)[-1] if story.title else story.text
    words = text.split()
    if not words:
        return story.text[:4]
    return " ".join(words[:3]) if len(words[0]) <= 24 and count_words(words[0]) == 1 else words[0][:4]


def _closing(story: Story) -> str:
    """The last three words of a story, or its last four characters where words have no spaces."""
    words = story.text.split()[-3:]
    if not words:
        return story.text[-4:]
    return " ".join(words) if len(words[-1]) <= 24 and count_words(words[-1]) <= 1 else words[-1][-4:]
