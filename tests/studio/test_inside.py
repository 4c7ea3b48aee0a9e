"""What is shown of a network's inside is what the engine computes, and neighbours are neighbours."""

import itertools

import numpy as np
import pytest

from fabula.config import ModelConfig
from fabula.engine import Engine, expected_shapes
from fabula.studio import inside

V, H = 23, 8


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(("layers", "buckets"), [(1, 0), (2, 0), (2, 37)])
def test_what_is_seen_is_what_the_engine_hears(cell: str, layers: int, buckets: int) -> None:
    config = ModelConfig(
        cell=cell, layers=layers, hidden=H, embedding=5, head="full", dropout=0.0, ngrams=3 if buckets else None,
        buckets=buckets,
    )  # fmt: skip
    rng = np.random.default_rng(5)
    weights = {n: rng.normal(0, 0.6, s).astype(np.float32) for n, s in expected_shapes(config, V).items()}
    engine, ids = Engine(config, V, weights), rng.integers(0, V - 1, 12)
    heard, state = engine.hidden(ids[None], engine.initial_state(1))
    seen = list(inside.look(config, engine.weights, ids))
    assert [set(one) for one in seen] == [set(inside.KINDS[cell])] * layers
    np.testing.assert_allclose(seen[-1]["hidden"], heard[0], atol=1e-5)
    slots = len(state[: 2 * layers if cell == "lstm" else layers]) // layers
    for layer, one in enumerate(seen):
        np.testing.assert_allclose(one["hidden"][-1], state[layer * slots][0], atol=1e-5)
        if cell == "lstm":
            np.testing.assert_allclose(one["cell"][-1], state[layer * slots + 1][0], atol=1e-5)
            memory = np.concatenate([np.zeros((1, H), np.float32), one["cell"][:-1]])
            np.testing.assert_allclose(one["cell"], one["forget"] * memory + one["input"] * one["candidate"], atol=1e-5)
            np.testing.assert_allclose(one["hidden"], one["output"] * np.tanh(one["cell"]), atol=1e-5)
        else:
            memory = np.concatenate([np.zeros((1, H), np.float32), one["hidden"][:-1]])
            np.testing.assert_allclose(
                one["hidden"], (1 - one["update"]) * one["new"] + one["update"] * memory, atol=1e-5
            )


def test_units_that_behave_alike_lie_side_by_side() -> None:
    moments = np.linspace(0, 6, 40)
    kinds = [np.sin(moments), np.cos(moments), -np.sin(moments)]
    values = np.stack([kinds[unit % 3] for unit in range(12)], axis=1).astype(np.float32)  # (T, H)
    found = [unit % 3 for unit in inside.order(values)]
    turned = min(
        (found[n:] + found[:n] for n in range(12)),
        key=lambda one: sum(a != b for a, b in itertools.pairwise(one)),
    )
    assert sum(a != b for a, b in itertools.pairwise(turned)) == 2
    assert sorted(inside.order(np.ones((1, 5), np.float32)).tolist()) == [0, 1, 2, 3, 4]


def test_neighbours_point_the_same_way_whatever_their_length() -> None:
    vectors = np.array([[1, 0], [5, 1], [0, 1], [-1, 0], [1, 0.1]], np.float32)  # the last is the end mark
    found = inside.near(vectors, np.array([0]), 3)
    assert [unit for unit, _ in found] == [1, 2, 3]
    assert found[0][1] == pytest.approx(5 / np.sqrt(26))
    assert [unit for unit, _ in inside.near(vectors, np.array([0, 2]), 2)] == [1, 3]
