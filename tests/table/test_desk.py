"""A desk: who puts down what, the same words for the same choices, other words with their true chances."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from fabula.config import SamplingConfig
from fabula.errors import UnknownSymbolError, UsageError
from fabula.novelty import Index
from fabula.table import Desk, Table
from fabula.text import word_spans
from fabula.tokens import Decoder

UNITS = ("symbols", "words", "subwords", "chars", "bytes")
Make = Callable[..., Desk]


def told(desk: Desk, *stretches: str) -> str:
    for stretch in stretches:
        list(desk.tell(stretch))
    return desk.table.text


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("window", [0, 3])
def test_the_same_choices_give_the_same_story_however_often_one_stops(desk_of: Make, unit: str, window: int) -> None:
    whole = desk_of(unit, window=window, seed=3)
    whole.put_down("the fox")
    story = told(whole, "sentence", "sentence")
    parts = desk_of(unit, window=window, seed=3)
    parts.put_down("the fox")
    while len(parts.table.path) < len(whole.table.path):
        for count, _ in enumerate(parts.tell("story")):
            if count == 2 or len(parts.table.path) == len(whole.table.path):
                break  # any time
    assert parts.table.text == story
    assert [word.units for word in parts.table.words] == [word.units for word in whole.table.words]
    other = desk_of(unit, window=window, seed=4)
    other.put_down("the fox")
    assert told(other, "sentence", "sentence") != story


@pytest.mark.parametrize("unit", UNITS)
def test_a_story_told_goes_on_the_same_from_a_table_that_was_kept(desk_of: Make, unit: str) -> None:
    desk = desk_of(unit, seed=3)
    desk.put_down("the hen")
    told(desk, "word", "word", "word")
    again = desk_of(unit, seed=3, table=desk.table)
    before = list(desk.table.path)
    first = told(desk, "word", "word")
    again.table.visit(before[-1])
    again.table.cut()
    for word in desk.table.words:
        word.asked = min(word.asked, 1) if word is not desk.table.words[before[-1]] else 0
    desk.table.words[desk.table.words[before[-1]].children[0]].asked = 0
    assert told(again, "word", "word") == first


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_is_drawn_as_the_sampling_says(desk_of: Make, unit: str) -> None:
    """Greedy words are what the storyteller would write: one by one the likeliest units that fit."""
    desk = desk_of(unit, temperature=0.0, spread=1.0)
    desk.put_down("the fox")
    told(desk, *["word"] * 6)
    table, engine, end = desk.table, desk.teller.engine, desk.teller.tokenizer.end
    own = sum(len(table.words[word].units) for word in table.path if table.words[word].own)
    units = table.units(10_000)
    scores, state = engine.step(np.array([end]), engine.initial_state(1))
    forced = {sum(len(table.words[w].units) for w in table.path[:place]) for place in range(len(table.path))}
    tokenizer = desk.teller.tokenizer
    decoder = Decoder(tokenizer)
    for place, unit_ in enumerate(units):
        if place >= own and place not in forced:
            assert np.where(tokenizer.continuations(decoder.begun), scores[0], -np.inf).argmax() == unit_
        decoder.feed(unit_)
        scores, state = engine.step(np.array([unit_]), state)


@pytest.mark.parametrize("unit", UNITS)
def test_surprise_is_that_of_the_units_whoever_said_them(desk_of: Make, unit: str) -> None:
    desk = desk_of(unit, seed=8)
    desk.put_down("the fox said the hen")
    assert all(desk.table.words[word].nats is None for word in desk.table.path[1:])
    told(desk, "word", "word", "word")
    engine, end = desk.teller.engine, desk.teller.tokenizer.end
    for place, word in enumerate(desk.table.path[1:], 1):
        before = [unit for one in desk.table.path[:place] for unit in desk.table.words[one].units]
        units = desk.table.words[word].units
        ids, targets = np.array([[end, *before, *units[:-1]]]), np.array([units])
        nats, _, _ = engine.score(ids, targets, engine.initial_state(1))
        assert desk.nats(word) == pytest.approx(float(nats.sum()), abs=1e-3)


def test_the_chances_of_words_are_true(desk_of: Make) -> None:
    """By hand, unit by unit; in bytes, where each word has one spelling."""
    desk = desk_of("bytes", spread=0.9)
    desk.put_down("the fox")
    found = {choice.text: choice.chance for choice in desk.choices(5)}
    assert len(found) == 5
    assert sum(found.values()) <= 1
    seams, engine = desk._seams, desk.teller.engine
    end = desk.teller.tokenizer.end
    for choice in desk.choices(5):
        scores, state = desk._memory.after(desk.table.here)
        first = np.where(seams.may_follow(" fox"), scores, -np.inf)
        log, text, rest = -float(np.log(np.exp(first.astype(np.float64)).sum())), "", b""
        for unit in choice.units:
            log += float(scores[unit])
            text, rest = seams.spell(text, rest, unit)
            rows, state = engine.step(np.array([unit]), state)
            scores = rows[0]
        ends = seams.begins(text).copy()
        ends[end] = True
        assert text == choice.text
        assert choice.chance == pytest.approx(math.exp(log) * float(np.exp(scores[ends]).sum()), rel=1e-3)


@pytest.mark.parametrize("unit", UNITS)
def test_choices_are_whole_words_the_likeliest_first(desk_of: Make, unit: str) -> None:
    desk = desk_of(unit, spread=1.0)
    desk.put_down("the fox")
    choices = desk.choices()
    assert [one.chance for one in choices] == sorted((one.chance for one in choices), reverse=True)
    assert len({one.text for one in choices}) == len(choices) > 0
    for choice in choices:
        assert len(desk._seams.part(choice.units)) == 1
        assert desk.teller.tokenizer.end not in choice.units
    desk.take(choices[1])
    assert desk.table.text.endswith(choices[1].text)
    assert not desk.table.words[desk.table.here].own
    desk.table.move(-1)
    assert [one.text for one in desk.choices()] == [one.text for one in choices]


def test_words_that_stood_there_are_among_the_choices_and_bring_their_story(desk_of: Make) -> None:
    desk = desk_of("words")
    desk.put_down("the fox went home")
    desk.table.move(-3)
    old = next(one for one in desk.choices(3) if one.text == " fox")
    other = next(one for one in desk.choices(3) if one.text != " fox")
    desk.take(other)
    assert desk.table.text == f"the{other.text}"
    desk.table.move(-1)
    desk.take(old)
    assert desk.table.text == "the fox went home"
    assert desk.table.tail(9) == "the fox"
    assert desk.table.undo()
    assert desk.table.text == f"the{other.text}"


def test_what_was_told_can_be_thrown_away_and_told_otherwise(desk_of: Make) -> None:
    desk = desk_of("words", seed=2)
    desk.put_down("the fox")
    assert not desk.throw_away()
    first = told(desk, "sentence")
    assert desk.offered
    assert desk.throw_away()
    assert desk.table.text == "the fox"
    assert not desk.offered
    second = told(desk, "sentence")
    assert second != first
    assert first in paths(desk.table)
    desk.put_down(" and so")
    assert not desk.throw_away()
    desk.table.undo()
    desk.table.undo()
    assert desk.table.text == "the fox"


def paths(table: Table) -> set[str]:
    """Every story that the tree holds."""
    leaves = [number for number, word in enumerate(table.words) if not word.children]
    found = set()
    for leaf in leaves:
        text, word = "", leaf
        while word >= 0:
            text, word = table.words[word].text + text, table.words[word].parent
        found.add(text)
    return found


def test_it_goes_on_as_far_as_it_is_let(desk_of: Make) -> None:
    desk = desk_of("words", seed=1)
    desk.put_down("the fox")
    before = len(desk.table.path)
    list(desk.tell("word"))
    assert len(desk.table.path) == before + 1
    sentence = told(desk, "sentence")
    assert sentence.rstrip()[-1] in ".!" or len(desk.table.path) > 100 or desk.ended
    with pytest.raises(UsageError, match="how far must be one of word, sentence, paragraph, story, got 'page'"):
        desk.tell("page")


@pytest.mark.parametrize("unit", ["words", "chars"])
def test_a_paragraph_ends_before_an_empty_line(desk_of: Make, unit: str) -> None:
    for seed in range(20):
        desk = desk_of(unit, seed=seed)
        told(desk, "paragraph")
        end, size = desk.ended, len(desk.table.path) - 1
        assert "\n\n" not in desk.table.text.strip("\n")
        if not end and size < 500:
            told(desk, "word")
            assert desk.table.words[desk.table.here].text.startswith("\n\n")
            return
    raise AssertionError("no story had a paragraph")


def test_the_model_may_end_the_story_and_goes_on_when_asked(desk_of: Make) -> None:
    ended = False
    for seed in range(40):
        desk = desk_of("words", seed=seed)
        told(desk, "story")
        if desk.ended:
            ended, before = True, len(desk.table.path)
            told(desk, "word")
            assert len(desk.table.path) == before + 1
            break
    assert ended


def test_own_text_is_kept_as_it_was_typed(desk_of: Make) -> None:
    for unit in ("words", "subwords", "chars", "bytes"):
        desk = desk_of(unit)
        typed = "Once — “café”, 老鼠说。\n\nThen\tit e\u0301nded 👩‍🚀 "
        assert desk.put_down(typed) > 5
        assert desk.table.text == typed.rstrip(" ")
        assert desk.put_down("   ") == 0
        assert desk.put_down("") == 0
        assert all(desk.table.words[word].own for word in desk.table.path[1:])
        desk.put_down(desk.seam("and") + "and")
        assert desk.table.text == typed.rstrip(" ") + " and"


def test_symbols_read_only_what_they_know(desk_of: Make) -> None:
    desk = desk_of("symbols")
    desk.put_down("the fox , the hen")
    assert desk.table.text == "the fox, the hen"
    with pytest.raises(UnknownSymbolError, match="dragon"):
        desk.put_down("the dragon")
    assert desk.table.text == "the fox, the hen"


def test_bans_hold_and_the_writer_is_free(desk_of: Make) -> None:
    desk = desk_of("words", ban=("fox", "the hen"), ban_letters="u", seed=5)
    desk.put_down("the fox and the hen")
    told(desk, *["word"] * 60)
    said = "".join(desk.table.words[word].text for word in desk.table.path if not desk.table.words[word].own)
    assert "u" not in said.lower()
    assert "fox" not in said
    assert "the hen" not in said
    dumb = desk_of("symbols", ban_letters="abcdefghijklmnopqrstuvwxyz:,!.'")
    assert (told(dumb, "sentence"), dumb.ended, len(dumb.table.words)) == ("", True, 1)
    with pytest.raises(UsageError, match=r"leave sampling\.require to fabula write"):
        desk_of("words", require=("snow",))
    with pytest.raises(UsageError, match="max_copy needs"):
        desk_of("words", max_copy=8)


def test_what_is_copied_is_counted_in_the_models_words(desk_of: Make) -> None:
    source = "once the fox said the hen went home and the owl"
    desk = desk_of("words")
    assert desk.copied() is None
    desk = desk_of("words")
    desk.teller._read_index = lambda: Index.of([[word for _, _, word in word_spans(source)]])
    desk.put_down("the fox")
    for text in (" said", " the", " hen", ",", " she", " said"):
        desk.table.add(text, desk.teller.tokenizer.encode(text).tolist())
    found = desk.copied()
    assert found is not None
    assert (found.share, found.longest) == (pytest.approx(3 / 5), 5)
    assert found.places == {1, 2, 3, 4, 5}


def test_max_copy_holds_over_what_the_writer_said(desk_of: Make) -> None:
    plain = desk_of("words", seed=6)
    plain.put_down("the fox said")
    source = [word for _, _, word in word_spans(told(plain, *["word"] * 40))]
    assert len(source) > 8
    for most, longest in ((None, len(source)), (4, 4), (6, 6)):
        free = desk_of("words", seed=6)
        free.teller._read_index = lambda: Index.of([source])
        desk = Desk(free.teller, Table(), SamplingConfig(temperature=1.0, seed=6, max_copy=most))
        desk.put_down("the fox said")
        told(desk, *["word"] * 40)
        found = desk.copied()
        assert found is not None
        assert found.longest <= longest
        assert most is None or found.longest < len(source)
        assert most is not None or found.longest == len(source)
