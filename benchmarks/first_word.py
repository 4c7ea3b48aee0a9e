"""How long from the start of `fabula write` to the first word of a saved fable model? Median of many."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import fabula, median, timed, write

FABLE = Path(__file__).resolve().parents[1] / "src" / "fabula" / "data" / "belling_the_cat.txt"
RUNS = 15


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder) / "fable")
        timed(fabula("train", str(FABLE), "-o", model, "-q"))
        firsts = []
        for _ in range(RUNS + 1):
            begun = time.perf_counter()
            command = fabula("write", model, "-w", "5")
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                assert process.stdout
                if not process.stdout.read(1):
                    sys.exit("nothing was written")
                firsts.append(time.perf_counter() - begun)
                process.stdout.read()
    write("first_word", {"runs": RUNS, "median_seconds": median(firsts[1:]), "max_seconds": round(max(firsts[1:]), 4)})


if __name__ == "__main__":
    main()
