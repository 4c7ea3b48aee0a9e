"""How much faster is `fabula lesson` than the article's own graph on TensorFlow 2.21? Pairs, medians, the same run.

python benchmarks/lesson_speed.py PYTHON, where PYTHON is that of an environment with tensorflow==2.21.0.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

from record import fabula, median, timed, write

FABLE = Path(__file__).resolve().parents[1] / "src" / "fabula" / "data" / "belling_the_cat.txt"
PEER = Path(__file__).parent / "peers" / "article_tensorflow.py"
STEPS, PAIRS = 2000, 5


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    figures = {}
    for layers in (1, 2):
        theirs, ours = [], []
        for pair in range(PAIRS):
            _, said = timed([sys.argv[1], str(PEER), str(FABLE), str(layers), str(STEPS), str(pair)])
            theirs.append(json.loads(said.splitlines()[-1]))
            with tempfile.TemporaryDirectory() as folder:
                options = ["--layers", str(layers), "--iterations", str(STEPS), "--seed", str(pair), "--json", "-q"]
                _, said = timed(fabula("lesson", *options, "-o", f"{folder}/lesson"))
            ours.append(json.loads(said))
            print(layers, pair, theirs[-1]["seconds"], ours[-1]["seconds"], flush=True)
        figures[f"{layers} layer" + "s" * (layers > 1)] = {
            "steps": STEPS,
            "pairs": PAIRS,
            "tensorflow": theirs[0]["tensorflow"],
            "tensorflow_seconds": median([run["seconds"] for run in theirs]),
            "fabula_seconds": median([run["seconds"] for run in ours]),
            "times_faster": median([a["seconds"] / b["seconds"] for a, b in zip(theirs, ours, strict=True)]),
            "tensorflow_accuracy": round(statistics.fmean(run["accuracy"] for run in theirs), 4),
            "fabula_accuracy": round(statistics.fmean(run["accuracy"] for run in ours), 4),
        }
    write("lesson_speed", figures)


if __name__ == "__main__":
    main()
