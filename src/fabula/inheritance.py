"""A model to start from: its shape, units, weights unit by unit, and the stories it was judged by; learns nothing.

Legend: V vocabulary, E embedding width, H hidden units, n some units.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fabula import clusters, config, folder
from fabula.config import SIZES, Layer, Settings, TextConfig
from fabula.corpus import Corpus, Part, first, prepare
from fabula.engine.weights import check_values
from fabula.errors import FabulaError, FolderError, UsageError
from fabula.folder import Weights
from fabula.store import Tell, is_large, is_store
from fabula.streams import Held
from fabula.text import Story, read_library, split
from fabula.tokens import Ids, Tokenizer, from_json

SHAPE = ("cell", "layers", "hidden", "embedding", "ngrams", "buckets", "head")

GENTLER = 1 / 3
"""Of the learning rate that a new model would get: what is there to start from shall change slowly."""

NOISE = 0.1
"""Deviation of a new unit's numbers from the mean of the old ones, as a share of theirs."""

_LISTS = {"symbols": "symbols", "words": "pieces", "chars": "characters"}
"""Units whose vocabulary can grow, and where `tokenizer.json` lists it; the others spell every text as they are."""

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Ancestor:
    """The model that a training starts from, and the folder it was read from as the user wrote it."""

    path: str
    model: folder.Model
    text: TextConfig | None
    """What it learned from; None where its folder does not say so any more."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """Stories that the old model had kept aside, and how well it foretold them."""

    stories: Part
    """In the units of the new model."""
    bits_per_byte: float
    """What the old model needed."""
    seconds: float
    """How long measuring that took."""


def read_ancestor(path: str, *, backward: bool = False) -> Ancestor:
    """Read the model in a folder; errors: FolderError for a missing, unfinished or damaged one.

    With `backward` the one inside that reads from the end.
    """
    model = folder.read_backward(path) if backward else folder.read_model(path)
    path = str(Path(path) / folder.BACKWARD) if backward else path
    try:
        check_values(model.weights)
    except FolderError as error:
        raise FolderError(f"{path!r} is damaged ({error})"[:199]) from None
    try:
        said = tomllib.loads(folder.read_text(Path(path), "training.toml") or "")
        text = config.resolve({"text": said["text"]}).text
    except (tomllib.TOMLDecodeError, RecursionError, KeyError, UsageError):
        text = None
    return Ancestor(path, model, text)


# --- shape and units -----------------------------------------------------------------------------------------------


def settle(ancestor: Ancestor, given: Layer, settings: Settings, size: str | None) -> Settings:
    """Settings with the shape, the window and the unit of the old model, where `given` does not ask for others.

    Errors: UsageError for a wish that the old model cannot fulfil.
    """
    path, old, tokenizer = ancestor.path, ancestor.model.settings.model, ancestor.model.tokenizer
    asked, model, text, training = given.get("model", {}), settings.model, settings.text, settings.training
    for name in SHAPE:
        wish = getattr(model, name) if name in asked else None
        if wish not in (None, "auto", getattr(old, name)):
            raise UsageError(f"{path!r} has model.{name}={getattr(old, name)}, got {wish}: leave it out, or --from")
    for name, wish in SIZES[size].items() if size else ():
        if getattr(old, name) != wish:
            raise UsageError(f"{path!r} has {name} {getattr(old, name)}, but --size {size} means {wish}: leave it out")
    if text.unit not in ("auto", tokenizer.unit):
        raise UsageError(f"{path!r} reads {tokenizer.unit}, got the unit {text.unit}: leave it out, or --from")
    if text.vocabulary is not None and text.vocabulary < tokenizer.size:
        raise UsageError(
            f"{path!r} knows {tokenizer.size:,} {tokenizer.unit}, got text.vocabulary={text.vocabulary}: leave it out"
        )
    if training.vectors is not None:
        raise UsageError(
            f"word vectors come from {path!r}, got {training.vectors!r} too: leave out --vectors or --from"
        )
    shape: dict[str, Any] = {name: getattr(old, name) for name in SHAPE}
    window = model.window if "window" in asked else old.window
    model = replace(model, **shape, window=window)
    return replace(settings, text=replace(text, unit=tokenizer.unit), model=model)


def prepare_with(
    ancestor: Ancestor, text: TextConfig, *, store: Path | None = None, wait: bool = False, tell: Tell | None = None
) -> Corpus:
    """`corpus.prepare` in the units of the old model, and those of the new text after them; errors as there.

    No unit is lost, so what the old model foretold can still be said. Bytes and subwords spell every text as they are,
    and a text that becomes a store is spelled in what the old model knows.
    """
    old = ancestor.model.tokenizer
    if old.unit not in _LISTS or _is_stored(text):
        corpus = prepare(text, tokenizer=old, store=store, wait=wait, tell=tell)
    else:
        corpus = prepare(text)
        new, joined = corpus.tokenizer, _joined(old, corpus.tokenizer, text.vocabulary)
        corpus = replace(
            corpus,
            tokenizer=joined,
            train=_recoded(corpus.train, new, joined),
            held_out=_recoded(corpus.held_out, new, joined) if corpus.held_out else None,
        )
    return replace(corpus, unit_reason=f"as in {ancestor.path}")


def _is_stored(text: TextConfig) -> bool:
    """Whether a text is, or becomes, a store."""
    return (len(text.paths) == 1 and is_store(text.paths[0])) or is_large(text.paths)


def _joined(old: Tokenizer, new: Tokenizer, most: int | None) -> Tokenizer:
    """The old units, then those that are new, the most frequent first, while there is room."""
    mine: Any = old.to_json()
    others: Any = new.to_json()
    field = _LISTS[old.unit]
    known = set(mine[field])
    extra = [unit for unit in others[field] if unit not in known]
    if most is not None and old.lossless:
        extra = extra[: max(0, most - old.size)]
    if not extra:
        return old
    units = [*mine[field], *extra]
    if old.unit == "words":
        seen = Counter(dict(zip(mine[field], mine["counts"], strict=True)))
        seen.update(dict(zip(others[field], others["counts"], strict=True)))
        return from_json({"unit": old.unit, field: units, "counts": [seen[unit] for unit in units]})
    return from_json({"unit": old.unit, field: "".join(units) if old.unit == "chars" else units})


def _recoded(part: Part, before: Tokenizer, after: Tokenizer) -> Part:
    """Stories in the units of another tokenizer of the same kind."""
    between = b"" if before.lossless else b" "  # symbols bring no space that could be relied on
    texts = [between.join(map(before.spelling, stream.tolist())).decode() for stream in part.streams]
    return replace(part, streams=Held(after.encode_many(texts)))


# --- weights -------------------------------------------------------------------------------------------------------


def sources(old: Tokenizer, new: Tokenizer) -> Integers:
    """For every new id the old one of the same spelling, or -1: shape (V,).

    Where a character and a byte are spelled alike the character comes first, and takes the byte's place if it is new.
    """
    places: dict[bytes, list[int]] = {}
    for token in range(old.size):
        places.setdefault(old.spelling(token), []).append(token)
    met: Counter[bytes] = Counter()
    found = np.full(new.size, -1, np.int64)
    for token in range(new.size):
        spelling = new.spelling(token)
        if spelling in places:
            found[token] = places[spelling][min(met[spelling], len(places[spelling]) - 1)]
            met[spelling] += 1
    return found


def expected_counts(counts: Integers, ancestor: Ancestor, source: Integers) -> Integers:
    """How often units come in the old and the new text, each taken as long as the new one: `counts` (V,) -> (V,).

    The adaptive layer sorts its units by this. Of the old text only the ranks are known, so Zipf's law stands for it.
    """
    ranks = ancestor.model.weights["head.places"].astype(np.int64)
    frequency = 1 / (np.arange(len(ranks)) + 2.0)
    before = np.where(source >= 0, frequency[ranks[source]], 0.0)
    return counts + np.round(before / before.sum() * counts.sum()).astype(np.int64)


def inherit(ancestor: Ancestor, source: Integers, fresh: Weights, seed: int) -> dict[str, NDArray[Any]]:
    """The weights to begin with: the old ones by spelling, and for new units the mean of the old with a little noise.

    `source` is what `sources` found; `fresh` are the weights of the new network as it was made. Where the units are the
    old ones the weights are too, bit for bit.
    Vectors of n-grams begin anew where they are not, for ids are hashed. Source of the mean: Hewitt 2021, "Initializing
    new word embeddings".
    """
    old: Mapping[str, NDArray[Any]] = ancestor.model.weights
    if np.array_equal(source, np.arange(ancestor.model.tokenizer.size)):
        return dict(old)
    rng = np.random.default_rng(seed)
    begun = {name: old[name] if name.startswith("cells.") else fresh[name] for name in fresh}
    begun |= {name: old[name] for name in ("head.projection.weight",) if name in old}
    head, rows = ancestor.model.settings.model.head, ("embedding.weight", "head.weight", "head.bias")
    for name in rows[:1] if head == "adaptive" else [name for name in rows if name in old]:
        begun[name] = _rows(old[name], source, rng)
    return begun if head != "adaptive" else begun | _adaptive(ancestor, source, fresh)


def _rows(old: Floats, source: Integers, rng: np.random.Generator) -> Floats:
    """Rows by unit, (V', ...) -> (V, ...)."""
    noise = rng.standard_normal((len(source), *old.shape[1:]), np.float32)
    rows = old.mean(axis=0) + NOISE * old.std(axis=0) * noise
    rows[source >= 0] = old[source[source >= 0]]
    return rows.astype(np.float32)


def _adaptive(ancestor: Ancestor, source: Integers, fresh: Weights) -> dict[str, NDArray[Any]]:
    """The adaptive layer: who stays in a cluster keeps row and bias there, who moves is told apart as before."""
    old, judged = ancestor.model.weights, ancestor.model.settings.model.judged
    places, former = fresh["head.places"].astype(np.int64), old["head.places"].astype(np.int64)
    came = np.where(source >= 0, former[source], -1)[places.argsort()]  # (V,) by new rank: the old rank, or -1
    first, then = clusters.shortlist(len(came)), clusters.shortlist(len(former))
    tails, before = clusters.tails(len(came), judged), clusters.tails(len(former), judged)
    own_names = [name for name in fresh if name.startswith("head.") and name != "head.projection.weight"]
    begun: dict[str, NDArray[Any]] = {name: fresh[name].copy() for name in own_names}
    stays = (came[:first] >= 0) & (came[:first] < then)
    begun["head.bias"][:first][stays] = old["head.bias"][came[:first][stays]]
    shared = min(len(tails), len(before))
    begun["head.bias"][first : first + shared] = old["head.bias"][then : then + shared]
    begun["head.clusters"][:shared] = old["head.clusters"][:shared]
    for number, tail in enumerate(tails):
        name, own = f"head.tails.{number}", came[tail.start : tail.end]  # (n,)
        stays = np.zeros(len(own), bool)
        if number < shared:
            begun[f"{name}.projection"] = old[f"{name}.projection"]
            stays = (own >= before[number].start) & (own < before[number].end)
            for kind in ("weight", "bias"):
                begun[f"{name}.{kind}"][stays] = old[f"{name}.{kind}"][own[stays] - before[number].start]
        moved = (own >= 0) & ~stays
        inverse = np.linalg.pinv(begun[f"{name}.projection"])  # (H, width)
        begun[f"{name}.weight"][moved] = _directions(ancestor, own[moved]) @ inverse
    return begun


def _directions(ancestor: Ancestor, ranks: Integers) -> Floats:
    """What the old adaptive layer multiplied hidden states with for the units of some ranks: (n,) -> (n, H)."""
    old, judged = ancestor.model.weights, ancestor.model.settings.model.judged
    found = np.zeros((len(ranks), judged), np.float32)
    for number, tail in enumerate(clusters.tails(len(old["head.places"]), judged)):
        inside = (ranks >= tail.start) & (ranks < tail.end)
        rows = old[f"head.tails.{number}.weight"][ranks[inside] - tail.start]
        found[inside] = rows @ old[f"head.tails.{number}.projection"]
    short = ranks < clusters.shortlist(len(old["head.places"]))
    vectors = old["embedding.weight"][old["head.places"].argsort()[ranks[short]]]  # (n, E)
    found[short] = vectors @ old["head.projection.weight"] if "head.projection.weight" in old else vectors
    return found


# --- what it could do before ---------------------------------------------------------------------------------------


def stories_kept(ancestor: Ancestor, most: int) -> tuple[Story, ...] | str:
    """The stories that the old model had kept aside, up to `most` of its units; or why they cannot be had."""
    text, about = ancestor.text, ancestor.model.about
    if not about.get("held_out"):
        return "it kept no stories aside"
    if text is None or not text.paths or "-" in (*text.paths, *text.held_out_paths):
        return "its text cannot be read again"
    if _is_stored(text):
        return _stored_stories(ancestor, text.paths[0], most)
    try:
        library = read_library(text.paths, text)
        sides = split(library, 0.0 if text.held_out_paths else text.held_out)
        kept = read_library(text.held_out_paths, text).stories if text.held_out_paths else sides.held_out
    except FabulaError:
        return "its text is not where it was"
    sizes = {"learned_from": _bytes(sides.train), "held_out": _bytes(kept)}
    for side, size in sizes.items():
        facts = about.get(side)
        if not isinstance(facts, dict) or facts.get("bytes") != size:
            return "its text has changed"
    return first(kept, ancestor.model.tokenizer, most)


def _stored_stories(ancestor: Ancestor, path: str, most: int) -> tuple[Story, ...] | str:
    """The same for a model whose text lies in a store: the one it was given, or its own."""
    own = Path(ancestor.path).parent if ancestor.model.about.get("backward") else Path(ancestor.path)
    place = path if is_store(path) else str(own / folder.STORE)
    try:
        corpus = prepare(TextConfig(paths=(place,)), tokenizer=ancestor.model.tokenizer)
    except FabulaError:
        return "its store is not where it was"
    if ancestor.model.about.get("digest") not in (corpus.digest, corpus.backwards().digest):
        return "its text has changed"
    return first(corpus.held_out_stories, ancestor.model.tokenizer, most)


def _bytes(stories: Sequence[Story]) -> int:
    return sum(len(story.text.encode()) for story in stories)


def cut(stream: Ids, end: int) -> tuple[Ids, ...]:
    """Stories that `streams.join` made one: `end s1 end s2` -> s1, s2.

    >>> [story.tolist() for story in cut(np.array([9, 5, 6, 9, 7], np.int32), end=9)]
    [[5, 6], [7]]
    """
    return tuple(story[1:] for story in np.split(stream, np.flatnonzero(stream == end))[1:])
