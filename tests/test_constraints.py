"""What must not come and what must, in every unit, with a network that wants something else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fabula.config import SamplingConfig, Settings, resolve
from fabula.constraints import Banned, Constraints, CopyGuard, Rule
from fabula.engine import expected_shapes
from fabula.errors import UsageError
from fabula.novelty import Index, copied
from fabula.storyteller import Storyteller
from fabula.text import word_spans, words_of
from fabula.tokens import build

TALE = (
    "Long ago, the mice had a general council to consider what measures they could take to outwit their common enemy, "
    "the cat. Some said this, and some said that; but at last a young mouse got up and said he had a proposal to make. "
)
UNITS = ("symbols", "words", "subwords", "chars", "bytes")


def teller(unit: str, text: str = TALE, *, sure: float = 0.0, source: Sequence[str] = (TALE,)) -> Storyteller:
    """A random network, whose first wish is `sure` more likely to be what came next in the text."""
    tokenizer = build(unit, [text])
    model = {"layers": 1, "hidden": 12, "embedding": 6, "head": "full", "dropout": 0.0, "window": 0}
    resolved: Settings = resolve({"model": model, "sampling": {"temperature": 1.0, "seed": 3}})
    rng = np.random.default_rng(1)
    shapes = expected_shapes(resolved.model, tokenizer.size)
    weights = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    made = Storyteller(resolved, tokenizer, weights, index=lambda: Index.of([words_of(story) for story in source]))
    if sure:
        made.engine = Parrot(tokenizer.encode(text).tolist(), tokenizer.size, sure)
    return made


class Parrot:
    """A network that says its text again and again; what it says otherwise is anything."""

    def __init__(self, units: list[int], size: int, sure: float) -> None:
        self.units, self.size, self.sure = units, size, sure

    def initial_state(self, batch: int) -> tuple[np.ndarray, ...]:
        return (np.zeros((batch, 1), np.float32),)

    def read(self, ids: np.ndarray, state: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        return state

    def step(self, ids: np.ndarray, state: tuple[np.ndarray, ...]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        scores = np.zeros((len(ids), self.size), np.float32)
        for row, last in enumerate(ids.tolist()):
            place = int(state[0][row, 0])
            if last in self.units:  # go on where the text goes on from there
                later = [at for at, unit in enumerate(self.units) if unit == last and at >= place]
                place = (later[0] if later else self.units.index(last)) + 1
            scores[row, self.units[place % len(self.units)]] = self.sure
            state[0][row, 0] = place % len(self.units)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)), state


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("most", [3, 4, 8])
def test_no_run_grows_longer_than_allowed(unit: str, most: int) -> None:
    free = teller(unit, sure=15.0).write("Long ago, the", words=40)
    assert free.longest_copy is not None
    assert free.longest_copy > 8
    held = teller(unit, sure=15.0).write("Long ago, the", words=40, sampling=SamplingConfig(max_copy=most))
    assert copied(words_of(held.prompt + held.text), words_of(TALE)).longest <= most
    assert held.longest_copy is not None
    assert held.longest_copy <= most
    assert len(held.text.split()) >= 20


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_guarded_walk_never_copies_too_much_and_never_stops(data: st.DataObject) -> None:
    tokenizer = build(data.draw(st.sampled_from(["words", "chars"])), ["a b c a b c"])
    stories = [list(story) for story in data.draw(st.lists(st.text("abc", min_size=1, max_size=20), max_size=4))]
    most, walk = data.draw(st.integers(3, 6)), data.draw(st.text("abc ", max_size=60))
    rules = Constraints(tokenizer, [CopyGuard(Index.of(stories), most)], required=None, spans=word_spans)
    told: list[int] = []
    for wish in tokenizer.encode(" ".join(walk)).tolist():
        assert any(rules.allows(unit) for unit in range(tokenizer.end))
        if rules.allows(wish):
            rules.take(wish)
            told.append(wish)
    for story in stories:
        assert copied(words_of(tokenizer.decode(told)), story).longest <= most


class Plain(Rule):
    """The guard by its definition: no row of words is one of the stories'; it is told of every unit as it comes."""

    def __init__(self, stories: Sequence[Sequence[str]], most: int) -> None:
        self.most, self.last = most, list[str]()
        self.rows = {row for story in stories for row in self.rows_of(story)}

    def rows_of(self, words: Sequence[str]) -> set[tuple[str, ...]]:
        return {tuple(words[start : start + self.most + 1]) for start in range(len(words) - self.most)}

    def allows(self, words: list[str]) -> bool:
        return self.rows.isdisjoint(self.rows_of([*self.last, *words]))

    def take(self, words: list[str]) -> None:
        self.last = [*self.last, *words][-self.most :]


@pytest.mark.parametrize("unit", ["words", "chars", "bytes"])
@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_guard_that_is_told_later_judges_alike(unit: str, data: st.DataObject) -> None:
    text = "ab a-b a's b, a_1 老 a老b é ae\u0301. "
    tokenizer = build(unit, [text])
    pieces = st.sampled_from(["a", "b", " a", " b", "-", "'", "_1", ", ", ". ", "老", "é", "e\u0301", "\n"])
    texts = data.draw(st.lists(st.lists(pieces, min_size=9, max_size=30).map("".join), min_size=1, max_size=3))
    stories, most = [words_of(story) for story in texts], data.draw(st.integers(3, 6))
    later, told = (
        Constraints(tokenizer, [rule], required=None, spans=word_spans)
        for rule in (CopyGuard(Index.of(stories), most), Plain(stories, most))
    )
    for constraints in (later, told):
        constraints.begin("a b")
    copies = st.sampled_from(texts).flatmap(lambda story: st.integers(0, len(story)).map(lambda start: story[start:]))
    walk = data.draw(st.lists(pieces | copies, max_size=20))
    for wish in tokenizer.encode("".join(walk)).tolist():
        wishes = {wish, tokenizer.end, *range(min(tokenizer.size, 12))}
        assert [later.allows(unit) for unit in wishes] == [told.allows(unit) for unit in wishes]
        if told.allows(wish):
            later.take(wish)
            told.take(wish)


