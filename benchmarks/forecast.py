"""The numbers of src/fabula/forecast.py, fitted to benchmarks/results/quality-*.json, and how well they foretell.

Each text is foretold by numbers fitted to all other texts, so that none is judged by what it taught. What readings
after the first are worth is no part of the fit: 2 to 12 first ones fit about as well.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import RESULTS, write

from fabula.forecast import worth

Floats = NDArray[np.float64]


def runs() -> list[tuple[str, str, dict[str, Any]]]:
    """Time, text and figures of every run that has all that a forecast needs."""
    found = []
    for path in sorted(RESULTS.glob("quality-*.json")):
        figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
        found += [(path.stem.removeprefix("quality-"), text, row) for text, row in figures.items()]
    return [(when, text, row) for when, text, row in found if row.get("kneser_ney") and row.get("epochs")]


def features(rows: list[dict[str, Any]]) -> tuple[Floats, Floats]:
    """What the forecast looks at (N, 2), and the logarithm of bits over the n-gram model's bits (N,)."""
    given = [[1.0, math.log(worth(row["epochs"], row["units"]))] for row in rows]
    return np.array(given), np.array([math.log(row["bits_per_byte"] / row["kneser_ney"]) for row in rows])


def main() -> None:
    found = runs()
    x, y = features([row for _, _, row in found])
    constant, seen = np.linalg.lstsq(x, y, rcond=None)[0]
    misses = []
    for number, (_, text, _) in enumerate(found):
        others = [place for place, (_, other, _) in enumerate(found) if other != text]
        misses.append(float(y[number] - x[number] @ np.linalg.lstsq(x[others], y[others], rcond=None)[0]))
    spread = float(np.quantile(np.abs(misses), 0.9))
    write(
        "forecast",
        {
            "numbers": {"CONSTANT": round(constant, 4), "SEEN": round(seen, 4)},
            "SPREAD": round(spread, 4),
            "missed by": {
                f"{text} {when}": round(miss, 4) for (when, text, _), miss in zip(found, misses, strict=True)
            },
        },
    )


if __name__ == "__main__":
    main()
