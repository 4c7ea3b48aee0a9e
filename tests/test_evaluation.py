"""Measures worked out by hand and by plain loops, lanes against one long reading, windows against a loop."""

from __future__ import annotations

import itertools
import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from fabula import evaluation
from fabula.config import ModelConfig
from fabula.engine import Engine, expected_shapes
from fabula.errors import TextError
from fabula.evaluation import Counts, Measure, measure

V, END = 6, 5
COUNTS = Counts(bytes=100, chars=80, words=20)
State = NDArray[np.float64]


def stories(*lengths: int, seed: int = 1) -> list[NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, END, length).astype(np.int32) for length in lengths]


class Counting:
    """Foretells from a fading memory of all it read, so that every unit before a prediction matters; keeps a diary."""

    def __init__(self, fade: float = 0.9) -> None:
        self.fade, self.widths, self.largest = fade, [], 0

    def initial_state(self, batch: int) -> State:
        return np.zeros((batch, V))

    def score(
        self, ids: NDArray[np.int64], targets: NDArray[np.int64], state: State
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], State]:
        assert ids.dtype == targets.dtype == np.int64
        assert ids.flags.c_contiguous and targets.flags.c_contiguous
        self.widths.append(ids.shape[0])
        self.largest = max(self.largest, targets.size)
        nats, hits = [], []
        for moment in range(ids.shape[1]):
            state = state * self.fade + np.eye(V)[ids[:, moment]]
            place = moment - (ids.shape[1] - targets.shape[1])
            if place >= 0:
                scores = state - np.log(np.exp(state).sum(axis=1, keepdims=True))
                nats.append(-scores[np.arange(len(ids)), targets[:, place]])
                hits.append(scores.argmax(axis=1) == targets[:, place])
        return np.array(nats, np.float32).T, np.array(hits).T, state


def read_through(told: list[NDArray[np.int32]], scorer: Counting) -> tuple[float, int]:
    """All predictions one by one with the state carried from the first end mark to the last."""
    stream = [END, *(unit for story in told for unit in (*story.tolist(), END))]
    nats, hits, _ = scorer.score(np.array([stream[:-1]]), np.array([stream[1:]]), scorer.initial_state(1))
    return float(nats.sum(dtype=np.float64)), int(hits.sum())


def test_figures_by_hand() -> None:
    found = Measure(nats=math.log(2) * 300, tokens=150, bytes=100, chars=50, words=60, correct=30)
    assert found.bits_per_byte == pytest.approx(3.0)
    assert found.nats_per_char == pytest.approx(math.log(2) * 6)
    assert found.perplexity == pytest.approx(4.0)
    assert found.perplexity_per_word == pytest.approx(32.0)
    assert found.accuracy == pytest.approx(0.2)
    written = found.to_json()
    assert list(written) == [
        "bits_per_byte", "nats_per_char", "perplexity", "perplexity_per_word", "accuracy", "tokens", "bytes",
    ]  # fmt: skip
    assert (written["tokens"], written["bytes"], written["accuracy"]) == (150, 100, 0.2)


def test_perplexities_beyond_all_bounds_are_null_in_json() -> None:
    found = Measure(nats=1e6, tokens=10, bytes=10, chars=10, words=0, correct=0)
    assert found.perplexity == found.perplexity_per_word == math.inf
    assert '"perplexity_per_word": null' in json.dumps(found.to_json(), allow_nan=False)


def test_a_known_network_has_a_known_cost() -> None:
    class Uniform(Counting):
        """Every unit is as likely as every other."""

        def score(self, ids: NDArray[np.int64], targets: NDArray[np.int64], state: State) -> tuple:
            return np.full(targets.shape, math.log(V), np.float32), targets == 0, state

    told = [np.array([0, 1, 2, 3], np.int32), np.array([0, 4], np.int32)]
    found = measure(Uniform(), told, END, COUNTS)
    assert found.tokens == 8  # six units and two end marks
    assert found.correct == 2
    assert found.perplexity == pytest.approx(V, rel=1e-6)
    assert found.bits_per_byte == pytest.approx(8 * math.log2(V) / 100, rel=1e-6)
    assert (found.bytes, found.chars, found.words) == (100, 80, 20)


@pytest.mark.parametrize("lengths", [(1,), (0,), (0, 0), (3, 0, 5), (400, 700), (2046,)])
def test_short_streams_are_exact(lengths: tuple[int, ...]) -> None:
    told, scorer = stories(*lengths), Counting(fade=1.0)  # nothing is ever forgotten
    found = measure(scorer, told, END, COUNTS)
    nats, hits = read_through(told, Counting(fade=1.0))
    assert set(scorer.widths) == {1}
    assert found.nats == pytest.approx(nats, rel=1e-6)
    assert (found.correct, found.tokens) == (hits, sum(lengths) + len(lengths))


