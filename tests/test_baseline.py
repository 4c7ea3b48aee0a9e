"""The n-gram model beside a training, against a count by hand."""

import math
from pathlib import Path

import pytest

from fabula import baseline, ngram
from fabula.baseline import Baseline
from fabula.config import TextConfig
from fabula.corpus import Corpus, prepare


def read(folder: Path, unit: str) -> Corpus:
    """Thirty stories to learn from, ten kept aside."""
    for number in range(40):
        place = folder / ("kept" if number % 4 == 0 else "read")
        place.mkdir(exist_ok=True)
        text = f"the cat number {number} said to mouse number {number * 7 % 40} that it was late .\n" * 3
        (place / f"{number:02}.txt").write_text(text, encoding="utf-8")
    return prepare(TextConfig(paths=(str(folder / "read"),), held_out_paths=(str(folder / "kept"),), unit=unit))


@pytest.mark.parametrize(("unit", "order"), [("words", 5), ("subwords", 5), ("chars", 8), ("bytes", 8)])
def test_it_is_the_sum_over_the_stories(tmp_path: Path, unit: str, order: int) -> None:
    corpus = read(tmp_path, unit)
    assert corpus.held_out
    model = ngram.fit(corpus.train.streams, corpus.tokenizer.end, corpus.tokenizer.size, order)
    nats = -sum(float(model.log_probabilities(story).sum()) for story in corpus.held_out.streams)
    assert Baseline(corpus).bits_per_byte() == pytest.approx(nats / math.log(2) / corpus.held_out.counts.bytes)


def test_none_without_held_out_stories_or_for_too_long_a_text(
    tmp_path: Path, fable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Baseline(prepare(TextConfig(paths=(str(fable),)))).bits_per_byte() is None
    monkeypatch.setattr(baseline, "MOST", 10)
    assert Baseline(read(tmp_path, "words")).bits_per_byte() is None
