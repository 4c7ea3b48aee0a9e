"""Words and marks: the space before a word, the spelling of rare ones, Chinese and Japanese, and prompts."""

import subprocess
import sys
from pathlib import Path

import pytest

from fabula.errors import MissingExtraError
from fabula.tokens import Tokenizer, build, from_json, pieces


def spellings(tokenizer: Tokenizer, text: str) -> list[str]:
    """The pieces of a text as they are spelled."""
    return [tokenizer.spelling(token).decode("utf-8", "backslashreplace") for token in tokenizer.encode(text).tolist()]


@pytest.fixture(scope="module")
def english(shared_data: Path) -> Tokenizer:
    return build("words", [(shared_data / "aesop/valid.txt").read_bytes().decode()])


def test_words_keep_the_space_before_them_and_marks_stand_alone() -> None:
    text = "The mice’s bell, they don't know: “Who?”\r\n\r\nNobody spoke  12 words."
    assert spellings(build("words", [text]), text) == [
        "The", " mice’s", " bell", ",", " they", " don't", " know", ":", " “", "Who", "?", "”", "\r\n\r\n",
        "Nobody", " spoke", " ", " 12", " words", ".",
    ]  # fmt: skip


def test_rare_words_are_spelled_and_never_unknown() -> None:
    tokenizer = build("words", ["the mouse saw her house.\n" * 1_000])
    assert spellings(tokenizer, "the mouse") == ["the", " mouse"]
    assert spellings(tokenizer, " herthe") == [" her", "the"]
    assert spellings(tokenizer, "猫") == ["\\xe7", "\\x8c", "\\xab"]


def test_known_words_are_never_split(english: Tokenizer) -> None:
    saved = english.to_json()
    whole = [piece for piece, count in zip(saved["pieces"], saved["counts"], strict=True) if count > 0]
    assert len(whole) > 500
    assert [spellings(english, piece) for piece in whole] == [[piece] for piece in whole]


@pytest.mark.parametrize("unit", ["words", "subwords"])
def test_cutting_a_long_text_changes_no_piece(unit: str, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [
        (shared_data / name).read_bytes().decode()[:30_000]
        for name in ("aesop/valid.txt", "liaozhai/valid.txt", "adversarial/blns.txt", "adversarial/utf8_demo_kuhn.txt")
    ]
    texts.append("a,\n\r\n\n\r\n\n,.\n \n.\u0301x.5 .'s,’t\n\r \n\n\n,")
    tokenizer = build(unit, texts)
    monkeypatch.setattr(pieces, "CHUNK", 10**9)
    whole = [ids.tolist() for ids in tokenizer.encode_many(texts)]
    for size in (0, 1, 7, 1_000):
        monkeypatch.setattr(pieces, "CHUNK", size)
        assert [ids.tolist() for ids in tokenizer.encode_many(texts)] == whole
    assert len(list(pieces.chunks(texts[0]))) > 10


def test_chinese_words_need_icu_only_to_learn(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (shared_data / "liaozhai/valid.txt").read_bytes().decode()
    saved = build("words", [text]).to_json()
    monkeypatch.setitem(sys.modules, "icu4py.breakers", None)
    tokenizer = from_json(saved)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert {"夫人", "公子"} <= set(spellings(tokenizer, text))
    with pytest.raises(MissingExtraError, match=r"pip install 'fabula\[cjk\]'"):
        build("words", [text])


def test_japanese_and_thai_are_cut_into_words() -> None:
    japanese = "むかしむかし、ねずみたちが会議を開きました。ネコに鈴をつけるのは誰？"
    assert "会議" in spellings(build("words", [japanese]), japanese)
    thai = "กาลครั้งหนึ่งนานมาแล้ว มีหนูตัวหนึ่งอยู่กับแมว"
    assert "หนู" in spellings(build("words", [thai]), thai)


def test_a_little_chinese_in_english_needs_no_icu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "icu4py.breakers", None)
    text = "The cat is called 老鼠 in Chinese."
    assert spellings(build("words", [text]), text)[4:8] == [" ", "老", "鼠", " in"]


def test_of_two_ways_to_cut_the_likelier_is_taken() -> None:
    tokenizer = from_json({"unit": "words", "pieces": ["ab", "c", "bc", "a", "d"], "counts": [900, 90, 9, 9, 0]})
    assert spellings(tokenizer, "abc") == ["ab", "c"]
    assert spellings(tokenizer, "bcd") == ["bc", "d"]


def test_characters_take_at_most_half_of_a_small_vocabulary() -> None:
    tokenizer = build("words", ["the mice and the cat, the mice and the dog"], 257 + 10)
    assert spellings(tokenizer, "the mice") == ["the", " mice"]
    assert tokenizer.size <= 257 + 10


def test_a_once_seen_word_of_a_long_text_is_no_piece() -> None:
    saved = build("words", ["the mice ran.\n" * 2_000 + "unheard"]).to_json()
    assert "unheard" not in saved["pieces"]
    assert " mice" in saved["pieces"]


def test_what_is_too_long_for_a_word_is_spelled() -> None:
    tokenizer = build("words", [" " + "x" * 255 + " " + "x" * 256])
    assert [len(piece) for piece in spellings(tokenizer, " " + "x" * 255)] == [256]
    assert max(map(len, tokenizer.to_json()["pieces"])) == 256


@pytest.mark.parametrize("unit", ["words", "subwords"])
@pytest.mark.parametrize("word", ["x", "ア", "ก", "é", "!"])
def test_what_endless_words_taught_can_be_read_again(unit: str, word: str) -> None:
    tokenizer = build(unit, [f"{word * 2_000} {word * 2_000}"])
    assert from_json(tokenizer.to_json()).to_json() == tokenizer.to_json()
    assert tokenizer.decode(tokenizer.encode(word * 3_000)) == word * 3_000


def test_a_prompt_takes_the_spelling_that_is_known() -> None:
    tokenizer = build("words", ["The mice had a general council to consider. Nobody said a word; they had a bell."])
    assert spellings(tokenizer, "had a general") != ["had", " a", " general"]
    assert tokenizer.decode(tokenizer.encode_prompt("had a general ")) == " had a general"
    assert len(tokenizer.encode_prompt("had a general   ")) == 3
    assert tokenizer.decode(tokenizer.encode_prompt("a bell")) == " a bell"
    assert tokenizer.decode(tokenizer.encode_prompt("The mice")) == "The mice"
    both = build("words", ["mice, the mice and the mice"])
    assert both.decode(both.encode_prompt("mice")) == "mice"
    assert tokenizer.decode(tokenizer.encode_prompt(" had")) == " had"
    assert tokenizer.decode(tokenizer.encode_prompt("had\n")) == " had\n"
    assert tokenizer.decode(tokenizer.encode_prompt("unheard of")) == "unheard of"
    assert tokenizer.encode_prompt("  ").tolist() == []
    assert tokenizer.encode_prompt("").tolist() == []


def test_other_units_take_a_prompt_as_it_is() -> None:
    tokenizer = build("chars", ["had a bell"])
    assert tokenizer.encode_prompt("had a ").tolist() == tokenizer.encode("had a ").tolist()


@pytest.mark.parametrize("unit", ["chars", "bytes", "symbols"])
def test_units_that_do_without_load_no_tokenizers_library(unit: str) -> None:
    code = f"import sys, fabula.tokens as t; t.build({unit!r}, ['a b']).encode('a'); print('tokenizers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
