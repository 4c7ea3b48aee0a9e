"""What every unit promises: sound ids, any text exactly back, the same unit after saving, one line for a bad file."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fabula.config
from fabula.errors import FolderError, TextError, UsageError
from fabula.tokens import UNITS, Decoder, Tokenizer, build, from_json

TAUGHT = [
    "The mice said: “It’s easy!”\r\n\tDon't you think so?\n\nThe old mouse didn't say 12 words.",
    "很久以前，老鼠们开了一次大会，商量怎样对付它们共同的敌人。 Ко́шка 🐱 and 👩‍👩‍👧‍👦.",
    "<|endoftext|> <0x41> [UNK]</s> the the the mice mice",
]
LOSSLESS = [name for name, kind in UNITS.items() if kind.lossless]
TRICKS = [
    "", " ", "   ", "\n", "\r\n\r\n\r\n", "\r", "\t\t x", " a", "a ", "  a  b  ", "a\n b", "\x00\x7f\x85\u2028\ufeff",
    "<0x41><0xE7>", "<unk> <pad> <s> </s> <bos> <|endoftext|> [UNK] [PAD] <mask>", "▁the ▁ Ġthe Ċ",
    "don't can’t rock'n'roll ''x''", "👩\u200d👩\u200d👧👍🏽🇹🇭🇨🇳1\ufe0f\u20e3❤\ufe0f\u200d🔥",
    "t\u0301\u0323\u0334\u036f" * 40, "\u0301 \u0301", "กาลครั้งหนึ่งนานมาแล้ว", "むかし、ねずみ ー々〆", "एक समय की बात है",
    "ｔｈｅ ﬁ Å K İ ß ẞ ŉ", "\u202eabc\u202c\u200f", "3.14 1e5 ½ Ⅷ ٣", "x" * 5000, "\n" * 5000, " " * 5000, "老" * 5000,
]  # fmt: skip


@pytest.fixture(scope="module", params=UNITS)
def any_unit(request: pytest.FixtureRequest) -> Tokenizer:
    return build(request.param, TAUGHT)


@pytest.fixture(scope="module", params=LOSSLESS)
def lossless(request: pytest.FixtureRequest) -> Tokenizer:
    return build(request.param, TAUGHT)


def returns(tokenizer: Tokenizer, text: str) -> bool:
    """Whether the ids are sound and give back the text, by decoding and by spelling."""
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32
    assert ids.ndim == 1
    assert not len(ids) or (ids.min() >= 0 and ids.max() < tokenizer.end)
    spelled = b"".join(tokenizer.spelling(token) for token in ids.tolist())
    return tokenizer.decode(ids) == text and tokenizer.decode(ids.tolist()) == text and spelled == text.encode()


def test_the_registry_and_the_settings_name_the_same_units() -> None:
    assert tuple(UNITS) == fabula.config.UNITS
    assert all(kind.unit == name for name, kind in UNITS.items())


@pytest.mark.parametrize("text", TRICKS, ids=range(len(TRICKS)))
def test_tricky_texts_return(lossless: Tokenizer, text: str) -> None:
    assert returns(lossless, text)


@given(text=st.text(max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_text_returns(lossless: Tokenizer, text: str) -> None:
    assert returns(lossless, text)


@given(text=st.text(alphabet=" \n\r\t'’.<0x41>aeémice老鼠か1２\u0301🐱", max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_mixture_of_edges_returns(lossless: Tokenizer, text: str) -> None:
    assert returns(lossless, text)


def test_all_unicode_characters_return(lossless: Tokenizer) -> None:
    scalars = np.r_[0:0xD800, 0xE000:0x110000].astype("<u4")
    assert len(scalars) == 1_112_064
    texts = [part.tobytes().decode("utf-32-le") for part in np.array_split(scalars, 100)]
    for text, ids in zip(texts, lossless.encode_many(texts), strict=True):
        assert lossless.decode(ids) == text
        assert ids.max() < lossless.end


@pytest.mark.parametrize(
    "name", ["adversarial/blns.txt", "adversarial/utf8_demo_kuhn.txt", "adversarial/utf8_stress_kuhn.txt"]
)
def test_hostile_files_return(lossless: Tokenizer, shared_data: Path, name: str) -> None:
    text = (shared_data / name).read_bytes().decode("utf-8", "replace")
    assert returns(lossless, text)
    assert returns(build(lossless.unit, [text]), text)


@pytest.mark.parametrize("name", ["aesop/valid.txt", "liaozhai/test.txt", "other_languages/lafontaine_fables_fr.txt"])
def test_real_texts_return(lossless: Tokenizer, shared_data: Path, name: str) -> None:
    text = (shared_data / name).read_bytes().decode()[:60_000]
    assert returns(lossless, text)
    assert returns(build(lossless.unit, [text]), text)


def test_many_texts_are_encoded_as_one_by_one(any_unit: Tokenizer) -> None:
    texts = [TAUGHT[0], "", TAUGHT[2]]
    many = any_unit.encode_many(texts)
    assert [ids.tolist() for ids in many] == [any_unit.encode(text).tolist() for text in texts]
    assert any_unit.encode_many([]) == []


def test_end_is_last_and_spells_nothing(any_unit: Tokenizer) -> None:
    assert any_unit.end == any_unit.size - 1
    assert any_unit.spelling(any_unit.end) == b""
    assert any_unit.decode([any_unit.end]) == ""


def test_learning_twice_gives_the_same_unit(any_unit: Tokenizer) -> None:
    assert build(any_unit.unit, TAUGHT).to_json() == any_unit.to_json()


def test_a_saved_unit_is_the_same_unit(any_unit: Tokenizer) -> None:
    again = from_json(json.loads(json.dumps(any_unit.to_json())))
    assert type(again) is type(any_unit)
    assert again.to_json() == any_unit.to_json()
    assert [again.spelling(token) for token in range(again.size)] == [
        any_unit.spelling(token) for token in range(again.size)
    ]
    assert [ids.tolist() for ids in again.encode_many(TAUGHT)] == [ids.tolist() for ids in any_unit.encode_many(TAUGHT)]


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_the_stream_is_the_text(any_unit: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, any_unit.end), max_size=30))
    stream = Decoder(any_unit)
    assert "".join(map(stream.feed, ids)) + stream.flush() == any_unit.decode(ids)


@pytest.mark.parametrize("unit", ["words", "subwords", "chars"])
@pytest.mark.parametrize("vocabulary", [257, 258, 300])
def test_the_vocabulary_is_bounded_and_still_returns_any_text(unit: str, vocabulary: int) -> None:
    tokenizer = build(unit, TAUGHT, vocabulary)
    assert tokenizer.size <= vocabulary
    assert all(returns(tokenizer, text) for text in TAUGHT)


@pytest.mark.parametrize("unit", ["words", "subwords", "chars"])
def test_what_a_long_text_has_once_is_spelled(unit: str) -> None:
    text = "the mice ran. " * 2_000 + "Qwixot"
    tokenizer = build(unit, [text])
    assert returns(tokenizer, text)
    assert len(tokenizer.encode(" Qwixot")) > (6 if unit == "chars" else 1)
    short = build(unit, [text[-40:]])
    assert len(short.encode(" Qwixot")) <= 7
    if unit == "chars":  # Q is a byte in the long text, a character in the short one
        assert tokenizer.encode("Q")[0] == tokenizer.end - 256 + ord("Q")
        assert short.encode("Q")[0] < short.end - 256


def test_no_texts_make_a_unit_all_the_same(lossless: Tokenizer) -> None:
    assert returns(build(lossless.unit, []), "the mice")
    assert returns(build(lossless.unit, [""]), "the mice")


def test_half_a_surrogate_pair_is_one_line(any_unit: Tokenizer) -> None:
    with pytest.raises(
        TextError, match=r"^text must be Unicode, got the lone surrogate U\+D83D at character 4: [ -~]+$"
    ):
        build(any_unit.unit, ["mice\ud83d"])
    if any_unit.lossless:
        with pytest.raises(TextError, match=r"U\+DC00 at character 0"):
            any_unit.encode("\udc00")


def test_unknown_units_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"^unit must be one of symbols, words, subwords, chars, bytes, got 'letters'$"
    ):
        build("letters", TAUGHT)


HOSTILE = [
    [], "chars", {}, {"unit": None}, {"unit": "x\x1b[31m"}, {"unit": ["chars"]}, {"unit": "bytes", "extra": 1},
    *({"unit": "chars", "characters": bad} for bad in ("aa", ["a"], "a\ud800", 5, "a" * 2_000_001)),
    {"unit": "chars"}, {"unit": "chars", "characters": "ab", "é" * 500: 1},
    *({"unit": "symbols", "symbols": bad} for bad in ({"a": 1}, ["a", "a"], ["a b"], [""], ["a", 1], ["\udfff"])),
    {"unit": "symbols", "symbols": [None] * 2_000_001},
    *({"unit": "words", "pieces": ["a"], "counts": bad} for bad in ([], [-1], [True], [1.5], [2**80], "1", None)),
    *({"unit": "words", "pieces": bad, "counts": [1]} for bad in ("a", [""], ["<0x41>"], [["a"]], ["a" * 257])),
    {"unit": "words", "pieces": ["a"]},
    *({"unit": "subwords", "merges": [bad]} for bad in ([0], [0, 1, 2], [0, 256], [0, -1], ["a", "b"], [0, True], 5)),
    {"unit": "subwords", "merges": [[97, 97], *([n, n] for n in range(256, 512))]},
    {"unit": "subwords", "merges": [[0, 0]] * 2_000_001},
]  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_files_are_one_line(data: object) -> None:
    with pytest.raises(FolderError) as caught:
        from_json(data)
    message = str(caught.value)
    assert message.startswith("tokenizer.json ")
    assert message.isprintable()
    assert len(message) < 200


def test_units_with_a_vocabulary_list_it_by_falling_frequency() -> None:
    for unit in ("symbols", "words", "chars"):
        texts = ["b b b a a c", "c c c"]
        tokenizer = build(unit, texts)
        ids = np.concatenate(tokenizer.encode_many(texts))
        counts = np.bincount(ids, minlength=tokenizer.size)
        assert all(more >= less for more, less in pairwise(counts.tolist())), unit


def test_bytes_go_on_as_utf8_does() -> None:
    tokenizer, begun = build("bytes", []), {b""}
    characters = {chr(code).encode() for code in [*range(0xD800), *range(0xE000, 0x110000, 61), 0x10FFFF]}
    for character in characters:
        for size in range(len(character)):
            assert tokenizer.continuations(character[:size])[character[size]]
        begun |= {character[:size] for size in range(len(character))}
    for part in begun:
        fits = tokenizer.continuations(part)
        assert fits[tokenizer.end] == (part == b"")
        for byte in np.flatnonzero(fits[:256]).tolist():  # each leads to a character
            rests = (b"", b"\x80", b"\x80\x80", b"\xa0\x80", b"\x80\x80\x80", b"\x90\x80\x80")
            whole = [part + bytes([byte]) + rest for rest in rests]
            assert any(is_one_character(data) for data in whole), (part, byte)


def is_one_character(data: bytes) -> bool:
    try:
        return len(data.decode()) == 1
    except UnicodeDecodeError:
        return False
