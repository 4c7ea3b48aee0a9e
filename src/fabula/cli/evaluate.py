"""`fabula evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fabula.cli.options import Encoding, Json, Quiet, Set, layered, print_json
from fabula.cli.waiting import waiting

if TYPE_CHECKING:
    from fabula.evaluation import Helped, Measure


def evaluate(
    folder: Path,
    /,
    *paths: str,
    mixture: bool = False,
    cache: bool = False,
    cache_size: int | None = None,
    cache_theta: float | None = None,
    cache_share: float | None = None,
    dynamic: bool = False,
    dynamic_rate: float | None = None,
    dynamic_decay: float | None = None,
    encoding: Encoding = None,
    set_: Set = (),
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Measure how well a model foresees a text it has not learned from.

    Parameters
    ----------
    folder
        The model folder.
    paths
        Files, folders, or - for stdin.
    mixture
        Measure besides: mixed with an n-gram model, fitted again to the text that the model learned from.
    cache
        Measure besides: with what came after moments like the present one, among the latest of the text.
    cache_size
        Latest moments that are remembered (2000).
    cache_theta
        How much alike moments must be; 0 recalls them all the same (2).
    cache_share
        Share of the cache in each probability (0.1).
    dynamic
        Measure besides: learning from each part of the text after it was measured. The folder stays as it is.
    dynamic_rate
        Learning rate (0.0003).
    dynamic_decay
        Share of what was learned here that each update forgets (0.003).
    """
    from fabula import adaptation, api  # noqa: PLC0415
    from fabula.baseline import fit_again  # noqa: PLC0415
    from fabula.errors import UsageError  # noqa: PLC0415

    if not paths:
        raise UsageError(f"expected a text to measure on: fabula evaluate {folder} kept-aside.txt")
    recalled = {"size": cache_size, "theta": cache_theta, "share": cache_share}
    learned = {"rate": dynamic_rate, "decay": dynamic_decay}
    helps = {
        "cache": _asked(adaptation.Cache, cache, recalled),
        "dynamic": _asked(adaptation.Dynamic, dynamic, learned),
    }
    if mixture:
        with waiting("fitting the n-gram model again ...", quiet=quiet):
            helps["mixture"] = fit_again(folder)
    with waiting("measuring with help, which takes longer ...", quiet=quiet or not any(helps.values())):
        measured = api.evaluate(folder, paths, layered({"text": {"encoding": encoding}}, set_), **helps)
    if json:
        print_json(measured.to_json())
        return 0
    rows = _static(measured)
    width = max([20, *(len(f"perplexity per word, with {name}") for name in measured.helped)])
    for name, helped in measured.helped.items():
        rows += [("", "", ""), *_helped(name, helped)]
    for name, value, meaning in rows:
        sys.stdout.write(f"{name:<{width}} {value:>12}  {meaning}".rstrip() + "\n")
    return 0


def _asked(kind: Callable[..., Any], flag: bool, given: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """The options of a help that was asked for, by its own flag or by one of its numbers."""
    numbers = {name: value for name, value in given.items() if value is not None}
    return kind(**numbers) if flag or numbers else None


def _static(measured: Measure) -> list[tuple[str, str, str]]:
    """What the network alone is worth."""
    return [
        ("bits per byte", f"{measured.bits_per_byte:.4f}", "compares across units and languages; lower is better"),
        ("nats per character", f"{measured.nats_per_char:.4f}", ""),
        ("perplexity per unit", f"{measured.perplexity:.2f}", "as unsure as between so many units"),
        ("perplexity per word", f"{measured.perplexity_per_word:.2f}", ""),
        ("accuracy", f"{measured.accuracy:.2%}", "share of units that were the likeliest"),
        ("units", f"{measured.tokens:,}", "end marks included"),
        ("bytes", f"{measured.bytes:,}", ""),
    ]


def _helped(name: str, helped: Helped) -> list[tuple[str, str, str]]:
    """What it is worth with one help."""
    how = ", ".join(f"{number} {value:g}" for number, value in helped.how.items())
    return [
        (f"bits per byte, with {name}", f"{helped.bits_per_byte:.4f}", how),
        (f"perplexity per unit, with {name}", f"{helped.perplexity:.2f}", ""),
        (f"perplexity per word, with {name}", f"{helped.perplexity_per_word:.2f}", ""),
    ]
