"""Held-out bits per byte after a given time, through the public command with no other flag."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from record import DATA, fabula, timed, write

TEXTS = ("shakespeare", "aesop", "tales", "tinystories", "liaozhai")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time", default="180s")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("texts", nargs="*", default=TEXTS)
    options = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for text in options.texts:
            model, kept = str(Path(folder) / text), str(options.data / text / "valid.txt")
            command = fabula(
                "train", str(options.data / text / "train.txt"), "--held-out", kept, "--time", options.time
            )
            seconds, said = timed([*command, "-o", model, "--json", "-q"])
            measured = json.loads(timed(fabula("evaluate", model, kept, "--json"))[1])
            figures[text] = {
                "seconds": round(seconds, 1),
                "unit": json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))["about"]["unit"],
                "steps": json.loads(said)["steps"],
                "bits_per_byte": round(measured["bits_per_byte"], 4),
                "nats_per_char": round(measured["nats_per_char"], 4),
                "perplexity_per_word": round(measured["perplexity_per_word"], 1),
            }
    write(f"quality-{options.time}", figures)


if __name__ == "__main__":
    main()
