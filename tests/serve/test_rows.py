"""Rows of the batch: what is held back, what is told of a unit, what a request adds to the scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.serve.rows import Verbatim, biases, places, told
from fabula.tokens import Tokenizer, build

WORDS, CHARS, BYTES = (
    build("words", ["the mice had a general council"]),
    build("chars", ["老鼠 abc"]),
    build("bytes", []),
)


@given(st.text("ab ", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.data())
def test_a_text_ends_before_its_first_stop_text_however_the_pieces_fall(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    ending, shown, rest = Verbatim(stops), "", text
    while rest and not ending.over:
        size = data.draw(st.integers(1, len(rest)))
        shown += ending.feed(rest[:size])
        rest = rest[size:]
    if not ending.over:
        shown += ending.rest()
    ends = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    assert ending.over == bool(ends)
    assert shown == (text[: min(ends)[1]] if ends else text)


def test_what_cannot_begin_a_stop_text_is_shown_at_once() -> None:
    ending = Verbatim(["the end"])
    assert [ending.feed(piece) for piece in ("so ", "the", " e", "gg ")] == ["so ", "", "", "the egg "]


def test_biases_change_some_scores_and_penalties_count_from_the_prompt_on() -> None:
    scores, history = np.zeros(5, np.float32), [1, 1, 2, 3, 3, 3]
    bias, penalty = biases({0: 5.0, 4: -100.0}, 0.5, 0.25, given=2)
    assert bias(scores, history).tolist() == [5, 0, 0, 0, -100]
    assert penalty(scores, history).tolist() == [0, 0, -0.75, -1.25, 0]
    assert scores.tolist() == [0] * 5, "filters are pure"
    assert biases({}, 0.0, 0.0, given=0) == []


def test_a_unit_is_told_with_the_likeliest() -> None:
    scores = np.log(np.array([0.1, 0.2, 0.3, 0.4], np.float32))
    padded = np.full(BYTES.size, -np.inf, np.float32)
    padded[97:101] = scores
    token = told(BYTES, padded, 97, 2, 7)
    assert (token.text, token.place, token.spelling) == ("a", 7, b"a")
    assert token.likeliest == (
        ("d", pytest.approx(np.log(0.4), abs=1e-5)), ("c", pytest.approx(np.log(0.3), abs=1e-5)), ("a", token.logprob),
    )  # fmt: skip
    assert told(BYTES, padded, 0, 0, 0).logprob == -1e4, "JSON knows no infinity"
    assert told(BYTES, padded, 0, 0, 0).likeliest == ()


def test_names_that_two_units_share_keep_the_likelier() -> None:
    twice = [unit for unit in range(CHARS.size) if CHARS.spelling(unit) == b"a"]
    scores = np.full(CHARS.size, -9, np.float32)
    scores[twice[0]], scores[twice[1]] = -1, -2
    assert told(CHARS, scores, twice[1], 3, 0).likeliest[0] == ("a", -1)


@pytest.mark.parametrize(
    ("tokenizer", "text", "wanted"),
    [
        (WORDS, "the mice", [0, 3]),
        (CHARS, "a老b", [0, 1, 2]),
        (BYTES, "a老b", [0, 1, 1, 1, 2]),
        (BYTES, "", []),
    ],
)
def test_places_of_a_prompt_s_units(tokenizer: Tokenizer, text: str, wanted: list[int]) -> None:
    assert places(tokenizer, tokenizer.encode_prompt(text).tolist(), text) == wanted
