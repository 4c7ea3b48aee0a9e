"""`fabula chat`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from fabula.cli.options import Json, Quiet, Seed, Set, layered
from fabula.cli.parsing import Option


def chat(
    folder: Path,
    /,
    *,
    table: Path | None = None,
    adopt: bool = False,
    until: str = "sentence",
    plain: bool = False,
    temperature: Annotated[float | None, Option("-t")] = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    no_repeat: int | None = None,
    dry: float | None = None,
    ban: Annotated[tuple[str, ...], Option(free=True)] = (),
    ban_letters: str | None = None,
    max_copy: int | None = None,
    seed: Seed = None,
    set_: Set = (),
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write a story with a model, you and it in turns, on a screen of its own.

    Parameters
    ----------
    folder
        The model folder that fabula train made.
    table
        File that keeps the story with all its branches and bookmarks; MODEL-table.json when not given.
    adopt
        Go on with a story that was told with another model.
    until
        How far the model goes on when it is let: word, sentence, paragraph or story.
    plain
        Line by line, without a screen: for scripts and screen readers. So too when stdin is no terminal.
    temperature
        1 as learned, lower is safer, 0 always takes the likeliest; can be changed inside.
    top_k
        Keep only the k likeliest next units.
    top_p
        Keep the likeliest that together reach this probability.
    min_p
        Keep those at least this fraction as likely as the likeliest.
    repetition_penalty
        Above 1 makes what was said lately less likely.
    no_repeat
        Never tell the same run of so many units twice.
    dry
        Hold back long repetitions: 0.8 is usual.
    ban
        A word or phrase that the model must not say; may be given again.
    ban_letters
        Letters that it must not use: e.
    max_copy
        Most words in a row that the training text has too: 8.
    """
    from fabula.config import resolve  # noqa: PLC0415
    from fabula.errors import MissingExtraError, UsageError  # noqa: PLC0415
    from fabula.folder import fingerprint  # noqa: PLC0415
    from fabula.storyteller import load  # noqa: PLC0415
    from fabula.table import STRETCHES, Desk, Keeper  # noqa: PLC0415

    if until not in STRETCHES:
        raise UsageError(f"--until must be one of {', '.join(STRETCHES)}, got {until!r:.40}")
    flags = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        "repetition_penalty": repetition_penalty, "no_repeat": no_repeat, "dry": dry, "ban": ban or None,
        "ban_letters": ban_letters, "max_copy": max_copy, "seed": seed,
    }  # fmt: skip
    teller, name = load(folder), folder.resolve().name
    sampling = resolve({"sampling": teller.settings.sampling.__dict__}, layered({"sampling": flags}, set_)).sampling
    on_screen = not (plain or json) and _has_screen()
    place = table or (Path(f"{name}-table.json") if on_screen else None)
    keeper = Keeper(place, name=name, network=fingerprint(folder))
    desk = Desk(teller, keeper.open(teller.tokenizer, adopt=adopt), sampling)
    if not on_screen:
        from fabula.cli.plain import run  # noqa: PLC0415

        return run(desk, keeper, until, json=json, quiet=quiet)
    try:
        from fabula.cli.screen import run as run_on_screen  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prompt_toolkit":
            raise
        raise MissingExtraError("the table on a whole screen (--plain goes line by line without it)", "chat") from None

    return run_on_screen(desk, keeper, until, quiet=quiet)


def _has_screen() -> bool:
    """Whether somebody types, and somewhere a screen can be drawn."""
    drawn = sys.stdout.isatty() or sys.stderr.isatty()
    return sys.stdin.isatty() and drawn and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
