"""Learning while a text is measured: what is judged was never seen, and what was trained stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fabula.adaptation import Dynamic
from fabula.config import resolve
from fabula.dynamic import learn_on
from fabula.evaluation import Counts, measure
from fabula.folder import Model
from fabula.model import LanguageModel, NumpyScorer
from fabula.run import arrays
from fabula.tokens import build

COUNTS = Counts(bytes=100, chars=80, words=20)
TOKENIZER = build("chars", ["abcdefghijklmnop"])
LEARNING = Dynamic(rate=0.01, decay=0.01, length=6)
SHAPES = [
    (cell, head, window) for cell in ("lstm", "gru") for head in ("full", "tied", "adaptive") for window in (0, 3)
]


def model(cell: str = "lstm", head: str = "full", window: int = 0) -> Model:
    shape = {"cell": cell, "layers": 2, "hidden": 8, "embedding": 4, "head": head, "dropout": 0.3, "window": window}
    chosen = resolve({"model": shape})
    network = LanguageModel(chosen.model, TOKENIZER.size, torch.Generator().manual_seed(4))
    return Model(chosen, TOKENIZER, arrays(network.state_dict()), {})


def stories(seed: int = 1) -> list[NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, TOKENIZER.end, length).astype(np.int32) for length in (20, 0, 15)]


def static(of: Model, told: list[NDArray[np.int32]]) -> NDArray[np.float32]:
    network = LanguageModel(of.settings.model, TOKENIZER.size, torch.Generator())
    network.load_state_dict({name: torch.tensor(array) for name, array in of.weights.items()})
    window = of.settings.model.window
    return np.asarray(measure(NumpyScorer(network), told, TOKENIZER.end, COUNTS, window=window).costs)


@pytest.mark.parametrize(("cell", "head", "window"), SHAPES)
def test_a_rate_of_nothing_is_static(cell: str, head: str, window: int) -> None:
    of = model(cell, head, window)
    assert learn_on(of, stories(), Dynamic(rate=0.0)) == pytest.approx(static(of, stories()), rel=1e-5)


@pytest.mark.parametrize(("cell", "head", "window"), SHAPES)
def test_what_comes_later_changes_nothing(cell: str, head: str, window: int) -> None:
    told, other = stories(), stories()
    other[0][13:] = (other[0][13:] + 1) % TOKENIZER.end
    first, second = (learn_on(model(cell, head, window), text, LEARNING) for text in (told, other))
    assert first[:13] == pytest.approx(second[:13], rel=1e-6)
    assert first[13:] != pytest.approx(second[13:], rel=1e-3)


@pytest.mark.parametrize(("cell", "head", "window"), SHAPES)
def test_it_learns_and_the_model_stays(cell: str, head: str, window: int) -> None:
    of, told = model(cell, head, window), [np.tile(stories()[0], 8)]
    before = {name: array.copy() for name, array in of.weights.items()}
    found, alone = learn_on(of, told, LEARNING), static(of, told)
    assert found[:6] == pytest.approx(alone[:6], rel=1e-5)  # nothing was learned before the first part was judged
    assert found[100:].mean() < 0.95 * alone[100:].mean()
    assert all((of.weights[name] == before[name]).all() for name in before)


def test_all_is_forgotten_at_once_with_a_decay_of_one() -> None:
    forgetful = learn_on(model(), stories(), Dynamic(rate=0.01, decay=1.0, length=6))
    assert forgetful == pytest.approx(static(model(), stories()), rel=1e-5)


def test_the_processor_is_left_as_it_was() -> None:
    learn_on(model(), stories(), LEARNING)
    assert (torch.tensor(1e-40) * 0.5).item() != 0.0
