"""Words on lines: nothing is lost, nothing is too wide, and what is laid out bit by bit is as if at once."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth

from fabula.cli.facts import shown
from fabula.cli.sheet import Piece, Sheet

WORDS = st.sampled_from(
    [
        "the",
        " fox",
        ",",
        " and",
        "\n\n",
        " a",
        "老",
        "鼠",
        "，",
        "  ",
        "e\u0301",
        " unbelievably-long-words",
        "\t",
        "",
        "👩‍🚀",
        "”",
    ]
)
STORIES = st.lists(WORDS, max_size=25)


def laid(texts: list[str], width: int, sheet: Sheet | None = None) -> Sheet:
    sheet = sheet or Sheet()
    sheet.lay([Piece(number, text) for number, text in enumerate(texts)], width)
    return sheet


def lines(texts: list[str], width: int) -> list[str]:
    return ["".join(part.text for part in line) for line in laid(texts, width).lines]


def test_lines_break_between_words() -> None:
    assert lines(["the", " fox", " ran", " home", "."], 9) == ["the fox ", "ran home."]
    assert lines(["the", " fox", " ran", " home", "."], 10) == ["the fox ", "ran home."]
    assert lines(["the", " fox", " ran"], 7) == ["the fox", "ran"]  # the space at a full line's end is not seen
    assert lines(["abcdefghij", " k"], 4) == ["abcd", "efgh", "ij k"]
    assert lines(["a", "\n\nb"], 9) == ["a", "", "b"]
    assert lines([], 9) == [""]


def test_a_mark_stays_with_its_word() -> None:
    assert lines(["the", " fox", "."], 7) == ["the ", "fox."]
    assert lines(["the", " “", "fox", "”"], 8) == ["the ", "“fox”"]


def test_wide_characters_break_anywhere_but_before_a_mark() -> None:
    assert lines(["老", "鼠", "说", "，", "猫"], 4) == ["老鼠", "说，", "猫"]
    assert lines(["老", "鼠", "，", "猫"], 5) == ["老", "鼠，", "猫"]
    assert lines(["a", "老鼠"], 4) == ["a老", "鼠"]


def test_what_moves_the_cursor_is_not_shown() -> None:
    assert lines(["a\x1b[2Jb\x07\r\u202ec\u2028"], 40) == ["a\ufffd[2Jb\ufffd\ufffd\ufffdc\ufffd"]


def test_the_line_of_a_piece_is_that_of_its_first_letter() -> None:
    sheet = laid(["the", " fox", " ran", "\n\nhome", " ", " now"], 7)
    assert [sheet.line_of(place) for place in range(6)] == [0, 0, 1, 3, 3, 4]


@given(texts=STORIES, width=st.integers(2, 30))
def test_nothing_is_lost_and_nothing_too_wide(texts: list[str], width: int) -> None:
    sheet = laid(texts, width)
    found = ["".join(part.text for part in line) for line in sheet.lines]
    assert "".join("".join(found).split()) == "".join(shown("".join(texts)).split())
    assert all(sum(max(0, get_cwidth(one)) for one in line) <= width for line in found)
    for place, text in enumerate(texts):
        if text.strip():
            assert any(part.key == place for part in sheet.lines[sheet.line_of(place)])


@settings(max_examples=200)
@example(stories=[["the", "the", "the", " fox", ",", "\t", ",", "the"], []], same=8, width=7)
@example(stories=[[" a", "，", ","], []], same=3, width=2)
@given(stories=st.lists(STORIES, min_size=2, max_size=5), same=st.integers(0, 25), width=st.integers(2, 20))
def test_bit_by_bit_is_as_at_once(stories: list[list[str]], same: int, width: int) -> None:
    sheet, before = Sheet(), list[str]()
    for story in stories:
        texts = before[:same] + story
        laid(texts, width, sheet)
        fresh = laid(texts, width)
        assert sheet.lines == fresh.lines
        assert [sheet.line_of(place) for place in range(len(texts))] == [
            fresh.line_of(place) for place in range(len(texts))
        ]
        before = texts
