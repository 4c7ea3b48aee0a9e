"""How often is the encoding of a piece of real text guessed right, beside charset-normalizer? Right: the same text."""

from __future__ import annotations

import argparse
from pathlib import Path

import charset_normalizer
from record import DATA, write

from fabula.errors import FabulaError
from fabula.text.encodings import decode

TEXTS = {
    "liaozhai/train.txt": ("gb18030", "utf-16-le"),
    "other_languages/neko_clean_ja.txt": ("shift_jis", "euc_jp"),
    "other_languages/tinystories_ru_1MB.txt": ("koi8_r", "cp1251"),
    "other_languages/lafontaine_fables_fr.txt": ("cp1252",),
    "other_languages/andersen_maerchen_de.txt": ("cp1252",),
}
LENGTHS = (100, 400, 4000)
PIECES = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    figures = {}
    for name, encodings in TEXTS.items():
        text = (options.data / name).read_text(encoding="utf-8")
        for encoding in encodings:
            ours, theirs, total = 0, 0, 0
            for length in LENGTHS:
                for number in range(PIECES):
                    start = number * (len(text) - length) // PIECES
                    data = text[start : start + length].encode(encoding, "ignore")
                    expected = data.decode(encoding)
                    if data.isascii():
                        continue
                    total += 1
                    ours += guessed(data) == expected
                    best = charset_normalizer.from_bytes(data).best()
                    theirs += best is not None and str(best) == expected
            figures[f"{name} in {encoding}"] = {"pieces": total, "fabula": ours, "charset-normalizer": theirs}
    write("encodings", figures)


def guessed(data: bytes) -> str | None:
    """The text as fabula reads it, or None when it asks for the encoding."""
    try:
        return decode(data, "piece").text
    except FabulaError:
        return None


if __name__ == "__main__":
    main()
