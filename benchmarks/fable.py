"""How long from nothing to a saved model of the fable, as a multiple of a bare `import torch`? Pairs, medians."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from record import fabula, median, timed, write

FABLE = Path(__file__).resolve().parents[1] / "src" / "fabula" / "data" / "belling_the_cat.txt"
PAIRS = 9
WAYS = {"three words in": ["--window", "3"], "state carried": []}


def main() -> None:
    figures = {}
    for way, options in WAYS.items():
        ratios, seconds, bare, answers = [], [], [], []
        with tempfile.TemporaryDirectory() as folder:
            for pair in range(-1, PAIRS):  # the first pair warms the file cache
                alone, _ = timed([sys.executable, "-c", "import torch"])
                out = str(Path(folder) / f"{pair + 1}-{len(options)}")
                ours, said = timed(
                    fabula("train", str(FABLE), "-o", out, "--json", "-q", "--seed", str(pair + 1), *options)
                )
                if pair >= 0:
                    ratios.append(ours / alone)
                    seconds.append(ours)
                    bare.append(alone)
                    answers.append(json.loads(said))
        figures[way] = {
            "pairs": PAIRS,
            "train_accuracy": [answer["train_accuracy"] for answer in answers],
            "steps": [answer["steps"] for answer in answers],
            "seconds": median(seconds),
            "import_torch_seconds": median(bare),
            "times_import_torch": median(ratios),
        }
    write("fable", figures)


if __name__ == "__main__":
    main()
