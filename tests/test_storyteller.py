"""Stories: how long, where they end, what is held back, and that neighbours, pieces and prompts change nothing."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fabula import folder
from fabula.config import SamplingConfig, Settings, resolve
from fabula.endings import AROUND, BEYOND, Ending, ends_sentence
from fabula.engine import Engine, expected_shapes
from fabula.errors import FolderError, TextError, UnknownSymbolError, UsageError
from fabula.mixture import Mixture
from fabula.ngram import fit
from fabula.sampling import choose, filters
from fabula.storyteller import PROMPT, Storyteller, load
from fabula.text import count_words
from fabula.tokens import Decoder, Tokenizer, build

GREEDY = SamplingConfig(temperature=0)
HOT = SamplingConfig(temperature=1.0, seed=7)
PENALTY = SamplingConfig(temperature=0.9, repetition_penalty=1.5, seed=7)


class Script:
    """A network that wants to say certain units, whatever it reads; its second choice is the unit after."""

    def __init__(self, units: Sequence[int], size: int) -> None:
        self.units, self.size, self.read_so_far = units, size, []

    def initial_state(self, batch: int) -> tuple[NDArray[np.float32], ...]:
        return (np.zeros((batch, 1), np.float32),)

    def read(self, ids: NDArray[np.int64], state: tuple[NDArray[np.float32], ...]) -> tuple[NDArray[np.float32], ...]:
        self.read_so_far += ids[0].tolist()
        return state

    def step(
        self, ids: NDArray[np.int64], state: tuple[NDArray[np.float32], ...]
    ) -> tuple[NDArray[np.float32], tuple[NDArray[np.float32], ...]]:
        self.read_so_far.append(int(ids[0]))
        scores = np.full((len(ids), self.size), -20, np.float32)
        for row, place in enumerate(state[0][:, 0].astype(int)):
            wish = self.units[place % len(self.units)]
            scores[row, wish], scores[row, (wish + 1) % self.size] = -0.1, -10
        return scores, (state[0] + 1,)


def scripted(tokenizer: Tokenizer, *stories: str, window: int = 0) -> Storyteller:
    """A teller that tells the given stories, one after another, for ever."""
    teller = random_teller(tokenizer, window=window)
    units = [unit for story in stories for unit in (*tokenizer.encode(story).tolist(), tokenizer.end)]
    teller.engine = Script(units, tokenizer.size)
    return teller


def random_teller(tokenizer: Tokenizer, cell: str = "lstm", window: int = 0) -> Storyteller:
    resolved, weights = random_model(tokenizer, cell, window)
    return Storyteller(resolved, tokenizer, weights)


def random_model(
    tokenizer: Tokenizer, cell: str = "lstm", window: int = 0
) -> tuple[Settings, dict[str, NDArray[np.float32]]]:
    model = {"cell": cell, "layers": 2, "hidden": 12, "embedding": 6, "head": "full", "dropout": 0.0, "window": window}
    resolved, rng = resolve({"model": model, "sampling": {"temperature": 1.0, "seed": 3}}), np.random.default_rng(1)
    shapes = expected_shapes(resolved.model, tokenizer.size)
    return resolved, {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


CHARS, BYTES = build("chars", ["long ago, the mice. 老鼠 one two three\n"]), build("bytes", [])


# --- length --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", [CHARS, BYTES], ids=["chars", "bytes"])
def test_a_story_goes_to_its_own_end(tokenizer: Tokenizer) -> None:
    told = scripted(tokenizer, "long ago, the mice.\n").write(sampling=GREEDY)
    assert told.text == "long ago, the mice."
    assert told.tokens == 21  # 20 characters and the end mark
    assert told.prompt == ""
    assert told.seconds > 0


def test_or_up_to_200_words() -> None:
    told = scripted(CHARS, "one two " * 500).write(sampling=GREEDY)
    assert told.text == "one two " * 99 + "one two"


@pytest.mark.parametrize(
    ("words", "text"),
    [(1, "one"), (3, "one two three"), (4, "one two three\n\none"), (7, "one two three\n\none two three\n\none")],
)
def test_words_asked_for_are_told_exactly_with_new_stories_if_need_be(words: int, text: str) -> None:
    assert scripted(CHARS, "one two three").write(words=words, until="word", sampling=GREEDY).text == text


def test_characters_are_words_where_words_have_no_spaces() -> None:
    teller = scripted(CHARS, "老鼠。「老鼠 one鼠」老")
    for words, text in enumerate(
        [
            "老",
            "老鼠。",
            "老鼠。「老",
            "老鼠。「老鼠",
            "老鼠。「老鼠 one",
            "老鼠。「老鼠 one鼠」",
            "老鼠。「老鼠 one鼠」老",
        ],
        1,
    ):
        assert teller.write(words=words, until="word", sampling=GREEDY).text == text


def test_a_story_that_begins_does_not_end_at_once() -> None:
    teller = scripted(CHARS, "one", "", "", "two")
    told = teller.write(words=6, until="word", sampling=GREEDY).text
    assert count_words(told) == 6
    assert "\n\n\n" not in told
    # The network only ever wants to end: its second choice is taken first.
    assert scripted(build("chars", ["aaa"]), "").write(sampling=GREEDY).text == "a"


@pytest.mark.parametrize("story", ["\n", "a" * 5000, "\n a"])
def test_endless_white_space_and_endless_words_come_to_an_end(story: str) -> None:
    told = scripted(CHARS, story * 3).write(words=2, until="word", sampling=GREEDY)
    assert told.tokens <= 64 * (2 + BEYOND)
    assert count_words(told.text) <= 2


@pytest.mark.parametrize("unit", ["symbols", "words", "subwords", "chars", "bytes"])
def test_bytes_are_never_told_that_are_no_text(unit: str) -> None:
    teller, wild = random_teller(build(unit, ["猫 é", "the cat"])), SamplingConfig(temperature=2.0, seed=1)
    for story in range(20):
        assert "\ufffd" not in teller.write(words=10, sampling=wild, story=story).text


def test_a_story_ends_after_whole_characters() -> None:
    # The network wants to end in the midst of a character: it goes on to its end first.
    teller = scripted(BYTES, "")
    teller.engine = Script([0xE8, 0x80, BYTES.end, BYTES.end], BYTES.size)
    assert "\ufffd" not in teller.write(words=1, sampling=SamplingConfig(seed=2)).text


# --- sentences, stops ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("story", "words", "text"),
    [
        ("one two. three", 1, "one two."),
        ("one two. three", 2, "one two."),
        ("one two. three. four", 3, "one two. three."),
        ("one “two!” three", 1, "one “two!”"),
        ("one v1.5 two? three", 1, "one v1.5 two?"),
        ("one\ntwo\n\nthree", 1, "one\ntwo"),
        ("老鼠走了。貓來了", 2, "老鼠走了。"),
        ("他說「老鼠！」貓來了", 2, "他說「老鼠！」"),
        ("老鼠走了！「貓來了", 2, "老鼠走了！"),
        ("หนูวิ่ง แมวมา", 2, "หนูวิ่ง"),
        ("मूषक गया। बिल्ली", 1, "मूषक गया।"),
        ("one two", 1, "one two"),
    ],
)
def test_until_the_end_of_the_sentence(story: str, words: int, text: str) -> None:
    assert scripted(BYTES, story).write(words=words, until="sentence", sampling=GREEDY).text == text


@pytest.mark.parametrize(
    ("story", "options", "text"),
    [
        ("one two. three\n\nfour", {"until": "paragraph"}, "one two. three"),
        ("one\n\ntwo. three\n \nfour", {"until": "paragraph", "words": 2}, "one\n\ntwo. three"),
        ("one two. three", {"until": "sentence"}, "one two."),
        ("one two. three", {"until": "paragraph"}, "one two. three"),
        ("one two. three\n\nfour", {"until": "story"}, "one two. three\n\nfour"),
        ("one two. three\n\nfour", {"until": "story", "words": 1}, "one two. three\n\nfour"),
        ("one " * 300, {"until": "story"}, "one " * 299 + "one"),
    ],
)
def test_until_the_end_of_a_paragraph_or_of_the_story(story: str, options: dict[str, object], text: str) -> None:
    assert scripted(BYTES, story).write(sampling=GREEDY, **options).text == text


def test_a_sentence_without_end_is_left_after_a_hundred_words() -> None:
    told = scripted(CHARS, "one two " * 500).write(words=5, until="sentence", sampling=GREEDY)
    assert count_words(told.text) == 5 + BEYOND


def test_a_stop_text_is_never_shown_not_even_its_beginning() -> None:
    teller = scripted(CHARS, "one two three two one")
    pieces = list(teller.stream(stop=["three two one"], sampling=GREEDY))
    assert "".join(pieces) == "one two"
    assert teller.write(stop="two", sampling=GREEDY).text == "one"
    assert teller.write(stop=("zzz", "o three", "three"), sampling=GREEDY).text == "one tw"
    assert teller.write(stop="\n\n", words=9, sampling=GREEDY).text == "one two three two one"
    # A beginning that comes to nothing is shown after all.
    assert teller.write(stop="three three", sampling=GREEDY).text == "one two three two one"
    assert teller.write(stop="one two four", sampling=GREEDY).text == "one two three two one"


TEXTS = st.text(st.sampled_from("ab .!”\n老。「ก\u3000é"), max_size=60) | st.text(max_size=30)


@given(
    text=TEXTS,
    cuts=st.lists(st.integers(0, 60), max_size=10),
    words=st.integers(1, 12),
    stops=st.lists(st.text(st.sampled_from("ab \n老"), min_size=1, max_size=4), max_size=3),
    until=st.sampled_from([None, "word", "sentence", "paragraph", "story"]),
)
@settings(max_examples=400, deadline=None)
def test_where_a_text_ends_does_not_hang_on_its_pieces(
    text: str, cuts: list[int], words: int, stops: list[str], until: str | None
) -> None:
    def told(pieces: list[str]) -> list[str]:
        ending, shown = Ending(words, stops, until=until), []
        for piece in pieces:
            shown.append(ending.feed(piece))
            if ending.over:
                return shown
        return [*shown, ending.rest()]

    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    shown = told([text[a:b] for a, b in pairwise(places)])
    whole = "".join(shown)
    assert whole == "".join(told(list(text)))
    assert text.startswith(whole)
    assert whole == whole.rstrip()
    assert not any(stop in whole for stop in stops)
    if until == "word":
        assert whole == ended(text, words, stops)
    elif until is None and not stops:
        assert whole == nearest(text, words)


def ended(text: str, words: int, stops: list[str]) -> str:
    """Where a text must end, found by looking at all its beginnings."""
    for length in range(1, len(text) + 1):
        told = text[:length]
        if count_words(told) > words or (told[-1] == "「" and count_words(told) == words):
            return told[:-1].rstrip()
        if found := [place for stop in stops if (place := told.find(stop)) >= 0]:
            return told[: min(found)].rstrip()
    return text.rstrip()


def nearest(text: str, words: int) -> str:
    """Where a text must end that ends at the nearest end of a sentence, found by looking at all its beginnings."""
    whole, around = count_words(text), max(AROUND, words // 3)
    begins = [
        place
        for place in range(1, len(text))
        if text[place] in "「" or count_words(text[: place + 1]) > count_words(text[:place])
    ]
    ends = {place: count_words(text[:place]) for place in begins if ends_sentence(text[:place])}
    ends[len(text)] = whole  # where the story itself ends
    near = {place: count for place, count in ends.items() if count and abs(count - words) <= around}
    if whole < words:
        return text.rstrip()
    if not near:
        return text[: max(place for place in begins if count_words(text[:place]) <= words)].rstrip()
    return text[: min(near, key=lambda place: (abs(near[place] - words), place))].rstrip()


@pytest.mark.parametrize(
    ("story", "words", "text"),
    [
        ("one two. three four five six. seven", 3, "one two."),
        ("one two. three four five six. seven", 4, "one two."),
        ("one two. three four five six. seven", 5, "one two. three four five six."),
        ("one two. three four five six. seven", 6, "one two. three four five six."),
        ("one two three", 2, "one two three"),
        ("one two. three", 1, "one two."),
        ("老鼠走了。貓來了。", 5, "老鼠走了。"),
        ("one " * 30, 5, "one one one one one"),
        ("one " * 60 + "two. " + "one " * 40 + "three. one", 90, "one " * 60 + "two. " + "one " * 40 + "three."),
        ("one " * 60 + "two. " + "one " * 90 + "three. one", 90, "one " * 60 + "two."),
        ("one " * 50 + "two. " + "one " * 90 + "three. one", 90, "one " * 50 + "two. " + "one " * 38 + "one"),
    ],
)
def test_a_text_ends_at_the_nearest_end_of_a_sentence(story: str, words: int, text: str) -> None:
    assert scripted(BYTES, story).write(words=words, sampling=GREEDY).text == text


def test_a_long_text_is_shown_as_it_comes() -> None:
    """A third of a book was once held back, because its end might have been at a sentence in its middle."""
    ending = Ending(1000, (), until=None)
    shown = "".join(ending.feed(f"one two three {number}. ") for number in range(249))
    assert count_words(shown) >= 990


# --- prompts -------------------------------------------------------------------------------------------------------


def test_the_prompt_is_read_after_the_mark_that_stories_begin_with() -> None:
    teller = scripted(CHARS, "one")
    teller.write("the mice", sampling=GREEDY)
    script = teller.engine
    assert isinstance(script, Script)
    assert script.read_so_far[:9] == [CHARS.end, *CHARS.encode("the mice").tolist()]
    assert script.read_so_far[9:] == CHARS.encode("one").tolist()


TALE = "the mice had a general council. the cat had a general plan, and the mice ran"


@pytest.mark.parametrize("unit", ["symbols", "words", "subwords", "chars", "bytes"])
def test_prompt_and_text_read_on_without_a_seam(unit: str) -> None:
    tokenizer = build(unit, [TALE], 300 if unit == "subwords" else None)
    for prompt in ("the mice had", "the mice had "):
        rest = tokenizer.encode(TALE)[len(tokenizer.encode_prompt(prompt)) :].tolist()
        teller = random_teller(tokenizer)
        teller.engine = Script([*rest, tokenizer.end], tokenizer.size)
        told = teller.write(prompt, sampling=GREEDY)
        assert prompt + told.text == TALE
        assert told.prompt == prompt


def test_a_word_follows_the_space_that_ends_a_prompt() -> None:
    tokenizer = build("words", [TALE])
    teller = random_teller(tokenizer)
    marks, words = tokenizer.encode(",").tolist(), tokenizer.encode(" plan").tolist()
    script = Script([*marks, tokenizer.end], tokenizer.size)
    teller.engine = script
    step = script.step

    def with_second_wish(ids: NDArray[np.int64], state: tuple[NDArray[np.float32], ...]) -> tuple:
        scores, state = step(ids, state)
        scores[:, words[0]] = -5
        return scores, state

    script.step = with_second_wish
    assert teller.write("the mice had", sampling=GREEDY).text == ","
    assert teller.write("the mice had ", sampling=GREEDY).text == "plan"


def test_long_prompts_in_any_language_are_read_whole() -> None:
    prompt = "Es war einmal 老鼠 🐭 หนู\u202e\0" * 1000
    teller = scripted(BYTES, "one")
    assert teller.write(prompt, sampling=GREEDY).tokens == 4
    script = teller.engine
    assert isinstance(script, Script)
    assert bytes(script.read_so_far[1 : len(prompt.encode()) + 1]) == prompt.encode()


def test_naughty_prompts(shared_data: Path) -> None:
    lines = (shared_data / "adversarial" / "blns.txt").read_text(encoding="utf-8").splitlines()
    for unit in ("chars", "words"):
        teller = random_teller(build(unit, ["the mice had a council"]))
        for line in lines[::25]:
            assert teller.write(line, words=1, sampling=HOT).tokens > 0


def test_symbols_name_a_word_they_do_not_know() -> None:
    teller = scripted(build("symbols", [TALE]), "the cat")
    with pytest.raises(UnknownSymbolError, match="dragon"):
        teller.write("the dragon")


def test_mistakes_are_one_line_and_come_before_the_first_piece() -> None:
    teller = scripted(CHARS, "one")
    for options in ({"words": 0}, {"words": -3}, {"until": "dawn\n"}, {"stop": ""}, {"stop": ["a", ""]}):
        with pytest.raises(UsageError) as caught:
            teller.stream(**options)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 200
    with pytest.raises(UsageError, match="prompt"):
        teller.stream("a" * (PROMPT + 1))
    with pytest.raises(TextError, match="surrogate"):
        teller.stream("\ud800")
    with pytest.raises(TypeError):
        teller.stream(word=3)


# --- the network under it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cell", "window"), [("lstm", 0), ("gru", 0), ("lstm", 3)])
def test_stories_side_by_side_are_the_same_as_alone(cell: str, window: int) -> None:
    teller = random_teller(build("words", [TALE]), cell, window)
    together = teller.write_many(70, "the mice", words=6, sampling=HOT)  # some are over sooner than others
    alone = [teller.write("the mice", story=number, words=6, sampling=HOT) for number in range(70)]
    assert [(told.text, told.tokens) for told in together] == [(told.text, told.tokens) for told in alone]
    assert len({told.text for told in together}) > 60
    assert len({told.tokens for told in together}) > 3


def test_a_long_story_remembers_its_units_in_little_memory() -> None:
    units = 2_000
    tokenizer = build("symbols", [" ".join(f"word{number}" for number in range(1_000))])
    teller = scripted(tokenizer, tokenizer.decode(range(300, 990)))
    teller.engine.read_so_far = deque(maxlen=1)  # the script itself remembers nothing
    pieces = teller.stream("word1", words=3 * units, sampling=GREEDY)
    for _ in range(units):
        next(pieces)
    tracemalloc.start()
    try:
        for _ in range(units):
            next(pieces)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 12 * units  # a list of them would take 40 bytes for each


def test_stream_and_write_and_the_same_seed_tell_the_same() -> None:
    teller = random_teller(CHARS)
    told = teller.write("the", words=30, sampling=HOT)
    assert "".join(teller.stream("the", words=30, sampling=HOT)) == told.text
    assert all(teller.stream("the", words=30, sampling=HOT))
    assert random_teller(CHARS).write("the", words=30, sampling=HOT).text == told.text
    assert teller.write("the", words=30, sampling=SamplingConfig(temperature=1.0, seed=8)).text != told.text
    # Without options the model's own are taken: temperature 1, seed 3.
    own = SamplingConfig(temperature=1.0, seed=3)
    assert teller.write("the", words=30).text == teller.write("the", words=30, sampling=own).text != told.text


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_story_is_what_stepping_by_hand_tells(cell: str) -> None:
    teller, rng, keep = random_teller(CHARS, cell), np.random.default_rng((7, 1)), filters(PENALTY)
    told = teller.write("the", words=30, until="word", story=1, sampling=PENALTY)
    history, stories = CHARS.encode("the").tolist(), [[]]
    state, unit, prompt = teller.engine.initial_state(1), CHARS.end, list(history)
    decoder = Decoder(CHARS)
    for _ in range(told.tokens):
        for known in [unit, *prompt]:
            scores, state = teller.engine.step(np.array([known]), state)
        if prompt or unit == CHARS.end:
            scores[0, CHARS.end] = -np.inf
        prompt = []
        unit = choose(scores[0], history, keep, rng)
        fits = CHARS.continuations(decoder.begun)
        if not fits[unit]:  # half of what is known are bytes
            unit = choose(np.where(fits, scores[0], -np.inf), history, keep, rng)
        if unit == CHARS.end:
            stories.append([])
        else:
            decoder.feed(unit)
            history.append(unit)
            stories[-1].append(unit)
    assert len(stories) > 1
    whole = "\n\n".join(CHARS.decode(units) for units in stories)
    assert whole.startswith(told.text)
    assert count_words(told.text) == 30
    assert len(whole) - len(told.text) < 5


def test_window_models_read_the_last_units_of_this_story_only() -> None:
    tokenizer = build("symbols", ["a b c d e"])
    a, b, c, d, _, end = (*tokenizer.encode("a b c d e").tolist(), tokenizer.end)
    teller = random_teller(tokenizer, window=3)
    seen: list[list[int]] = []

    class Watched(Engine):
        """Notes each window and wants `a b <end>` for ever."""

        def read(self, ids: NDArray[np.int64], state: tuple) -> tuple:
            assert not any(memory.any() for memory in state)
            seen.append(ids[0].tolist())
            return state

        def step(self, ids: NDArray[np.int64], state: tuple) -> tuple:
            seen[-1].append(int(ids[0]))
            scores = np.full((1, tokenizer.size), -20, np.float32)
            scores[0, (a, b, end)[(len(seen) - 1) % 3]] = 0
            return scores, state

    resolved, weights = random_model(tokenizer, window=3)
    teller.engine = Watched(resolved.model, tokenizer.size, weights)
    assert teller.write("c d", words=4, sampling=GREEDY).text == " a b\n\na b"
    assert seen == [[end, c, d], [c, d, a], [d, a, b], [end] * 3, [end, end, a], [end, a, b]]


def test_load_reads_a_folder_and_says_what_is_none(tmp_path: Path) -> None:
    tokenizer = build("words", [TALE])
    resolved, weights = random_model(tokenizer)
    folder.claim(tmp_path / "m", force=False)
    folder.write_model(tmp_path / "m", settings=resolved, tokenizer=tokenizer, weights=weights, about={}, card="")
    wanted = Storyteller(resolved, tokenizer, weights).write("the mice", words=9)
    told = load(tmp_path / "m").write("the mice", words=9)
    assert told.text == wanted.text
    assert list(told.to_json()) == [
        "text",
        "prompt",
        "tokens",
        "seconds",
        "copied_4",
        "copied_8",
        "longest_copy",
        "nats_per_token",
    ]
    with pytest.raises(FolderError):
        load(tmp_path)
    code = (
        f"import sys, fabula.storyteller as s; s.load({str(tmp_path / 'm')!r}).write('the mice', words=3); "
        "print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
    assert found.stderr == ""


@pytest.mark.parametrize("window", [0, 3])
def test_a_mixture_has_its_say_before_the_sampling(window: int) -> None:
    """With next to no weight the network is silent: the n-gram model tells the one story it knows, again and again."""
    resolved, weights = random_model(CHARS, window=window)
    ids = CHARS.encode("one two three")
    model = fit([ids, CHARS.encode("one two three")], CHARS.end, CHARS.size, 5)
    teller = Storyteller(resolved, CHARS, weights, mixture=Mixture(model, 1e-6))
    assert teller.write("one t", sampling=GREEDY).text == "wo three"
    assert teller.write(words=6, sampling=GREEDY).text == "one two three\n\none two three"
    alone = Storyteller(resolved, CHARS, weights)
    nearly = Storyteller(resolved, CHARS, weights, mixture=Mixture(model, 1 - 1e-9))
    assert nearly.write("one t", sampling=HOT).text == alone.write("one t", sampling=HOT).text


def test_stories_of_a_mixture_are_the_same_side_by_side() -> None:
    resolved, weights = random_model(CHARS)
    model = fit([CHARS.encode("one two three")], CHARS.end, CHARS.size, 5)
    teller = Storyteller(resolved, CHARS, weights, mixture=Mixture(model, 0.5))
    together = teller.write_many(3, "one", words=5, sampling=HOT)
    assert [told.text for told in together] == [
        teller.write("one", words=5, sampling=HOT, story=n).text for n in range(3)
    ]
    assert len({told.text for told in together}) == 3
