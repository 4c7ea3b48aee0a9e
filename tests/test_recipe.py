"""The dial: no gap is left, and nothing that was chosen is overruled."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.config import SIZES, UNITS, Settings, resolve
from fabula.recipe import Facts, choose, chosen_by_pace, settle


@given(
    predictions=st.integers(2, 10**9), vocabulary=st.integers(3, 10**6), unit=st.sampled_from(UNITS),
    by_heart=st.booleans(), size=st.sampled_from([None, *SIZES]), window=st.integers(0, 8),
    processes=st.integers(1, 70),
)  # fmt: skip
def test_every_gap_is_filled(
    predictions: int, vocabulary: int, unit: str, by_heart: bool, size: str | None, window: int, processes: int
) -> None:
    facts = Facts(predictions=predictions, vocabulary=vocabulary, unit=unit, by_heart=by_heart, processes=processes)
    settings, said = choose(resolve({"model": {"window": window}}), facts, size)
    own = {name: value for name, value in dataclasses.asdict(settings.model).items() if value is None}
    assert set(own) <= {"dropout_input", "dropout_hidden", "dropout_output"}  # those follow `dropout`
    training = settings.training
    assert None not in (training.lr, training.batch, training.length, training.reset, training.penalty_slope)
    assert training.time or training.steps or training.epochs
    assert (training.batch or 0) % processes == 0
    assert said


def test_the_dial_sets_the_width() -> None:
    facts = Facts(predictions=10**6, vocabulary=100, unit="chars", by_heart=False)
    assert [choose(Settings(), facts, size)[0].model.hidden for size in SIZES] == [s["hidden"] for s in SIZES.values()]


@pytest.mark.parametrize("by_heart", [True, False])
def test_what_was_chosen_stays(by_heart: bool) -> None:
    layer = {
        "model": {
            "hidden": 17,
            "layers": 3,
            "embedding": 5,
            "head": "tied",
            "dropout": 0.4,
            "ngrams": 2,
            "buckets": 9,
            "forget_bias": 0.5,
        },
        "training": {"lr": 0.0, "batch": 3, "length": 9, "steps": 12},
    }
    asked = resolve(layer)
    facts = Facts(predictions=999, vocabulary=50, unit="words", by_heart=by_heart)
    settings, _ = choose(asked, facts, "large")
    assert settings.model == asked.model
    for name in ("lr", "batch", "length", "steps", "time"):
        assert getattr(settings.training, name) == getattr(asked.training, name)


@pytest.mark.parametrize(
    ("vocabulary", "by_heart", "head"),
    [(999, False, "full"), (1000, False, "tied"), (3_999, False, "tied"), (4_000, False, "adaptive"),
     (4_000, True, "full")],
)  # fmt: skip
def test_the_output_layer_follows_the_vocabulary(vocabulary: int, by_heart: bool, head: str) -> None:
    facts = Facts(predictions=10**6, vocabulary=vocabulary, unit="chars", by_heart=by_heart)
    assert choose(Settings(), facts)[0].model.head == head
    assert choose(resolve({"model": {"head": "tied"}}), facts)[0].model.head == "tied"


def test_few_subwords_are_no_letters() -> None:
    """A small text has few subwords, and they need the room and the small steps of subwords."""
    letters, pieces = (
        choose(Settings(), Facts(predictions=10**5, vocabulary=738, unit=unit, by_heart=False))[0]
        for unit in ("chars", "subwords")
    )
    assert (letters.model.head, letters.model.embedding, letters.training.batch) == ("full", 64, 32)
    assert (pieces.model.head, pieces.model.embedding, pieces.training.batch) == ("tied", 512, 16)


def test_more_lanes_where_they_are_worth_it() -> None:
    """By what the processor was seen to do; a vocabulary of many units always has many lanes, a short text few."""
    long = Facts(predictions=10**6, vocabulary=2000, unit="subwords", by_heart=False)
    seen = {"little": {16: 2e4, 32: 2.1e4}, "much": {16: 2e4, 32: 3e4}}
    few, more = (choose(Settings(), dataclasses.replace(long, speeds=own))[0].training for own in seen.values())
    assert (few.batch, more.batch) == (16, 32)
    assert few.lr and more.lr and more.lr > few.lr
    words = dataclasses.replace(long, vocabulary=33_000, unit="words", speeds=seen["little"])
    assert choose(Settings(), words)[0].training.batch == 64
    assert choose(Settings(), dataclasses.replace(words, predictions=50_000))[0].training.batch == 16


def test_the_pace_decides_what_was_left_open() -> None:
    facts = Facts(predictions=10**6, vocabulary=2000, unit="subwords", by_heart=False)
    timed = resolve({"training": {"time": 60, "lr": 0.001}})
    assert chosen_by_pace(Settings()) == ("lr", "dropout")
    assert chosen_by_pace(timed) == ("dropout",)
    assert chosen_by_pace(resolve({"training": {"steps": 9}})) == ()
    chosen, _ = choose(timed, facts)
    seldom, often = (settle(chosen, facts, epochs, ("lr", "dropout")) for epochs in (1, 30))
    assert (seldom.model.dropout or 0) < (often.model.dropout or 0)
    assert (seldom.training.lr or 0) > (often.training.lr or 0)
    assert settle(chosen, facts, 30, ()) == chosen
