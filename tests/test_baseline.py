"""The n-gram model beside a training, against a count by hand; and fitted again to the text that a folder learned."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fabula import baseline, folder, mixture, ngram
from fabula.baseline import Baseline, Beside, fit_again
from fabula.config import TextConfig, resolve
from fabula.corpus import Corpus, prepare
from fabula.engine import expected_shapes
from fabula.errors import FolderError, TextError
from fabula.evaluation import Measure


def read(folder: Path, unit: str) -> Corpus:
    """Thirty stories to learn from, ten kept aside."""
    for number in range(40):
        place = folder / ("kept" if number % 4 == 0 else "read")
        place.mkdir(exist_ok=True)
        text = f"the cat number {number} said to mouse number {number * 7 % 40} that it was late .\n" * 3
        (place / f"{number:02}.txt").write_text(text, encoding="utf-8")
    return prepare(chosen(folder, unit))


def chosen(folder: Path, unit: str) -> TextConfig:
    return TextConfig(paths=(str(folder / "read"),), held_out_paths=(str(folder / "kept"),), unit=unit)


def measured(corpus: Corpus) -> Measure:
    """A network that is sometimes better and sometimes worse."""
    assert corpus.held_out
    counts, tokens = corpus.held_out.counts, corpus.held_out.tokens + len(corpus.held_out.streams)
    costs = np.random.default_rng(1).gamma(1.0, 0.5, tokens).astype(np.float32)
    return Measure(nats=float(costs.sum()), tokens=tokens, correct=0, costs=costs, **vars(counts))


@pytest.mark.parametrize(("unit", "order"), [("words", 5), ("subwords", 5), ("chars", 8), ("bytes", 8)])
def test_it_is_the_sum_over_the_stories(tmp_path: Path, unit: str, order: int) -> None:
    corpus = read(tmp_path, unit)
    assert corpus.held_out
    model = ngram.fit(corpus.train.streams, corpus.tokenizer.end, corpus.tokenizer.size, order)
    costs = np.concatenate([-model.log_probabilities(story) for story in corpus.held_out.streams])
    network = measured(corpus)
    found, bits = Baseline(corpus).beside(network), math.log(2) * corpus.held_out.counts.bytes
    assert found.baseline_bits_per_byte == pytest.approx(costs.sum() / bits)
    assert found.mixture_bits_per_byte == pytest.approx(mixture.cross_fitted(network.costs, costs) / bits)
    assert found.mixture_bits_per_byte < min(found.baseline_bits_per_byte, network.bits_per_byte)
    assert found.mixture_weight == mixture.fit_weight(network.costs, costs)


def test_nothing_is_known_without_held_out_stories_or_for_too_long_a_text(
    tmp_path: Path, fable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Baseline(prepare(TextConfig(paths=(str(fable),)))).beside(None) == Beside()
    corpus = read(tmp_path, "words")
    monkeypatch.setattr(baseline, "MOST", 10)
    assert Baseline(corpus).beside(measured(corpus)) == Beside()


def written(place: Path, **about: object) -> Path:
    """A model folder of thirty stories, and where it lies."""
    corpus, out = read(place, "words"), place / "model"
    facts = {"mixture_weight": 0.75, "digest": corpus.digest, **about}
    shape = {"layers": 1, "hidden": 4, "embedding": 3, "head": "full", "dropout": 0.0}
    settings = replace(resolve({"model": shape}), text=chosen(place, "words"))
    shapes = expected_shapes(settings.model, corpus.tokenizer.size)
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    out.mkdir()
    folder.write_model(out, settings=settings, tokenizer=corpus.tokenizer, weights=weights, about=facts, card="")
    return out


def test_the_same_model_again(tmp_path: Path) -> None:
    """The held-out stories are not needed for it."""
    out, corpus = written(tmp_path), read(tmp_path, "words")
    for path in (tmp_path / "kept").iterdir():
        path.unlink()
    found = fit_again(out)
    assert found.weight == 0.75
    model = ngram.fit(corpus.train.streams, corpus.tokenizer.end, corpus.tokenizer.size, 5)
    assert (found.ngram.units == model.units).all()
    assert found.span == len(model.tables)


def test_a_text_that_is_gone_or_changed(tmp_path: Path) -> None:
    out = written(tmp_path)
    (tmp_path / "read" / "01.txt").write_text("the cat number 2 .", encoding="utf-8")
    with pytest.raises(TextError, match="has changed: bring it back"):
        fit_again(out)
    (tmp_path / "read").rename(tmp_path / "elsewhere")
    with pytest.raises(TextError, match="cannot read again what"):
        fit_again(out)


@pytest.mark.parametrize("weight", [None, 0.0, 1.0, math.nan, "much", True])
def test_a_folder_without_a_weight_that_can_be(tmp_path: Path, weight: object) -> None:
    with pytest.raises(FolderError, match="has no mixture"):
        fit_again(written(tmp_path, mixture_weight=weight))


def test_a_folder_without_its_settings_and_one_that_learned_from_standard_input(tmp_path: Path) -> None:
    out = written(tmp_path)
    toml = out / "training.toml"
    toml.write_text('[text]\npaths = ["-"]\n', encoding="utf-8")
    with pytest.raises(TextError, match="standard input, which is gone"):
        fit_again(out)
    toml.unlink()
    with pytest.raises(FolderError, match=r"training\.toml"):
        fit_again(out)
