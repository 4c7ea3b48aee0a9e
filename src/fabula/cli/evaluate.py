"""`fabula evaluate`."""

from __future__ import annotations

import sys
from pathlib import Path

from fabula.cli.options import Debug, Encoding, Json, Quiet, Set, layered, print_json, texts


def evaluate(
    folder: Path,
    /,
    *paths: str,
    encoding: Encoding = None,
    set_: Set = (),
    json: Json = False,
    quiet: Quiet = False,  # noqa: ARG001 - there is nothing to be quiet about yet
    debug: Debug = False,  # noqa: ARG001 - main looks for it
) -> int:
    """Measure how well a model foresees a text it has not learned from.

    Parameters
    ----------
    folder
        The model folder.
    paths
        Files, folders, or - for stdin.
    """
    from fabula import api  # noqa: PLC0415
    from fabula.errors import UsageError  # noqa: PLC0415

    if not paths:
        raise UsageError(f"expected a text to measure on: fabula evaluate {folder} kept-aside.txt")
    measured = api.evaluate(folder, texts(paths), layered({"text": {"encoding": encoding}}, set_))
    if json:
        print_json(measured.to_json())
        return 0
    rows = (
        ("bits per byte", f"{measured.bits_per_byte:.4f}", "compares across units and languages; lower is better"),
        ("nats per character", f"{measured.nats_per_char:.4f}", ""),
        ("perplexity per unit", f"{measured.perplexity:.2f}", "as unsure as between so many units"),
        ("perplexity per word", f"{measured.perplexity_per_word:.2f}", ""),
        ("accuracy", f"{measured.accuracy:.2%}", "share of units that were the likeliest"),
        ("units", f"{measured.tokens:,}", "end marks included"),
        ("bytes", f"{measured.bytes:,}", ""),
    )
    for name, value, meaning in rows:
        sys.stdout.write(f"{name:<20} {value:>12}  {meaning}".rstrip() + "\n")
    return 0
