"""`fabula verify`."""

from __future__ import annotations

import sys
from pathlib import Path

from fabula.cli.options import STDIN, Json, Quiet, print_json
from fabula.cli.waiting import waiting

LONGEST = 256 << 20
"""Bytes of a story: what is longer is none."""


def verify(
    story: str,
    /,
    *,
    model: Path | None = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write a labelled story again and say whether it is the same, bit for bit; exit code 1 when it is not.

    Parameters
    ----------
    story
        A file that ends with the label of fabula write --label, or - for stdin.
    model
        The model folder; the one that the label names when not given.
    """
    from fabula.cli import visible  # noqa: PLC0415
    from fabula.labels import network, part  # noqa: PLC0415
    from fabula.labels import verify as judge  # noqa: PLC0415
    from fabula.meeting import load as load_both  # noqa: PLC0415
    from fabula.storyteller import load  # noqa: PLC0415

    text, said = part(_read(story))
    folder = model or Path(str(said["model"]))
    mixed = None
    if said["mixture"]:
        from fabula.baseline import fit_again  # noqa: PLC0415

        with waiting("fitting the n-gram model again ...", quiet=quiet):
            mixed = fit_again(folder)
    with waiting("writing it again ...", quiet=quiet):
        both = "end" in said
        teller = (
            load_both(folder, precision=said["precision"])
            if both
            else load(folder, mixture=mixed, precision=said["precision"])
        )
        verdict = judge(text, said, teller, network(folder, both=both))
    if json:
        print_json({"same": verdict.same, "why": verdict.why, "label": verdict.label})
    else:
        sys.stdout.write(visible(f"{'true' if verdict.same else 'false'}: {verdict.why}") + "\n")
    return 0 if verdict.same else 1


def _read(path: str) -> str:
    """A labelled text as it was written; errors: TextError."""
    from fabula.errors import TextError  # noqa: PLC0415
    from fabula.regular import read_regular  # noqa: PLC0415

    try:
        data = sys.stdin.buffer.read(LONGEST) if path == STDIN else read_regular(path, LONGEST)
        return data.decode()  # line ends as they are
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise TextError(f"cannot read {path[-60:]!r}: {reason}") from None
