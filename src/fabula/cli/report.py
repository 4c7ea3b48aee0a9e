"""`fabula report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from fabula.cli.options import Json, Quiet, print_json
from fabula.cli.parsing import Option


def report(
    folder: Path,
    /,
    *,
    lang: str | None = None,
    out: Annotated[Path | None, Option("-o")] = None,
    json: Json = False,
    quiet: Quiet = False,  # noqa: ARG001 - there is nothing to be quiet about
) -> int:
    """Write the page of a training anew: its curves, the stories told on the way, what was chosen and why.

    Parameters
    ----------
    folder
        The model folder.
    lang
        What the page opens in: en or zh; the browser's language when not given.
    out
        File of the page; report.html in the model folder when not given.
    """
    from fabula.cli import visible  # noqa: PLC0415
    from fabula.report import rewrite  # noqa: PLC0415

    page = rewrite(folder, out, lang)
    if json:
        print_json({"page": str(page)})
    else:
        sys.stdout.write(visible(str(page)) + "\n")
    return 0