@pytest.mark.parametrize("total", [2048, 2049, 5000, 6143, 70_001])
def test_lanes_judge_every_unit_once_and_are_warm(total: int) -> None:
    told, scorer = stories(total // 3, 0, total - total // 3 - 3), Counting()  # 0.9 to the 256th is nothing
    found = measure(scorer, told, END, COUNTS)
    nats, hits = read_through(told, Counting())
    assert max(scorer.widths) == min(64, total // 1024)
    assert (found.tokens, found.correct) == (total, hits)
    assert found.nats == pytest.approx(nats, rel=1e-6)
    assert measure(Counting(), told, END, COUNTS) == found


def test_the_first_lane_starts_truly(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without warm-up only the first lane can know what came before its first prediction.
    monkeypatch.setattr(evaluation, "LANE", 8)
    monkeypatch.setattr(evaluation, "WARM_UP", 3)
    seen: list[list[int]] = []

    class Diary(Counting):
        """Notes what it read."""

        def score(self, ids: NDArray[np.int64], targets: NDArray[np.int64], state: State) -> tuple:
            seen.extend(ids.tolist())
            return super().score(ids, targets, state)

    told = [np.arange(16, dtype=np.int32) % END]
    measure(Diary(), told, END, COUNTS)
    units = [END, *told[0].tolist(), END]
    assert seen == [units[0:3], units[0:10], [*units[7:17]]]


def test_memory_is_bounded_for_every_vocabulary() -> None:
    for vocabulary, most in ((10_000, 838), (170_000, 64)):

        class Wide(Counting):
            """Notes how much it was asked at once."""

            def score(self, ids: NDArray[np.int64], targets: NDArray[np.int64], state: State) -> tuple:
                self.largest = max(self.largest, targets.size)
                return np.zeros(targets.shape, np.float32), np.zeros(targets.shape, np.bool_), state

        for window in (0, 3):
            scorer = Wide()
            measure(scorer, stories(66_000), vocabulary - 1, COUNTS, window=window)
            assert scorer.largest <= most


@pytest.mark.parametrize("window", [1, 3, 50])
def test_windows_by_a_plain_loop(window: int) -> None:
    told = stories(0, 1, 2, 7, 40)
    nats, hits, tokens, scorer = 0.0, 0, 0, Counting()
    for story in told:
        units = [END] * window + story.tolist() + [END]
        for place in range(window, len(units)):
            before, target = np.array([units[place - window : place]]), np.array([units[place : place + 1]])
            cost, hit, _ = scorer.score(before, target, scorer.initial_state(1))
            nats, hits, tokens = nats + float(cost[0, 0]), hits + int(hit[0, 0]), tokens + 1
    found = measure(Counting(), told, END, COUNTS, window=window)
    assert (found.tokens, found.correct) == (tokens, hits)
    assert found.nats == pytest.approx(nats, rel=1e-6)


def test_windows_come_in_bounded_batches() -> None:
    scorer = Counting()
    measure(scorer, stories(300), END, COUNTS, window=4096)
    assert max(scorer.widths) == 16


@pytest.mark.parametrize("window", [0, 2])
def test_the_engine_is_measured_as_it_steps(window: int) -> None:
    config = ModelConfig(layers=1, hidden=8, embedding=4, head="full", dropout=0.0, window=window)
    rng = np.random.default_rng(3)
    weights = {name: rng.normal(0, 0.7, shape).astype(np.float32) for name, shape in expected_shapes(config, V).items()}
    engine, told, nats = Engine(config, V, weights), stories(20, 9), 0.0
    state, before = engine.initial_state(1), END
    for story in told:
        context = [END] * window
        for unit in (*story.tolist(), END):
            if window:
                scores, _ = engine.step(
                    np.array(context[-1:]), engine.read(np.array([context[:-1]]), engine.initial_state(1))
                )
                context = [*context[1:], unit]
            else:
                scores, state = engine.step(np.array([before]), state)
                before = unit
            nats -= float(scores[0, unit])
    assert measure(engine, told, END, COUNTS, window=window).nats == pytest.approx(nats, rel=1e-6)


@pytest.mark.parametrize("counts", [COUNTS, Counts(bytes=0, chars=0, words=0)])
def test_nothing_to_measure_is_said(counts: Counts) -> None:
    told = [] if counts.bytes else stories(0)
    with pytest.raises(TextError, match="expected a text to measure"):
        measure(Counting(), told, END, counts)


@pytest.mark.parametrize("total", [10, 2049, 5000])
def test_each_cost_stands_at_its_place(total: int) -> None:
    told, scorer = stories(total // 3, 0, total - total // 3 - 3), Counting()
    units = [END, *(unit for story in told for unit in (*story.tolist(), END))]
    nats, _, _ = scorer.score(np.array([units[:-1]]), np.array([units[1:]]), scorer.initial_state(1))
    assert measure(Counting(), told, END, COUNTS).costs == pytest.approx(nats[0], rel=1e-4)


def test_each_cost_of_windows_stands_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(Counting(), stories(5, 0, 9), END, COUNTS, window=3).costs
    monkeypatch.setattr(evaluation, "_SPANS", 12)
    assert (measure(Counting(), stories(5, 0, 9), END, COUNTS, window=3).costs == whole).all()
    parts = [measure(Counting(), [story], END, COUNTS, window=3).costs for story in stories(5, 0, 9)]
    assert (whole == np.concatenate(parts)).all()


def test_segments_are_the_stories_in_order() -> None:
    told = stories(5, 0, 3)
    units = [END, *(unit for story in told for unit in (*story.tolist(), END))]
    found = list(evaluation.segments(told, END, length=4))
    assert [ids.shape for ids, _ in found] == [(1, 4), (1, 4), (1, 3)]
    assert np.concatenate([ids[0] for ids, _ in found]).tolist() == units[:-1]
    assert np.concatenate([targets[0] for _, targets in found]).tolist() == units[1:]
    found = list(evaluation.segments(told, END, length=4, window=2))
    assert [ids.shape for ids, _ in found] == [(4, 2), (4, 2), (3, 2)]
    assert np.concatenate([targets[:, 0] for _, targets in found]).tolist() == units[1:]
    assert found[1][0][2].tolist() == [END, END]  # the story without units
    assert found[1][0][1].tolist() == told[0][3:].tolist()


def test_help_is_counted_apart() -> None:
    found = Measure(nats=math.log(2) * 300, tokens=150, bytes=100, chars=50, words=60, correct=30)
    helped = found.with_help("cache", np.full(150, math.log(2)), {"size": 9}).with_help(
        "mixture", np.full(150, 9e9), {}
    )
    written = helped.to_json()
    assert {name: written[name] for name in found.to_json()} == found.to_json()
    assert written["cache"] == {
        "bits_per_byte": pytest.approx(1.5), "perplexity": pytest.approx(2.0),
        "perplexity_per_word": pytest.approx(2**2.5), "size": 9,
    }  # fmt: skip
    assert written["mixture"]["perplexity"] is None
    assert found.helped == {}


def test_the_seconds_of_a_measurement_are_told_by_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves on by one second whenever it is asked: a call takes one, so the chunks can be counted."""
    now = itertools.count()
    monkeypatch.setattr(evaluation.time, "perf_counter", lambda: float(next(now)))
    shapes: list[tuple[int, ...]] = []

    class Quick:
        def initial_state(self, batch: int) -> None:
            shapes.append((batch,))

        def score(self, ids: NDArray[np.int64], targets: NDArray[np.int64], state: None) -> tuple:
            shapes.append(ids.shape)
            return np.zeros(targets.shape, np.float32), np.zeros(targets.shape, np.bool_), state

    tokens = 100 * evaluation.LANE
    steps = evaluation.STEPS
    seconds = evaluation.seconds_for(Quick(), tokens, END)
    assert shapes[-2:] == [(evaluation.LANES,), (evaluation.LANES, steps)]
    assert seconds == (tokens / evaluation.LANES + evaluation.WARM_UP) / steps
    assert evaluation.seconds_for(Quick(), 10, END) == pytest.approx((10 + evaluation.WARM_UP) / 10)
    assert evaluation.seconds_for(Quick(), 5000, END, window=3) == 1.0
    assert shapes[-1] == (5000, 3)


class Helper:
    """One of several that judge together, each in a thread; what they found is added up when all have found it."""

    def __init__(self, rank: int, found: list[list[NDArray]], meeting: threading.Barrier) -> None:
        self.rank, self.size = rank, meeting.parties
        self._found, self._meeting = found, meeting

    def added(self, values: NDArray) -> NDArray:
        self._found[self.rank].append(values)
        self._meeting.wait(20)
        total = np.sum([own[-1] for own in self._found], axis=0, dtype=values.dtype)
        self._meeting.wait(20)  # nobody says more before all have heard this
        return total


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(("window", "lengths"), [(0, (5000, 1200)), (0, (40,)), (2, (700, 300))])
def test_shares_of_several_are_the_measurement_of_one(
    monkeypatch: pytest.MonkeyPatch, size: int, window: int, lengths: tuple[int, ...]
) -> None:
    """The same costs at the same places, and nobody judges what another does."""
    monkeypatch.setattr(evaluation, "_SPANS", 100)
    told = stories(*lengths)
    alone = measure(Counting(), told, END, COUNTS, window=window)
    meeting, found = threading.Barrier(size), [list[NDArray]() for _ in range(size)]
    with ThreadPoolExecutor(size) as pool:
        several = [
            pool.submit(measure, Counting(), told, END, COUNTS, window=window, helpers=Helper(rank, found, meeting))
            for rank in range(size)
        ]
        for one in several:
            together = one.result()
            np.testing.assert_array_equal(together.costs, alone.costs)
            assert together.correct == alone.correct
            assert together.nats == pytest.approx(alone.nats, rel=1e-9)
    assert max(np.sum([own[0] > 0 for own in found], axis=0)) == 1