class Heard(Banned):
    """Bans nothing, and remembers all words that came."""

    def __init__(self) -> None:
        super().__init__([])
        self.words: list[str] = []

    def take(self, words: list[str]) -> None:
        self.words += words


@given(st.lists(st.text("aB7_ '-.\u2019é老ก\u0301\n", min_size=1, max_size=4), max_size=12))
@example(["老", "a", " b"])
@example(["fox", "'", "s", " hen", "  ", "x"])
@settings(max_examples=300, deadline=None)
def test_words_are_the_same_however_the_text_falls_into_pieces(pieces: list[str]) -> None:
    tokenizer, heard = build("bytes", []), Heard()
    rules = Constraints(tokenizer, [heard], required=None, spans=word_spans)
    for piece in pieces:  # as units of several characters come
        words, rules._word = rules._words(piece)
        heard.take(words)
    rules.take(tokenizer.end)
    assert heard.words == words_of("".join(pieces))


@pytest.mark.parametrize("unit", UNITS)
def test_banned_words_and_phrases_do_not_come(unit: str) -> None:
    how = SamplingConfig(ban=("mouse", "General council", "the"), temperature=1.0)
    for story in range(5):
        words = words_of(teller(unit, sure=6.0).write("Long", words=40, story=story, sampling=how).text)
        assert not {"mouse", "the"} & set(words)
        assert "general council" not in " ".join(words)
    assert len(words) > 20


@pytest.mark.parametrize("unit", UNITS)
def test_banned_letters_do_not_come(unit: str) -> None:
    text = teller(unit, sure=6.0).write("Long", words=30, sampling=SamplingConfig(ban_letters="eT")).text
    assert not set("eEtT") & set(text)
    assert len(text) > 30


@pytest.mark.parametrize("unit", UNITS)
def test_required_words_come_whole_and_once_at_least(unit: str) -> None:
    how = SamplingConfig(require=("general", "proposal"), temperature=1.0)
    for story in range(5):
        words = words_of(teller(unit).write("Long", words=24, story=story, sampling=how).text)
        assert {"general", "proposal"} <= set(words)


@pytest.mark.parametrize("unit", ["chars", "bytes"])
def test_a_likely_space_does_not_call_a_required_word(unit: str) -> None:
    how = SamplingConfig(require=("wolf",), temperature=0)
    told = words_of(teller(unit, "mice had a council. ", sure=20.0).write("mice", words=20, sampling=how).text)
    assert told.index("wolf") in (9, 10, 11)  # it is due halfway


def test_a_required_word_comes_before_the_story_ends() -> None:
    short = teller("words", "The end. ", sure=20.0)
    assert "wolf" in words_of(short.write("The", sampling=SamplingConfig(require=("wolf",))).text)


def test_characters_that_are_words() -> None:
    text = "很久以前，老鼠们开了一个大会，商量用什么办法对付它们共同的敌人猫。"
    chinese = teller("chars", text, sure=15.0, source=[text])
    told = chinese.write("很久", words=30, sampling=SamplingConfig(max_copy=4, ban=("老鼠",)))
    assert copied(words_of(told.prompt + told.text), words_of(text)).longest <= 4
    assert "老鼠" not in told.text
    assert "猫" in chinese.write("很久", words=20, sampling=SamplingConfig(require=("猫",), seed=2)).text


def test_what_cannot_be_is_said() -> None:
    made = teller("words")
    for options in ({"require": ("cat",), "ban": ("cat",)}, {"require": ("cat",), "ban_letters": "A"}):
        with pytest.raises(UsageError, match="cannot both hold"):
            made.write("Long", sampling=SamplingConfig(**options))
    with pytest.raises(UsageError, match="must be a word"):
        made.write("Long", sampling=SamplingConfig(require=("...",)))
    with pytest.raises(UsageError, match="max_copy must be between 3"):
        SamplingConfig(max_copy=0)
    blind = teller("words")
    blind._read_index = lambda: None
    with pytest.raises(UsageError, match=r"novelty\.index"):
        blind.write("Long", sampling=SamplingConfig(max_copy=4))
    assert blind.write("Long", words=3).copied_4 is None


def test_side_by_side_as_alone() -> None:
    how = SamplingConfig(max_copy=4, ban=("cat",), require=("mouse",), ban_letters="z", temperature=1.0, dry=0.8)
    made = teller("words", sure=4.0)
    together = made.write_many(20, "Long ago", words=12, sampling=how)
    alone = [made.write("Long ago", story=number, words=12, sampling=how) for number in range(20)]
    assert [told.text for told in together] == [told.text for told in alone]
    assert [told.longest_copy for told in together] == [told.longest_copy for told in alone]


def test_a_phrase_is_banned_wherever_it_begins() -> None:
    rule = Banned([["a", "b"], ["c"]])
    rule.take(["x", "a"])
    assert not rule.allows(["b"])
    assert rule.allows(["x", "b"])
    assert not rule.allows(["x", "a", "b"])
    assert not rule.allows(["c"])
    rule.take(["x"])
    assert rule.allows(["b"])
