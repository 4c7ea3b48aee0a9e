"""The Python door: `fabula.train`, `fabula.evaluate`; each gathers the rooms for one errand and knows no terminal."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from fabula import baseline, config, folder, inheritance, machine, processes, recipe
from fabula.adaptation import Cache, Dynamic, recall
from fabula.corpus import encode, prepare
from fabula.engine import Engine
from fabula.errors import FolderError, MissingExtraError, TextError, UsageError
from fabula.evaluation import Measure, measure
from fabula.events import Listener
from fabula.mixture import Mixture
from fabula.store import Tell
from fabula.text import read_library
from fabula.tokens import from_json

if TYPE_CHECKING:
    from fabula.outcome import Outcome

Paths = str | Path | Sequence[str | Path]

QUIET_SPIN = 300_000
"""Rounds, about a millisecond, that a waiting thread spins where nothing else computes."""

BUSY_SPIN = 3000
"""Rounds where something does."""


def train(
    paths: Paths = (),
    out: str | Path | None = None,
    *,
    size: str | None = None,
    held_out: Paths = (),
    force: bool = False,
    both_ways: bool | None = None,
    resume: str | Path | None = None,
    from_model: str | Path | None = None,
    settings: config.Layer | None = None,
    listeners: Sequence[Listener] = (),
    tell: Tell | None = None,
    begun: float | None = None,
) -> Outcome:
    """Train on files and folders and write a model folder (by default `NAME-model` beside you).

    `settings` holds what is not left to fabula: `{"training": {"time": 60}, "text": {"unit": "words"}}`.
    `resume` names a folder whose training stopped before its end, `from_model` one whose model is to be started from;
    `size` is tiny, small, medium or large. `both_ways` learns to read from the end too (`fabula.meeting`). Texts that
    are too large for memory become a store in the folder (`fabula.store`), and `tell` hears how far that is.

    Errors: FabulaError and its children, each one line.

    >>> fabula.train("stories/", "my-model", settings={"training": {"time": 180}})  # doctest: +SKIP
    """
    begun = clock.perf_counter() if begun is None else begun
    if size is not None and size not in config.SIZES:
        raise UsageError(f"--size must be one of {', '.join(config.SIZES)}, got {size!r}")
    start = {"training": {"from_model": from_model and str(from_model), "both_ways": both_ways}}
    given = config.merge(config.from_environment(), settings or {}, start)
    if resume is not None:
        return _resume(Path(resume), given, listeners, begun)
    chosen = config.resolve(given)
    text = replace(
        chosen.text,
        paths=tuple(map(str, _listed(paths))) or chosen.text.paths,
        held_out_paths=tuple(map(str, _listed(held_out))) or chosen.text.held_out_paths,
    )
    if not text.paths:
        raise UsageError("expected a text to learn from: fabula train my-stories.txt")
    if "-" in text.paths and processes.count() > 1:
        raise UsageError("standard input can be read by one process only: put the text into a file")
    target = Path(out) if out is not None else default_folder(text.paths)
    if folder.is_of(target, processes.job()):  # started again, after a process of it was lost
        if folder.latest_step(target):
            return _resume(target, given, listeners, begun)
        force = True
    chosen, ancestors = replace(chosen, text=text), list[inheritance.Ancestor]()
    by_direction = [chosen, chosen]
    if chosen.training.from_model is not None:
        ancestors = _ancestors(chosen.training, target, force=force)
        by_direction = [inheritance.settle(ancestor, given, chosen, size) for ancestor in ancestors]
    if processes.is_first():
        folder.check_claim(target, force=force)
    # A window, or word2vec, needs all of the text in memory.
    stays = by_direction[0].model.window or chosen.training.vectors == "train"
    store, waits = None if stays else target / folder.STORE, not processes.is_first()
    if ancestors:
        corpus = inheritance.prepare_with(ancestors[0], by_direction[0].text, store=store, wait=waits, tell=tell)
    else:
        seconds = recipe.seconds(chosen.training)
        corpus = prepare(chosen.text, seconds=seconds, store=store, wait=waits, tell=tell)
    corpus = replace(corpus, notes=(*corpus.notes, *baseline.said_of(corpus)))
    if chosen.training.both_ways:
        return _ways().train(
            corpus, target, by_direction[0], backward=by_direction[1], size=size, force=force, ancestors=ancestors,
            listeners=listeners, begun=begun,
        )  # fmt: skip
    ancestor = ancestors[0] if ancestors else None
    return _training().train(
        corpus, target, by_direction[0], size=size, force=force, ancestor=ancestor, listeners=listeners, begun=begun
    )


def _ancestors(training: config.TrainingConfig, target: Path, *, force: bool) -> list[inheritance.Ancestor]:
    """The model to start from, read before its folder may be replaced, which only `force` allows.

    To learn both ways there are two, and the second is the one that reads from the end.
    """
    path = training.from_model or ""
    ancestors = [inheritance.read_ancestor(path)]
    if not force and target.exists() and target.samefile(path):
        raise UsageError(f"--from and -o are both {path!r}: name a new folder with -o, or replace the old by --force")
    return [*ancestors, inheritance.read_ancestor(path, backward=True)] if training.both_ways else ancestors


def _resume(out: Path, given: config.Layer, listeners: Sequence[Listener], begun: float) -> Outcome:
    """Go on from the newest checkpoint, with the settings it was made with and whatever is given anew."""
    saved, skipped = folder.read_checkpoint(out)
    if saved is None:
        raise FolderError(f"{str(out)!r} has no checkpoint to go on from: fabula train makes a new model (-o, --force)")
    begun_with, settings = config.resolve(saved.state["settings"]), config.resolve(saved.state["settings"], given)
    if saved.state.get("backward"):
        raise UsageError(f"{str(out)!r} is one half of a training: fabula train --resume {str(out.parent)!r}")
    for name in ("from_model", "freeze", "layer_decay", "both_ways"):
        if getattr(settings.training, name) != getattr(begun_with.training, name):
            option = {"from_model": "--from", "both_ways": "--both-ways"}.get(name, f"training.{name}")
            raise UsageError(f"--resume {str(out)!r} goes on as it was begun, got another {option}: leave one out")
    if "-" in settings.text.paths:
        raise UsageError(
            f"{str(out)!r} learned from standard input, which is gone: train from a file to be able to resume"
        )
    corpus = prepare(
        settings.text, tokenizer=from_json(saved.state["tokenizer"]), store=out / folder.STORE,
        digest=saved.state["digest"], wait=not processes.is_first(),
    )  # fmt: skip
    if corpus.digest != saved.state["digest"]:
        raise TextError(f"the text of {str(out)!r} has changed since its training stopped: bring it back, or --force")
    notes = [f"checkpoint {name} is damaged and was skipped" for name in skipped]
    corpus = replace(corpus, notes=(*notes, f"going on from step {saved.step:,}"))
    if settings.training.both_ways:
        path = settings.training.from_model
        begins = path is not None and folder.latest_step(out / folder.BACKWARD) is None
        ancestor = inheritance.read_ancestor(path or "", backward=True) if begins else None
        return _ways().resume(
            corpus, out, settings, saved, given=given, ancestor=ancestor, listeners=listeners, begun=begun
        )
    return _training().resume(corpus, out, settings, saved, listeners=listeners, begun=begun)


def calm_threads(spin: int | None = None) -> None:
    """Before torch is imported: how long threads that wait for each other spin before they sleep, in rounds.

    Where another program computes, long spinning makes learning many times slower; on a quiet machine it makes it
    faster, for a step is hundreds of short parallel regions (docs/log.md).
    """
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ["GOMP_SPINCOUNT"] = str(spin or (QUIET_SPIN if machine.is_quiet() else BUSY_SPIN))


@contextmanager
def _needing_torch(what: str) -> Generator[None]:
    """Around an import of a room that learns; torch takes a second to import, so mistakes are found before."""
    calm_threads()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # what a lost connection means we say ourselves
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("torch"):
            raise MissingExtraError(what, "train") from None
        raise


def _training() -> ModuleType:
    with _needing_torch("training"):
        from fabula import training  # noqa: PLC0415
    return training


def _ways() -> ModuleType:
    with _needing_torch("training"):
        from fabula import ways  # noqa: PLC0415
    return ways


def _dynamic() -> ModuleType:
    with _needing_torch("dynamic evaluation"):
        from fabula import dynamic  # noqa: PLC0415
    return dynamic


def evaluate(
    model: str | Path,
    paths: Paths,
    settings: config.Layer | None = None,
    *,
    mixture: Mixture | None = None,
    cache: Cache | None = None,
    dynamic: Dynamic | None = None,
) -> Measure:
    """Measure a model on texts: bits per byte, perplexity, accuracy. Errors: FolderError, TextError.

    What is asked for besides (`fabula.baseline.fit_again`, `fabula.adaptation`) is counted apart, each by itself, in
    `helped`. Only `dynamic` imports torch; error: MissingExtraError without it.
    """
    learning = _dynamic() if dynamic else None
    read = folder.read_model(model)
    shape, end, size = read.settings.model, read.tokenizer.end, read.tokenizer.size
    text = config.resolve(config.from_environment(), settings or {}).text
    part = encode(read_library(_listed(paths), text).stories, read.tokenizer)
    engine, streams = Engine(shape, size, read.weights), part.streams
    found = measure(engine, streams, end, part.counts, window=shape.window)
    static = found.costs
    if mixture:
        found = found.with_help("mixture", mixture.costs(static, streams), {"weight": mixture.weight})
    if cache:
        found = found.with_help("cache", recall(engine, streams, end, static, cache, window=shape.window), vars(cache))
    if dynamic and learning:
        found = found.with_help("dynamic", learning.learn_on(read, streams, dynamic), vars(dynamic))
    return found


def default_folder(paths: Sequence[str | Path]) -> Path:
    """Where a model goes when nobody says: `tales.txt` -> `tales-model`.

    >>> default_folder(["books/tales.txt"]).name
    'tales-model'
    """
    first = Path(paths[0])
    name = "story" if str(first) == "-" else (first.resolve().name.split(".")[0] or "story")
    return Path(f"{name}-model")


def _listed(paths: Paths) -> list[str | Path]:
    return [paths] if isinstance(paths, str | Path) else list(paths)
