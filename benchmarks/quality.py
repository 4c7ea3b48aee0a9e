"""Held-out bits per byte after a given time, through the public command with no other flag; with --peers, beside them.

The peers learn from the same stories for as long, one process after the other: the Kneser-Ney model that `fabula train`
fits on its own units, a word model (peers/word_language_model.py) and a transformer over characters
(peers/small_gpt.py). The bytes are those of the stories; what ends a story is paid for by all. The word model's units
are words and marks with the space before them, and single characters in Chinese. WikiText-2 has a published measure
besides, the perplexity of the test text for each of its 245,569 words and line ends: all that fabula pays for the text,
spaces included, divided by that number. There the word model's units are the published words, and its spaces are free.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

from peers.units import CUTS as WAYS
from record import DATA, fabula, processor, read, timed, write

TEXTS = ("shakespeare", "aesop", "tales", "tinystories", "liaozhai", "wikitext2")
SHORT = ("shakespeare", "aesop")
PEERS = Path(__file__).parent / "peers"
PEER_NAMES = ("word_language_model", "small_gpt")
CUTS = {"liaozhai": "chars", "wikitext2": "space"}
Figures = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time", default="180s", help="one or several, with commas: 60s,180s")
    parser.add_argument("--peers", action="store_true", help="the peers too, for as long")
    parser.add_argument("--leave-out", choices=PEER_NAMES, action="append", default=[], help="one of the two peers")
    parser.add_argument("--short", action="store_true", help=f"20 s, and only {' and '.join(SHORT)}")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--keep", action="store_true", help="what the results file says of other texts stays")
    parser.add_argument("texts", nargs="*", default=[])
    options = parser.parse_args()
    texts = options.texts or (SHORT if options.short else TEXTS if options.peers else TEXTS[:-1])
    times = ["20s"] if options.short else options.time.split(",")
    for time in times:
        figures: dict[str, Figures] = read(f"quality-{time}") if options.keep else {}
        for text in texts:
            with tempfile.TemporaryDirectory() as folder:
                figures[text] = measure(
                    options.data / text, time, Path(folder), beside=options.peers, without=options.leave_out
                )
            write(f"quality-{time}", figures)  # after every text: hours must not be lost


def measure(text: Path, time: str, folder: Path, *, beside: bool, without: list[str]) -> Figures:
    """One text learned for one time, by fabula and perhaps by the peers."""
    wikitext = text.name == "wikitext2"
    train, kept, test = (
        text / (f"wiki.{part}.tokens" if wikitext else f"{part}.txt") for part in ("train", "valid", "test")
    )
    model = str(folder / text.name)
    command = fabula("train", str(train), "--held-out", str(kept), "--time", time, "-o", model, "--json", "-q")
    seconds, said = timed(command)
    learned, measured = json.loads(said), json.loads(timed(fabula("evaluate", model, str(kept), "--json"))[1])
    about = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))["about"]
    found: Figures = {
        "processor": processor(),
        "seconds": round(seconds, 1),
        "unit": about["unit"],
        "units": about["units"],
        "steps": learned["steps"],
        "epochs": learned["epochs"],
        "bits_per_byte": round(measured["bits_per_byte"], 4),
        "nats_per_char": round(measured["nats_per_char"], 4),
        "perplexity_per_word": round(measured["perplexity_per_word"], 1),
        "kneser_ney": learned["baseline_bits_per_byte"],
        "mixed with kneser_ney": learned["mixture_bits_per_byte"],
        "forecast": learned["forecast_bits_per_byte"],
    }
    if wikitext:
        tested = json.loads(timed(fabula("evaluate", model, str(test), "--json"))[1])
        nats, words = tested["bits_per_byte"] * math.log(2) * tested["bytes"], WAYS["space"](test.read_text("utf-8"))
        found["test perplexity as published"] = round(math.exp(nats / len(words)), 2)
    if beside:
        parts = (train, kept) if wikitext else stories(train, kept, folder)
        found |= peers(
            parts, CUTS.get(text.name, "words"), time, measured["bytes"], test if wikitext else None, without
        )
        rivals = {"kneser_ney": found["kneser_ney"], **found["peers_bits_per_byte"]}
        found["peers_bits_per_byte"] = rivals
        best = min((name for name in rivals if rivals[name]), key=lambda name: rivals[name])
        found |= {"best peer": best, "lower by": round(1 - measured["bits_per_byte"] / rivals[best], 4)}
    return found


def stories(train: Path, kept: Path, folder: Path) -> tuple[Path, Path]:
    """The stories that fabula finds in two texts, as plain files for the peers: two blank lines after each."""
    from fabula.config import TextConfig
    from fabula.text import read_library

    made = (folder / "train.txt", folder / "valid.txt")
    for source, target in zip((train, kept), made, strict=True):
        told = "".join(f"{story.text}\n\n\n" for story in read_library([source], TextConfig()).stories)
        target.write_text(told, encoding="utf-8", newline="")
    return made


def peers(parts: tuple[Path, Path], cut: str, time: str, size: int, test: Path | None, without: list[str]) -> Figures:
    """Bits of the peers for each of `size` bytes, and what else they say."""
    from fabula.api import calm_threads
    from fabula.config import seconds

    calm_threads()  # as fabula does for itself
    files = [*map(str, parts), "--seconds", str(seconds(time))]
    words = [sys.executable, str(PEERS / "word_language_model.py"), *files, "--cut", cut]
    words += ["--test", str(test)] if test else []
    letters = [sys.executable, str(PEERS / "small_gpt.py"), *files]
    commands = dict(zip(PEER_NAMES, (words, letters), strict=True))
    said = {name: json.loads(timed(own)[1]) for name, own in commands.items() if name not in without}
    bits = {name: round(own["valid"]["nats"] / math.log(2) / size, 4) for name, own in said.items()}
    return {"peers_bits_per_byte": bits, "peers": said}


if __name__ == "__main__":
    main()
