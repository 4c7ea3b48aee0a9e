"""Words and scripts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.text import counting
from fabula.text.counting import count_words, words_of
from fabula.text.scripts import code_points, script_shares, unspaced_share


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0), (" \n\t ", 0), ("the cat , and", 4), ("don't stop", 2), ("吾輩は猫である。", 7), ("「猫」 dog", 2),
        ("猫cat犬", 3), ("Привет, мир!", 2), ("누가 방울을 달겠습니까?", 3), ("a\u00a0b\u3000c", 3), ("é", 1),
        ("🐭 the mouse 🐱", 4), ("𠮷野家", 3), ("\U000e0001 x", 2), ("カタカナ", 4), ("กขค", 3), ("\ud800 x", 2),
    ],
)  # fmt: skip
def test_count_words(text: str, count: int) -> None:
    assert count_words(text) == count


def test_the_article_has_204_words(fable: Path) -> None:
    assert count_words(fable.read_text(encoding="utf-8")) == 204


@given(st.text(st.characters(codec="ascii")))
def test_ascii_words_are_those_of_split(text: str) -> None:
    assert count_words(text + "é") in {len(text.split()), len(text.split()) + 1}
    assert count_words(text) == len(text.split())


@given(st.text(st.sampled_from("ab é猫。 \n")))
def test_blocks_do_not_change_the_count(text: str) -> None:
    whole = count_words(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_BLOCK", 3)
        assert count_words(text) == whole


def test_words_have_no_punctuation_and_no_case() -> None:
    assert words_of("The cat’s “Hat”, 猫です -- 42!") == ["the", "cat", "s", "hat", "猫", "で", "す", "42"]
    assert words_of("एक चूहा और बिल्ली") == ["एक", "चूहा", "और", "बिल्ली"]


def test_script_shares() -> None:
    assert script_shares("") == script_shares("12 , 。!") == {}
    assert script_shares("the 猫") == {"Latin": 0.75, "Han": 0.25}
    assert list(script_shares("Миша и mama")) == ["Cyrillic", "Latin"]
    assert script_shares("\U000f0000\U0001f600") == {}
    assert unspaced_share(script_shares("吾輩は猫 cat")) == pytest.approx(4 / 7)


@given(st.text(st.characters(exclude_categories=[])))
def test_code_points_are_those_of_ord(text: str) -> None:
    assert code_points(text).tolist() == [ord(c) for c in text]
