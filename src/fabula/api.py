"""The Python door: `fabula.train`, `fabula.evaluate`; each gathers the rooms for one errand and knows no terminal."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from fabula import config, folder
from fabula.corpus import encode, prepare
from fabula.errors import FolderError, MissingExtraError, TextError, UsageError
from fabula.evaluation import Measure, measure
from fabula.events import Listener
from fabula.storyteller import load
from fabula.text import read_library
from fabula.tokens import from_json

if TYPE_CHECKING:
    from fabula.training import Outcome

Paths = str | Path | Sequence[str | Path]


def train(
    paths: Paths = (),
    out: str | Path | None = None,
    *,
    size: str | None = None,
    held_out: Paths = (),
    force: bool = False,
    resume: str | Path | None = None,
    settings: config.Layer | None = None,
    listeners: Sequence[Listener] = (),
    begun: float | None = None,
) -> Outcome:
    """Train on files and folders and write a model folder (by default `NAME-model` beside you).

    `settings` holds what is not left to fabula: `{"training": {"time": 60}, "text": {"unit": "words"}}`.
    `resume` names a folder whose training stopped before its end; `size` is tiny, small, medium or large.

    Errors: FabulaError and its children, each one line.

    >>> fabula.train("stories/", "my-model", settings={"training": {"time": 180}})  # doctest: +SKIP
    """
    begun = clock.perf_counter() if begun is None else begun
    if size is not None and size not in config.SIZES:
        raise UsageError(f"--size must be one of {', '.join(config.SIZES)}, got {size!r}")
    given = config.merge(config.from_environment(), settings or {})
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
    target = Path(out) if out is not None else default_folder(text.paths)
    folder.check_claim(target, force=force)
    corpus = prepare(text)
    training = _training()
    return training.train(
        corpus, target, replace(chosen, text=text), size=size, force=force, listeners=listeners, begun=begun
    )


def _resume(out: Path, given: config.Layer, listeners: Sequence[Listener], begun: float) -> Outcome:
    """Go on from the newest checkpoint, with the settings it was made with and whatever is given anew."""
    saved, skipped = folder.read_checkpoint(out)
    if saved is None:
        raise FolderError(f"{str(out)!r} has no checkpoint to go on from: fabula train makes a new model (-o, --force)")
    settings = config.resolve(saved.state["settings"], given)
    if "-" in settings.text.paths:
        raise UsageError(
            f"{str(out)!r} learned from standard input, which is gone: train from a file to be able to resume"
        )
    corpus = prepare(settings.text, tokenizer=from_json(saved.state["tokenizer"]))
    if corpus.digest != saved.state["digest"]:
        raise TextError(f"the text of {str(out)!r} has changed since its training stopped: bring it back, or --force")
    notes = [f"checkpoint {name} is damaged and was skipped" for name in skipped]
    corpus = replace(corpus, notes=(*notes, f"going on from step {saved.step:,}"))
    return _training().resume(corpus, out, settings, saved, listeners=listeners, begun=begun)


def calm_threads() -> None:
    """Before torch is imported: threads that wait for each other soon give way to other programs.

    By default they spin for so long that one other busy program makes learning many times slower; this long showed no
    loss on a quiet machine (docs/log.md).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")


def _training() -> ModuleType:
    """The room that learns; torch takes a second to import, so mistakes in the text are found before."""
    calm_threads()
    try:
        from fabula import training  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("torch"):
            raise MissingExtraError("training", "train") from None
        raise
    return training


def evaluate(model: str | Path, paths: Paths, settings: config.Layer | None = None) -> Measure:
    """Measure a model on texts: bits per byte, perplexity, accuracy. Errors: FolderError, TextError.

    Never imports torch.
    """
    teller = load(model)
    text = config.resolve(config.from_environment(), settings or {}).text
    part = encode(read_library(_listed(paths), text).stories, teller.tokenizer)
    return measure(teller.engine, part.streams, teller.tokenizer.end, part.counts, window=teller.settings.model.window)


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
