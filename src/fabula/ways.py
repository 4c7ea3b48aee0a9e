"""Learning both ways: the model, then one that reads every story from its end; knows no loop and no terminal.

my-stories/            the model
my-stories/backward/   the one that reads from the end, a model folder of its own
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fabula import config, folder, training
from fabula.config import Layer, Settings
from fabula.corpus import Corpus
from fabula.errors import FolderError
from fabula.events import Listener
from fabula.folder import BACKWARD
from fabula.inheritance import Ancestor
from fabula.outcome import Outcome, recorded

_CUT_SHORT = {"interrupted", "diverged"}
"""How a training stopped that did not come to its end."""


def train(
    corpus: Corpus,
    out: Path,
    settings: Settings,
    *,
    backward: Settings,
    size: str | None = None,
    force: bool = False,
    ancestors: Sequence[Ancestor] = (),
    listeners: Sequence[Listener] = (),
    begun: float,
) -> Outcome:
    """`training.train` in one direction and in the other, by `settings` and by those of the `backward` model.

    Of a time limit the first has half, and the second what is left. `ancestors` are the two models to start from.
    After Ctrl-C the second does not begin.
    """
    first, second = ancestors or (None, None)
    told = training.train(
        corpus, out, settings, size=size, force=force, ancestor=first, listeners=listeners, begun=begun
    )
    if told.interrupted:
        return told
    return _turned(told, corpus, backward, size=size, ancestor=second, listeners=listeners, begun=begun)


def resume(
    corpus: Corpus,
    out: Path,
    settings: Settings,
    saved: folder.Checkpoint,
    *,
    given: Layer,
    ancestor: Ancestor | None = None,
    listeners: Sequence[Listener] = (),
    begun: float,
) -> Outcome:
    """Go on where it stopped, in the one direction or in the other; in both where both are done but are to go further.

    `given` is what the settings of the second overrule; `ancestor` is what it starts from if it has not begun.
    """
    later, skipped = folder.read_checkpoint(out / BACKWARD)
    if later is None and _is_whole(out / BACKWARD):
        raise FolderError(f"{str(out)!r} has learned both ways to the end: --force starts anew, -o names another")
    told = _finished(out, saved)
    if told is None or (later and _finished(out / BACKWARD, later)):
        told = training.resume(corpus, out, settings, saved, listeners=listeners, begun=begun)
    if told.interrupted:
        return told
    if later is None:
        since = begun - saved.state["seconds"]
        return _turned(told, corpus, settings, ancestor=ancestor, listeners=listeners, begun=since)
    begun_with, turned = config.resolve(later.state["settings"], given), corpus.backwards()
    if turned.digest != later.state["digest"] or not later.state["backward"]:
        raise FolderError(f"{str(out / BACKWARD)!r} is not of {str(out)!r}: train both ways anew with --force")
    notes = [f"checkpoint {name} is damaged and was skipped" for name in skipped]
    turned = replace(turned, notes=(*notes, f"from the end: going on from step {later.step:,}"))
    second = training.resume(turned, out / BACKWARD, begun_with, later, listeners=listeners, begun=begun)
    return replace(told, backward=second)


def _turned(
    told: Outcome,
    corpus: Corpus,
    settings: Settings,
    *,
    size: str | None = None,
    ancestor: Ancestor | None,
    listeners: Sequence[Listener],
    begun: float,
) -> Outcome:
    """What the first came to, with the second trained."""
    turned = replace(corpus.backwards(), notes=("now every story from its end to its beginning",))
    second = training.train(
        turned, told.folder / BACKWARD, settings, size=size, force=True, ancestor=ancestor, listeners=listeners,
        begun=begun,
    )  # fmt: skip
    return replace(told, backward=second)


def _is_whole(path: Path) -> bool:
    """Whether the training of the model that reads from the end came to its own end."""
    try:
        return folder.read_model(path, backward=True).about["stopped"] not in _CUT_SHORT
    except FolderError:
        return False


def _finished(path: Path, saved: folder.Checkpoint) -> Outcome | None:
    """What a training came to that ended where its checkpoint stands; None for one that was cut short."""
    try:
        about = folder.read_model(path, backward=bool(saved.state["backward"])).about
    except FolderError:
        return None
    if about["steps"] != saved.step or about["stopped"] in _CUT_SHORT:
        return None
    return recorded(path, about, saved.state["seconds"])
