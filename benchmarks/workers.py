"""What several readers cost and bring: the start of workers, what they tell together, and a story told in pieces.

The model is that of `serving.py`; clients and servers share the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from record import median, write
from serving import TOGETHER, UNITS, make, many, post, serving, starts

READ = 10_000
"""Units of the story that goes on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few seconds in all")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="numbers of workers; 1 2")
    options = parser.parse_args()
    rounds, units = (3, 100) if options.short else (15, 400)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as home:
        model, figures["parameters"] = make(Path(home))
        for count in options.workers:
            more = ("--workers", str(count))
            figures[f"{count} workers"] = {**starts(model, rounds, *more), **together(model, units, *more)}
        figures["one unit more"] = pieces(model, rounds)
    write("workers", figures)


def together(model: Path, units: int, *more: str) -> dict[str, int]:
    """Units a second of many streams; a client each."""
    with serving(model, *more) as (port, _):
        asked = {"max_tokens": units, "logit_bias": {str(UNITS - 1): -100}, "temperature": 1.0}
        asyncio.run(many(port, [{**asked, "seed": seed, "max_tokens": 10} for seed in range(TOGETHER)]))
        began = time.perf_counter()
        asyncio.run(many(port, [{**asked, "seed": seed} for seed in range(TOGETHER)]))
        return {f"{TOGETHER} streams, tokens/s": round(TOGETHER * units / (time.perf_counter() - began))}


def pieces(model: Path, rounds: int) -> dict[str, float]:
    """Seconds of one unit more of a long story: from its text, and from its state."""
    one = {"max_tokens": 1, "temperature": 1.0}
    prompt = {"prompt": [number % (UNITS - 1) for number in range(READ)]}
    with serving(model) as (port, _):
        state = post(port, {**one, **prompt, "keep": True})["state"]
        text, kept = list[float](), list[float]()
        for _ in range(rounds):
            for given, found in ((prompt, text), ({"state": state}, kept)):
                began = time.perf_counter()
                post(port, {**one, **given})
                found.append(time.perf_counter() - began)
    return {
        "from the text, seconds": median(text), "from the state, seconds": median(kept), "characters": len(state),
    }  # fmt: skip


if __name__ == "__main__":
    main()
