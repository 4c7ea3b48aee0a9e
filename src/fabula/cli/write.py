"""`fabula write`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fabula.cli import visible
from fabula.cli.options import STDIN, Debug, Json, Quiet, Seed, Set, layered, print_json
from fabula.cli.waiting import waiting
from fabula.config import resolve
from fabula.errors import UsageError


def write(
    folder: Path,
    /,
    *,
    prompt: Annotated[str, Parameter(name=["--prompt", "-p"], allow_leading_hyphen=True)] = "",
    words: Annotated[int | None, Parameter(name=["--words", "-w"])] = None,
    number: Annotated[int, Parameter(name=["--number", "-n"])] = 1,
    temperature: Annotated[float | None, Parameter(name=["--temperature", "-t"])] = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    seed: Seed = None,
    stop: Annotated[tuple[str, ...], Parameter(negative="", allow_leading_hyphen=True)] = (),
    until: str | None = None,
    mixture: Annotated[bool, Parameter(negative="")] = False,
    set_: Set = (),
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,  # noqa: ARG001 - main looks for it
) -> int:
    """Write a story with a model, word by word as you watch.

    Parameters
    ----------
    folder
        The model folder that `fabula train` made.
    prompt
        What the story begins with: any length, any language; - reads it from stdin.
    words
        How many words to add; up to 200, or the story's own end, when not given.
    number
        How many stories.
    temperature
        1 as learned, lower is safer, 0 always takes the likeliest.
    top_k
        Keep only the k likeliest next units.
    top_p
        Keep the likeliest that together reach this probability.
    min_p
        Keep those at least this fraction as likely as the likeliest.
    repetition_penalty
        Above 1 makes what was said lately less likely.
    stop
        End before this text; may be given again.
    until
        sentence: go on to the end of the sentence after the last word.
    mixture
        Let an n-gram model have its say too, fitted again to the text that the model learned from.
    """
    from fabula.storyteller import load  # noqa: PLC0415

    if number < 1:
        raise UsageError(f"--number must be at least 1, got {number}")
    flags = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        "repetition_penalty": repetition_penalty, "seed": seed,
    }  # fmt: skip
    mixed = None
    if mixture:
        from fabula.baseline import fit_again  # noqa: PLC0415

        with waiting("fitting the n-gram model again ...", quiet=quiet):
            mixed = fit_again(folder)
    teller = load(folder, mixture=mixed)
    sampling = resolve({"sampling": teller.settings.sampling.__dict__}, layered({"sampling": flags}, set_)).sampling
    beginning = sys.stdin.read() if prompt == STDIN else prompt
    options = {"words": words, "sampling": sampling, "stop": stop, "until": until}
    if json:
        stories = [told.to_json() for told in teller.write_many(number, beginning, **options)]
        print_json(stories[0] if number == 1 else {"stories": stories})
        return 0
    for story in range(number):
        if story:
            sys.stdout.write("\n")
        _show(beginning, teller.stream(beginning, story=story, **options))
    return 0


def _show(opening: str, pieces: Iterable[str]) -> None:
    """Print as it comes; a terminal never gets control characters."""
    clean = visible if sys.stdout.isatty() else str
    sys.stdout.write(clean(opening))
    for piece in pieces:
        sys.stdout.write(clean(piece))
        sys.stdout.flush()
    sys.stdout.write("\n")
