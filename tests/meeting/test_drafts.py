"""Drafts in both directions: what they say, where they may be cut, and what a reading finds."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.config import Settings, resolve
from fabula.meeting.drafts import Draft, Spelling, Voice, cost, draw, read
from fabula.model import LanguageModel
from fabula.storyteller import Storyteller
from fabula.text import count_words, words_of
from fabula.tokens import Tokenizer, build

TEXT = "Der Müller, der alte, ging heim. 老鼠說：好！ Then he sat down.\n\nกา and a 猫 came, “so” he said."


def drafted(tokenizer: Tokenizer, text: str, *, backward: bool) -> Draft:
    draft, units = Draft(tokenizer, backward), tokenizer.encode(text).tolist()
    for unit in units[::-1] if backward else units:
        draft.take(unit)
    return draft


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("unit", ["subwords", "chars", "bytes", "words"])
def test_a_draft_says_its_units_and_is_cut_between_words(unit: str, backward: bool) -> None:
    tokenizer = build(unit, ["Then he sat down and a cat came, so he said. The old man went home."] * 3, None)
    draft = drafted(tokenizer, TEXT, backward=backward)
    assert draft.text == TEXT
    assert draft.cuts
    for cut in draft.cuts:
        before, after = (TEXT[: len(TEXT) - len(cut.text)], cut.text) if backward else (cut.text, TEXT[len(cut.text) :])
        assert before + after == TEXT
        assert words_of(before) + words_of(after) == words_of(TEXT)
        assert not before[-1].isspace()
        assert cut.words == count_words(cut.text)
        ids = draft.units[: cut.units]
        assert tokenizer.decode(ids[::-1] if backward else ids) == cut.text


def test_symbols_may_be_cut_anywhere() -> None:
    tokenizer = build("symbols", ["the cat , the mouse ."], None)
    for backward in (False, True):
        draft = drafted(tokenizer, "the cat , the mouse .", backward=backward)
        assert [cut.units for cut in draft.cuts] == [1, 2, 3, 4, 5]


@given(st.text(max_size=40), st.booleans())
def test_bytes_come_from_either_side(text: str, backward: bool) -> None:
    text = text.encode("utf-8", "ignore").decode()
    draft = drafted(build("bytes", ["x"], None), text, backward=backward)
    assert draft.text == text


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("text", ["a猫b", "aéb", "a🦊b", "a\ud7ffb"])
def test_no_character_is_left_broken(text: str, backward: bool) -> None:
    """Whatever byte may come next is one after which the character can still become whole."""
    tokenizer, data = build("bytes", ["x"], None), text.encode()[:: -1 if backward else 1]
    draft, spelling = Draft(tokenizer, backward), Spelling(tokenizer, backward=backward)
    for place, byte in enumerate(data):
        sound = spelling.sound(draft.open_bytes)
        assert sound[byte]
        assert sound[ord("c")] == (place < 2 or place == len(data) - 1)
        assert not sound[tokenizer.end]
        draft.take(byte)


@pytest.mark.parametrize("backward", [False, True])
def test_there_is_always_a_byte_that_may_come(backward: bool) -> None:
    """Every way into a character leads out of it again, half of a surrogate pair included."""
    tokenizer = build("bytes", ["x"], None)
    spelling, met, ahead = Spelling(tokenizer, backward=backward), {b""}, [b""]
    while ahead:
        rest = ahead.pop()
        sound = np.flatnonzero(spelling.sound(rest))
        assert len(sound)
        for byte in {*sound[[0, -1]].tolist()} if rest else sound.tolist():
            draft = Draft(tokenizer, backward, open_bytes=rest)
            draft.take(byte)
            assert "\ufffd" not in draft.text
            if draft.open_bytes not in met:
                met.add(draft.open_bytes)
                ahead.append(draft.open_bytes)
    assert len(met) > 60


def teller(window: int, vocabulary: Sequence[str] = ("the old cat sat and so it was",)) -> Storyteller:
    import torch

    tokenizer = build("chars", vocabulary, None)
    settings: Settings = resolve(
        {"model": {"hidden": 12, "embedding": 6, "layers": 1, "head": "full", "window": window, "dropout": 0}}
    )
    model = LanguageModel(settings.model, tokenizer.size, torch.Generator().manual_seed(2))
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    return Storyteller(settings, tokenizer, weights)


@pytest.mark.parametrize("window", [0, 4])
def test_a_reading_is_the_sum_of_its_steps(window: int) -> None:
    """What was read up to some place and what costs from there on are one and the same as the whole."""
    told = teller(window)
    voice, encode = Voice(told), told.tokenizer.encode
    texts = [encode("the cat").tolist(), encode("so it was then").tolist()]
    heard = voice.begin(encode("an old ").tolist())
    whole = read(voice, heard, texts, np.arange(told.tokenizer.size))
    for row, text in enumerate(texts):
        for count in range(len(text) - 1):
            rest = cost(voice, whole.after([(row, count)]), [text[count:]])[0]
            first = whole.said[row, count, text[count]]
            assert whole.nats[row, count] - first + rest == pytest.approx(whole.nats[row, len(text)], rel=1e-4)
    side_by_side = cost(voice, whole.after([(0, 2), (1, 5)]), [texts[0][2:], texts[1][5:]])
    alone = cost(voice, whole.after([(1, 5)]), [texts[1][5:]])
    assert side_by_side[1] == alone[0]


def test_no_draft_ends_a_story_and_each_has_its_own_chances() -> None:
    told = teller(0)
    voice, tokenizer = Voice(told), told.tokenizer
    heard = voice.begin([])

    def drafts(numbers: Sequence[int]) -> list[Draft]:
        made = [Draft(tokenizer, backward=False) for _ in numbers]
        draw(
            voice, heard, made, given=[], words=6, filters=[], rngs=[np.random.default_rng(n) for n in numbers],
            guides=[None] * len(numbers),
        )  # fmt: skip
        return made

    one, two, three = drafts([1, 2, 3])
    assert all(tokenizer.end not in draft.units for draft in (one, two, three))
    assert one.units != two.units
    assert drafts([2])[0].units == two.units
    assert min(draft.words for draft in (one, two, three)) > 6
