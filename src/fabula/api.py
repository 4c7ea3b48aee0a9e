"""The Python door: `fabula.train`, `fabula.evaluate`; each gathers the rooms for one errand and knows no terminal."""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fabula import config
from fabula.errors import UsageError
from fabula.evaluation import Measure
from fabula.events import Listener

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
    layers = (config.from_environment(), settings or {})
    if resume is not None:
        from fabula import training  # noqa: PLC0415 - torch takes a second to import

        return training.resume(Path(resume), settings or {}, listeners=listeners, begun=begun)
    resolved = config.resolve(*layers)
    chosen = _listed(paths) or list(resolved.text.paths)
    if not chosen:
        raise UsageError("expected a text to learn from: fabula train my-stories.txt")
    target = Path(out) if out is not None else default_folder(chosen)
    from fabula import training  # noqa: PLC0415

    return training.train(
        chosen, target, resolved, size=size, held_out=_listed(held_out) or list(resolved.text.held_out_paths),
        force=force, listeners=listeners, begun=begun,
    )  # fmt: skip


def evaluate(model: str | Path, paths: Paths, settings: config.Layer | None = None) -> Measure:
    """Measure a model on texts: bits per byte, perplexity, accuracy. Errors: FolderError, TextError.

    Never imports torch.
    """
    from fabula.corpus import encode  # noqa: PLC0415
    from fabula.evaluation import measure  # noqa: PLC0415
    from fabula.storyteller import load  # noqa: PLC0415
    from fabula.text import read_library  # noqa: PLC0415

    teller = load(model)
    text = config.resolve(config.from_environment(), settings or {}).text
    part = encode(read_library(_listed(paths), text).stories, teller.tokenizer)
    return measure(
        teller.engine, part.streams, teller.tokenizer.end, part.counts, window=teller.settings.model.window
    )


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


