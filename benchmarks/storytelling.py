"""What stories cost: guarded ones, fifty thousand words in a row, many side by side; and what has to be installed.

A model of the text `tales`, trained for a minute, tells all of them.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from packaging.requirements import Requirement
from record import DATA, fabula, median, read, timed, write

SEED_WORDS = 400
Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--train", default="60s", help="time to learn the text in")
    parser.add_argument("--pairs", type=int, default=40, help="stories told with and without the guard")
    parser.add_argument("--words", type=int, default=50_000, help="words in a row")
    parser.add_argument("--texts", type=int, default=7, help="such texts, of whose figures the medians count")
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
            "words in a row": lambda: middle(
                [in_a_row(model, options.words, story) for story in range(options.texts + 1)]
            ),
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
    """Tokens a second with `--max-copy 8`, of those without, the index being read already."""
    from fabula.config import SamplingConfig
    from fabula.storyteller import load

    teller = load(model)
    ways = {way: SamplingConfig(temperature=1.0, max_copy=way) for way in (None, 8)}
    teller.write("The", words=SEED_WORDS, sampling=ways[8])
    speeds: dict[int | None, list[float]] = {way: [] for way in ways}
    for story in range(pairs):
        for way, sampling in sorted(ways.items(), key=str, reverse=story % 2 == 1):  # each as often first
            told = teller.write("The", story=story, words=SEED_WORDS * 2, sampling=sampling)
            speeds[way].append(told.tokens / told.seconds)
    return {
        "tokens/s": round(median(speeds[None])),
        "guarded, of that": median([a / b for a, b in zip(speeds[8], speeds[None], strict=True)]),
    }


def middle(texts: list[tuple[dict[str, float], Floats]]) -> dict[str, float]:
    """Medians of all texts but the last, whose beginning alone counts, and the most that the memory grew by.

    The end of a text is set against the beginning of the next, told right afterwards: a machine whose speed changes
    within half a minute would else be taken for a text that does.
    """
    found = {name: median([text[name] for text, _ in texts[:-1]]) for name in texts[0][0]}
    pairs = [(ends[-5:], begins[:5]) for (_, ends), (_, begins) in itertools.pairwise(texts)]
    return found | {
        "the last fiftieth over the first": median([float(ends[-1] / begins[0]) for ends, begins in pairs]),
        "the last tenth over the first": median([float(ends.sum() / begins.sum()) for ends, begins in pairs]),
        "megabytes grown": max(text["megabytes grown"] for text, _ in texts),
        "texts": len(texts) - 1,
    }


def in_a_row(model: Path, words: int, story: int) -> tuple[dict[str, float], Floats]:
    """One long text, streamed: what it took and the memory grew by, and the time of each fiftieth of it (50,)."""
    from fabula.config import SamplingConfig
    from fabula.storyteller import load
    from fabula.text import count_words

    teller = load(model)
    sampling, marks, told, early = SamplingConfig(temperature=1.0), np.zeros(8 * words), 0, 0.0
    list(teller.stream("The", words=words // 25, sampling=sampling))  # a core that has rested is faster for a while
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:  # what is kept of it here is no growth of ours
        begun = time.perf_counter()
        for piece in teller.stream("The", story=story, words=words, sampling=sampling):
            said.write(piece)
            marks[told] = time.perf_counter() - begun
            told += 1
            if told == words // 50:
                early = _megabytes()
        grown = _megabytes() - early
        said.seek(0)
        text = said.read()
    spans = np.diff(marks[np.linspace(0, told - 1, 51).astype(int)])  # equally many pieces in each
    figures = {"words": count_words(text), "seconds": round(float(marks[told - 1]), 1)}
    return figures | {"megabytes grown": round(grown, 1)}, spans


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
