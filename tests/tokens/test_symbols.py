"""The article's unit: its counts on the fable, its spacing, and its one-line answer to a word it does not know."""

from pathlib import Path

import pytest

from fabula.errors import UnknownSymbolError, UsageError
from fabula.tokens import Decoder, Tokenizer, build


@pytest.fixture(scope="module")
def symbols(fable: Path) -> Tokenizer:
    return build("symbols", [fable.read_text(encoding="utf-8")])


def test_the_fable_has_the_articles_numbers(symbols: Tokenizer, fable: Path) -> None:
    ids = symbols.encode(fable.read_text(encoding="utf-8"))
    assert (len(ids), symbols.size, symbols.end) == (204, 113, 112)
    assert symbols.encode(", the council spoke").tolist() == [0, 1, 39, 106]
    assert ids[:10].tolist() == symbols.encode("long ago , the mice had a general council to").tolist()


def test_text_comes_out_as_people_write_it(symbols: Tokenizer) -> None:
    ids = symbols.encode("long ago , the mice had a general council ? the cat .")
    assert symbols.decode(ids) == "long ago, the mice had a general council? the cat."
    assert symbols.spelling(0) == b","
    assert symbols.spelling(1) == b" the"
    assert symbols.decode([0, 1]) == ", the"


@pytest.mark.parametrize(
    ("symbol", "spaced"),
    [("!?", False), ("...", False), ("’s", False), ("n't", False), (")", False), ("。", False),
     ("(", True), ('"', True), ("'tis", True), (".5", True), ("said", True)],
)  # fmt: skip
def test_only_closing_marks_go_without_a_space(symbol: str, spaced: bool) -> None:
    assert build("symbols", [symbol]).spelling(0) == (b" " if spaced else b"") + symbol.encode()


def test_after_a_prompt_the_first_word_keeps_its_space(symbols: Tokenizer) -> None:
    stream = Decoder(symbols)
    prompt = "".join(map(stream.feed, symbols.encode("had a general").tolist()))
    assert prompt == "had a general"
    assert "".join(map(stream.feed, symbols.encode("council , to").tolist())) + stream.flush() == " council, to"


def test_an_unknown_symbol_is_named_with_its_neighbours(symbols: Tokenizer) -> None:
    with pytest.raises(UnknownSymbolError, match="got 'Council': the nearest it knows are 'council'"):
        symbols.encode("had a general Council")
    with pytest.raises(UnknownSymbolError, match="got '猫': it knows none like it"):
        symbols.encode_prompt("猫")


@pytest.mark.parametrize("symbol", ["x" * 1_000_000, "\x1b[31m\x07", "\ud800", "\U000e0001" * 100])
def test_an_unknown_symbol_is_shown_safely(symbols: Tokenizer, symbol: str) -> None:
    with pytest.raises(UnknownSymbolError) as caught:
        symbols.encode(symbol)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_every_symbol_must_fit_the_vocabulary() -> None:
    assert build("symbols", ["a b c"], 4).size == 4
    with pytest.raises(UsageError, match=r"text\.vocabulary must be over 3"):
        build("symbols", ["a b c"], 3)
