"""What whole numbers cost a network: measured on text, and chosen only where it is next to nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fabula
from fabula.config import ModelConfig
from fabula.engine import Engine, expected_shapes
from fabula.errors import UsageError
from fabula.evaluation import Counts
from fabula.folder import read_model
from fabula.rounding import BEARABLE, choose, cost, is_large

V = 60
COUNTS = Counts(bytes=900, chars=900, words=200)


def network(hidden: int) -> tuple[ModelConfig, dict[str, np.ndarray]]:
    config = ModelConfig(layers=1, hidden=hidden, embedding=32, head="tied", dropout=0.0)
    rng = np.random.default_rng(3)
    shapes = expected_shapes(config, V)
    return config, {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}


def told_by(config: ModelConfig, weights: dict[str, np.ndarray]) -> list[np.ndarray]:
    """A stream that the network itself finds likely."""
    engine, rng, told = Engine(config, V, weights), np.random.default_rng(4), [0]
    state = engine.initial_state(1)
    for _ in range(900):
        scores, state = engine.step(np.array(told[-1:]), state)
        told.append(int(rng.choice(V - 1, p=(chances := np.exp(scores[0, :-1], dtype=np.float64)) / chances.sum())))
    return [np.array(told, np.int32)]


def test_a_small_network_has_nothing_to_gain() -> None:
    config, weights = network(64)
    assert not is_large(config, V)
    assert cost(config, V, weights, told_by(config, weights), COUNTS) is None


def test_even_weights_cost_next_to_nothing_and_outliers_much() -> None:
    config, weights = network(400)
    found = cost(config, V, weights, told_by(config, weights), COUNTS)
    assert found is not None
    assert 0 < abs(found) < BEARABLE
    weights["embedding.weight"] *= 20
    weights["embedding.weight"][:, 0] = 900  # the rest of each row is lost in the steps that this one asks for
    spoiled = cost(config, V, weights, told_by(config, weights), COUNTS)
    assert spoiled is not None
    assert spoiled > BEARABLE


def test_what_is_asked_for_is_done() -> None:
    assert choose("int8", {}) == choose("int8", {"int8_cost": 1.0}) == "int8"
    assert choose("fp32", {"int8_cost": 0.0}) == "fp32"
    assert choose("auto", {"int8_cost": None}) == choose("auto", {"int8_cost": "0"}) == "fp32"
    with pytest.raises(UsageError, match="must be one of auto, fp32, int8, got 'int4'"):
        choose("int4", {})


def test_a_model_is_saved_with_it_and_writes_by_it(tmp_path: Path, tales: Path) -> None:
    shape = {"hidden": 380, "layers": 1, "embedding": 32}
    settings = {"training": {"steps": 30, "threads": 1}, "model": shape, "text": {"unit": "chars"}}
    outcome = fabula.train(tales, tmp_path / "model", settings=settings)
    about = read_model(tmp_path / "model").about
    assert outcome.int8_cost == about["int8_cost"]
    assert abs(about["int8_cost"]) < BEARABLE
    auto, exact = fabula.load(tmp_path / "model"), fabula.load(tmp_path / "model", precision="fp32")
    assert (auto.precision, exact.precision) == ("int8", "fp32")
    alone = [auto.write("A fox ", story=story, words=8).text for story in range(5)]
    assert alone == [told.text for told in auto.write_many(5, "A fox ", words=8)]
    assert isinstance(exact.engine, Engine)
    scores = [teller.engine.step(np.array([5]), teller.engine.initial_state(1))[0] for teller in (auto, exact)]
    assert (scores[0] != scores[1]).any()
    np.testing.assert_allclose(scores[0], scores[1], atol=0.2)
