"""How long from the start of `fabula write` to the first word of a saved fable model, beside `import torch`?

The two take turns; medians. What trained models before needs PyTorch to write; its import is the least that it takes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import fabula, median, timed, write

FABLE = Path(__file__).resolve().parents[1] / "src" / "fabula" / "data" / "belling_the_cat.txt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = str(Path(folder) / "fable")
        timed(fabula("train", str(FABLE), "-o", model, "-q"))
        firsts, imports = list[float](), list[float]()
        for _ in range(options.runs + 1):  # the first of all reads what the others find in memory
            firsts.append(first_word(fabula("write", model, "-w", "5")))
            imports.append(timed([sys.executable, "-c", "import torch"])[0])
    firsts, imports = firsts[1:], imports[1:]
    write(
        "first_word",
        {
            "runs": options.runs,
            "median_seconds": median(firsts),
            "max_seconds": round(max(firsts), 4),
            "import torch, seconds": median(imports),
            "of import torch": median([first / other for first, other in zip(firsts, imports, strict=True)]),
        },
    )


def first_word(command: list[str]) -> float:
    """Seconds until it writes something."""
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        if not process.stdout.read(1):
            sys.exit("nothing was written")
        seconds = time.perf_counter() - begun
        process.stdout.read()
    return seconds


if __name__ == "__main__":
    main()
