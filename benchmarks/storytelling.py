"""What stories cost: guarded ones, fifty thousand words in a row, many side by side; and what has to be installed.

A model of the text `tales`, trained for a minute, tells all of them.
"""

from __future__ import annotations

import argparse
import itertools
import re
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement
from record import DATA, fabula, median, read, timed, write

SEED_WORDS = 400
TURN = 40
"""Pieces of a text that are told before it is another's turn."""
SPACE = re.compile(r"\s+")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--train", default="60s", help="time to learn the text in")
    parser.add_argument("--pairs", type=int, default=40, help="stories told with and without the guard")
    parser.add_argument("--words", type=int, default=50_000, help="words in a row")
    parser.add_argument("--texts", type=int, default=11, help="such texts, of whose figures the medians count")
    parser.add_argument("--stories", type=int, default=1680, help="stories told alone and in batches")
    parser.add_argument("--only", nargs="+", help="parts measured anew; what the results file says of others stays")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "tales"
        timed(
            fabula("train", str(options.data / "tales" / "train.txt"), "-o", str(model), "--time", options.train, "-q")
        )
        parts: dict[str, Callable[[], object]] = {
            "together": lambda: together(model, options.stories),
            "guard": lambda: guard(model, options.pairs),
            "words in a row": lambda: in_a_row(model, options.words, options.texts),
            "index": lambda: index(options.data),
            "installed, megabytes": installed,
        }
        figures = read("storytelling") if options.only else {}
        figures |= {part: measure() for part, measure in parts.items() if not options.only or part in options.only}
    write("storytelling", figures)


def together(model: Path, stories: int) -> dict[str, int]:
    """How many stories told in batches are another text than alone."""
    from fabula.config import SamplingConfig
    from fabula.storyteller import load

    compared = different = 0
    how = {"words": 8, "until": "word"}
    for precision in ("fp32", "int8"):
        teller = load(model, precision=precision)
        sampling = SamplingConfig(temperature=1.0, seed=stories)
        alone = [teller.write("The", story=story, sampling=sampling, **how) for story in range(stories)]
        for batch in (2, 7, 64):
            for first in range(0, stories, batch):
                numbers = range(first, min(first + batch, stories))
                for story, told in zip(numbers, teller._collect("The", numbers, sampling=sampling, **how), strict=True):
                    compared += 1
                    different += told.text != alone[story].text
    return {"compared": compared, "different": different}


def guard(model: Path, pairs: int) -> dict[str, float]:
    """How fast a story is told with `--max-copy 8`, of one without that takes turns with it, the index being read."""
    from fabula.config import SamplingConfig
    from fabula.storyteller import load

    teller = load(model)
    ways = [SamplingConfig(temperature=1.0, max_copy=most) for most in (None, 8)]
    ratios, rates = list[float](), list[float]()
    for story in range(pairs + 1):
        both = [teller.stream("The", story=story, words=SEED_WORDS * 2, sampling=way) for way in ways]
        for pieces in both:  # reads the prompt, and the index for the first of all
            next(pieces)
        turns, (free, guarded) = take_turns(both)
        ratios.append(free / guarded)
        rates.append(turns * TURN / free)
    return {"pieces/s": round(median(rates[1:])), "guarded, of that": median(ratios[1:])}


def in_a_row(model: Path, words: int, texts: int) -> dict[str, float]:
    """Texts told by one teller, streamed: medians of the time they took, and of that of the end over a beginning's.

    A machine changes its speed within seconds: the last fiftieth of a text takes turns with the first of another.
    """
    from fabula.config import SamplingConfig
    from fabula.storyteller import load

    teller, sampling, seconds, ratios = load(model), SamplingConfig(temperature=1.0), list[float](), list[float]()

    def begin(story: int) -> Iterator[str]:
        """A text whose first piece is told."""
        pieces = teller.stream("The", story=story, words=words, sampling=sampling)
        next(pieces)
        return pieces

    list(itertools.islice(begin(texts), words // 50))  # a core that has rested is faster for a while
    early = _megabytes()
    for story in range(texts):
        old, told, begun = begin(story), 1, time.perf_counter()
        while told < words - words // 50:
            told += len(SPACE.findall(next(old)))
        seconds.append(time.perf_counter() - begun)
        _, (end, beginning) = take_turns([old, begin(texts + story)])
        ratios.append(end / beginning)
    return {
        "texts": texts, "words": words, "seconds for all but the last fiftieth": round(median(seconds), 1),
        "the last fiftieth over the first": median(ratios), "megabytes grown": round(_megabytes() - early, 1),
    }  # fmt: skip


def take_turns(texts: Sequence[Iterator[str]]) -> tuple[int, list[float]]:
    """Tell `TURN` pieces of each, again and again, each as often first, until one is over: turns, seconds of each."""
    turns, spent, order = 0, np.zeros(len(texts)), range(len(texts))
    while True:
        taken = np.zeros(len(texts))
        for number in order:
            begun = time.perf_counter()
            told = sum(1 for _ in itertools.islice(texts[number], TURN))
            taken[number] = time.perf_counter() - begun
            if told < TURN:
                return turns, spent.tolist()
        turns, spent, order = turns + 1, spent + taken, order[::-1]


def _megabytes() -> float:
    """Most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def index(data: Path) -> dict[str, float]:
    """Seconds and megabytes of the index of a million words."""
    from fabula.novelty import Index
    from fabula.text import words_of

    words = words_of((data / "tales" / "train.txt").read_text(encoding="utf-8"))
    words = (words * (1 + 1_000_000 // len(words)))[:1_000_000]
    begun = time.perf_counter()
    made = Index.of([words])
    seconds = time.perf_counter() - begun
    return {"seconds": round(seconds, 2), "megabytes": round((made.hashes.nbytes + made.follows.nbytes) / 1e6, 1)}


def installed() -> dict[str, float]:
    """Size of all that `pip install fabula` brings, by package, for a machine that only writes."""
    sizes = {name: _size(metadata.distribution(name)) for name in sorted(_needed("fabula", set()))}
    largest = dict(sorted(sizes.items(), key=lambda item: -item[1])[:6])
    return {"all": round(sum(sizes.values()), 1), **{name: round(size, 1) for name, size in largest.items()}}


def _size(distribution: metadata.Distribution) -> float:
    files = (distribution.locate_file(file) for file in distribution.files or ())
    return sum(Path(str(file)).stat().st_size for file in files if Path(str(file)).is_file()) / 1e6


def _needed(name: str, known: set[str]) -> set[str]:
    """A distribution and all that it requires, extras left out."""
    known.add(name)
    for wanted in _requirements(name):
        if wanted not in known:
            _needed(wanted, known)
    return known


def _requirements(name: str) -> Iterator[str]:
    for line in metadata.distribution(name).requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name.replace("_", "-").lower()


if __name__ == "__main__":
    main()
