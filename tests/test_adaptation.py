"""The neural cache against the equations in a plain loop, and that it recalls only what lies before."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fabula import adaptation
from fabula.adaptation import Cache, Dynamic, recall
from fabula.config import ModelConfig
from fabula.engine import Engine, expected_shapes
from fabula.errors import UsageError
from fabula.evaluation import Counts, measure

V, END = 6, 5
COUNTS = Counts(bytes=100, chars=80, words=20)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks even in short texts, and none a divisor of their lengths."""
    monkeypatch.setattr(adaptation, "BLOCK", 7)


def network(window: int = 0) -> Engine:
    config = ModelConfig(layers=2, hidden=8, embedding=4, head="full", dropout=0.0, window=window)
    rng = np.random.default_rng(3)
    shapes = expected_shapes(config, V)
    return Engine(config, V, {name: rng.normal(0, 0.7, shape).astype(np.float32) for name, shape in shapes.items()})


def stories(seed: int = 1) -> list[NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, END, length).astype(np.int32) for length in (20, 0, 15)]


def cached(told: list[NDArray[np.int32]], cache: Cache, window: int = 0) -> NDArray[np.float64]:
    engine = network(window)
    return recall(engine, told, END, measure(engine, told, END, COUNTS, window=window).costs, cache, window=window)


def by_plain_loop(told: list[NDArray[np.int32]], cache: Cache, window: int) -> list[float]:
    """Every prediction by itself, with a list of all moments so far."""
    engine, found, memory = network(window), [], []
    state, before = engine.initial_state(1), END
    for story in told:
        context = [END] * window
        for unit in (*story.tolist(), END):
            if window:
                read, start = np.array([context]), engine.initial_state(1)
                scores, _ = engine.step(read[:, -1], engine.read(read[:, :-1], start))
                moment, _ = engine.hidden(read, start)
                context = [*context[1:], unit]
            else:
                scores, after = engine.step(np.array([before]), state)
                moment, _ = engine.hidden(np.array([[before]]), state)
                state, before = after, unit
            chances = np.exp(scores[0].astype(np.float64))
            own = moment[0, -1].astype(np.float64)
            if memory:
                recalled = np.zeros(V)
                for key, after in memory[-cache.size :]:
                    recalled[after] += np.exp(cache.theta * float(own @ key))
                chances = (1 - cache.share) * chances + cache.share * recalled / recalled.sum()
            found.append(-float(np.log(chances[unit])))
            memory.append((own, unit))
    return found


@pytest.mark.parametrize("window", [0, 3])
@pytest.mark.parametrize("size", [1, 5, 9, 2000])
def test_by_a_plain_loop(size: int, window: int) -> None:
    cache = Cache(size=size, theta=0.9, share=0.3)
    assert cached(stories(), cache, window) == pytest.approx(by_plain_loop(stories(), cache, window), rel=1e-4)


def test_probabilities_sum_to_one() -> None:
    cache = Cache(size=11, theta=1.5, share=0.4)
    for place in (0, 1, 6, 7, 18):
        total = 0.0
        for unit in range(V):
            told = stories()
            told[0][place] = unit
            total += float(np.exp(-cached(told, cache)[place]))
        assert total == pytest.approx(1, rel=1e-5)


def test_no_share_is_the_network_alone() -> None:
    engine = network()
    alone = measure(engine, stories(), END, COUNTS).costs
    assert recall(engine, stories(), END, alone, Cache(share=0.0)) == pytest.approx(alone, rel=1e-12)


def test_what_comes_later_changes_nothing() -> None:
    """The text after a prediction is another, and the prediction costs the same to the last bit."""
    told, other = stories(), stories()
    other[0][13:] = (other[0][13:] + 1) % END
    other[2] = stories(seed=9)[2]
    first, second = (cached(text, Cache(theta=0.9, share=0.3)) for text in (told, other))
    assert (first[:13] == second[:13]).all()
    assert (first[13:] != second[13:]).any()


def test_a_text_that_repeats_itself_gets_cheaper() -> None:
    told = [np.tile(stories()[0], 6)]
    alone = measure(network(), told, END, COUNTS).costs
    assert cached(told, Cache(theta=5.0, share=0.5))[40:].mean() < 0.9 * alone[40:].mean()


@pytest.mark.parametrize("bad", [{"size": 0}, {"theta": -1.0}, {"share": 1.0}, {"share": "much"}])
def test_options_that_cannot_be(bad: dict) -> None:
    with pytest.raises(UsageError, match=r"^cache\."):
        Cache(**bad)
    with pytest.raises(UsageError, match=r"^dynamic\.rate"):
        Dynamic(rate=-1.0)
