"""What is remembered gives the ids of the tokenizer, for every text and in every order."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabula.errors import MissingExtraError, TextError
from fabula.tokens import Remembering, Tokenizer, build

TALE = (
    "Long ago, the mice had a general council to consider what measures they could take to outwit their common enemy, "
    "the Cat. Some said this, and some said that; but at last a young mouse got up and said he had a proposal to make, "
    "which he thought would meet the case. “You will all agree,” said he, “that our chief danger consists…”\n\nIl "
    "était une fois 12 souris. Жили-были 3 мыши. It's the mouse's 1st.\r\n\r\n  Two  spaces.\tA tab. "
    "A cat , a mouse , a cheese . No , said the mouse ! Why , said the cat ? "
) * 3
TOKENIZERS = [
    *(build("subwords", [TALE], size) for size in (280, 500)),
    build("words", [TALE]),
    build("chars", [TALE]),
    build("bytes", [TALE]),
]
MARKS = [
    " ",
    "  ",
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "\t",
    "\x85",
    "\u2028",
    "\xa0",
    "\u3000",
    "'",
    "’",
    ".",
    " .",
    ",",
    "!?",
]
WORDS = [
    "; ",
    ".\n",
    "\n,",
    "e\u0301",
    "\u0301",
    "狐狸",
    "ไทย",
    "mouse",
    " the",
    "mice's",
    "12",
    "½",
    "🐱",
    "<0x41>",
    "\0",
]
PARTS = st.one_of(
    st.sampled_from([*MARKS, *WORDS]),
    st.text(max_size=5).filter(lambda text: not any("\ud800" <= one <= "\udfff" for one in text)),
)


def plain(tokenizer: Tokenizer, texts: list[str]) -> tuple[list[int], list[int]]:
    parts = [tokenizer.encode(text).tolist() for text in texts]
    return [token for part in parts for token in part], list(map(len, parts))


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda one: f"{one.unit}-{one.size}")
@settings(deadline=None)
@given(rounds=st.lists(st.lists(st.lists(PARTS, max_size=8).map("".join), max_size=4), min_size=1, max_size=3))
def test_the_ids_are_those_of_the_tokenizer(tokenizer: Tokenizer, rounds: list[list[str]]) -> None:
    encoder = Remembering(tokenizer)
    for texts in [*rounds, [TALE], *rounds]:
        ids, lengths = encoder.encode_many(texts)
        assert (ids.tolist(), lengths.tolist()) == plain(tokenizer, texts)


@pytest.mark.parametrize("tokenizer", TOKENIZERS[:3], ids=lambda one: f"{one.unit}-{one.size}")
def test_when_the_memory_is_full_nothing_changes(tokenizer: Tokenizer) -> None:
    encoder = Remembering(tokenizer, most=20)
    words = [f"w{number} mouse {number % 7} cat {number * 31}" for number in range(300)]
    for start in range(0, 300, 50):
        texts = [*words[start : start + 50], words[0]]
        ids, lengths = encoder.encode_many(texts)
        assert (ids.tolist(), lengths.tolist()) == plain(tokenizer, texts)
    assert encoder.remembered == 20


def test_what_was_met_is_not_new_again() -> None:
    encoder = Remembering(TOKENIZERS[1], most=8000)
    words = [f"w{number}" for number in range(6000)]
    texts = ["".join(f" {word}" for word in words[start : start + 100]) for start in range(0, 6000, 100)]
    encoder.encode_many(texts)
    assert encoder.remembered == 6000
    turned = ["".join(f" {word}" for word in words[start::60]) for start in range(60)]
    ids, lengths = encoder.encode_many(turned)
    assert encoder.remembered == 6000, "whatever stands behind a word, and whichever slots are taken"
    assert (ids.tolist(), lengths.tolist()) == plain(TOKENIZERS[1], turned)


@pytest.mark.parametrize("tokenizer", TOKENIZERS[1:3], ids=lambda one: f"{one.unit}-{one.size}")
def test_a_long_text_is_cut_where_the_tokenizer_cuts_it(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(0)
    text = "".join(rng.choice(["mouse", " ", "cat", "ç", "狐", "x" * 50], 40_000).tolist())
    texts = [text, "x" * 70_000, TALE * 30, "no end " * 12_000]
    ids, lengths = Remembering(tokenizer).encode_many(texts)
    assert (ids.tolist(), lengths.tolist()) == plain(tokenizer, texts)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(TextError, match="lone surrogate"):
        Remembering(TOKENIZERS[0]).encode_many(["a\ud800"])


@pytest.mark.parametrize(
    "name",
    ["adversarial/utf8_demo_kuhn.txt", "liaozhai/valid.txt", "tales/valid.txt", "other_languages/neko_clean_ja.txt"],
)
@pytest.mark.parametrize("unit", ["words", "subwords"])
def test_real_texts_have_the_ids_of_the_tokenizer(shared_data: Path, name: str, unit: str) -> None:
    text = (shared_data / name).read_bytes()[:300_000].decode("utf-8", "replace")
    try:
        tokenizer = build(unit, [text[:100_000]])
    except MissingExtraError:
        pytest.skip("ICU is not installed")
    ids, lengths = Remembering(tokenizer).encode_many([text, text[5:]])
    assert (ids.tolist(), lengths.tolist()) == plain(tokenizer, [text, text[5:]])
