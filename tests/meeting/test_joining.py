"""A text between a prompt and an end, by models of every unit: exact, without a seam, by the rules, and repeatable."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fabula
from fabula.config import SamplingConfig
from fabula.errors import FolderError, UnknownSymbolError, UsageError
from fabula.meeting import Meeting, load, tell_backwards
from fabula.novelty import Index
from fabula.text import count_words, words_of

UNITS = ("symbols", "words", "subwords", "chars", "bytes")
BEASTS, PLACES = ("fox", "hen", "mouse", "bear", "owl"), ("the mill", "the well", "a barn", "the hill")
PROMPT, END = "A fox went to", "and they went home together."
HOW = SamplingConfig(temperature=0.8, seed=3)


@pytest.fixture(scope="module")
def meet(tmp_path_factory: pytest.TempPathFactory, tell_tales: Callable) -> Callable[..., Meeting]:
    """Small models, each trained when it is first asked for."""
    place, made = tmp_path_factory.mktemp("both"), dict[str, Path]()
    text = tell_tales(place / "tales.txt", BEASTS, PLACES)

    def get(unit: str, window: int = 0) -> Meeting:
        name = f"{unit}{window}"
        if name not in made:
            settings = {
                "training": {"threads": 1, "steps": 200 if unit in {"chars", "bytes"} else 80, "lr": 0.01, "batch": 16},
                "model": {"hidden": 64, "embedding": 32, "window": window}, "text": {"unit": unit},
            }  # fmt: skip
            fabula.train(text, place / name, settings=settings, both_ways=True)
            made[name] = place / name
        return load(made[name])

    return get


@pytest.fixture(scope="module")
def by_heart(tmp_path_factory: pytest.TempPathFactory, fable: Path) -> Meeting:
    out = tmp_path_factory.mktemp("heart") / "m"
    fabula.train(fable, out, settings={"training": {"threads": 1}}, both_ways=True)
    return load(out)


@pytest.mark.parametrize("window", [0, 6])
@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_reads_on_to_the_end(meet: Callable[..., Meeting], unit: str, window: int) -> None:
    meeting = meet(unit, window)
    end = "they went home together." if unit == "symbols" else END
    how = replace(HOW, temperature=1.5)
    told = [meeting.write(PROMPT, end, words=20, sampling=how, story=story) for story in (0, 1, 2, 3, 0)]
    assert told[0].text == told[4].text
    assert len({one.text for one in told}) > 1
    for one in told:
        assert (one.prompt, one.end) == (PROMPT, end)
        assert one.text.endswith(" ")
        assert 18 <= count_words(one.text) <= 22
        assert 0 < one.seam <= len(one.text)
        assert "\ufffd" not in one.text
        assert not one.text[one.seam - 1].isspace()  # the space goes with what comes after the seam
        assert one.text[one.seam].isspace() or unit == "symbols"
        assert one.tokens > 0


def test_what_is_known_by_heart_is_told_word_for_word(by_heart: Meeting, fable: Path) -> None:
    """The only text that both models agree on is the one they know, in its full length."""
    symbols = fable.read_text(encoding="utf-8").split()
    for first, last in ((5, 25), (40, 75), (100, 130)):
        prompt, end = " ".join(symbols[:first][-6:]), " ".join(symbols[last : last + 8])
        tokenizer = by_heart.forward.tokenizer
        between = tokenizer.decode(tokenizer.encode(" ".join(symbols[first:last])))
        told = by_heart.write(prompt, end, words=count_words(between), sampling=SamplingConfig(temperature=0))
        assert told.text.strip() == between
        assert told.nats_per_token < 1


def test_the_figures_are_those_of_the_models(meet: Callable[..., Meeting]) -> None:
    """Told nats, judged anew by the engine that never met the drafts."""
    meeting = meet("subwords")
    told = meeting.write(PROMPT, END, words=15, sampling=HOW)
    tokenizer, engine = meeting.forward.tokenizer, meeting.forward.engine
    given = tokenizer.encode_prompt(PROMPT).tolist()
    drafted = tokenizer.encode(told.text[:-1]).tolist()
    closing = tokenizer.encode(" " + END).tolist()
    if len(drafted) != told.tokens:
        pytest.skip("the drafts spell a word in other pieces than the text would be")
    units = np.array([[tokenizer.end, *given, *drafted, *closing]])
    nats, _, _ = engine.score(units[:, :-1], units[:, 1:], engine.initial_state(1))
    assert told.nats_per_token == pytest.approx(float(nats[0, len(given) :].mean()), rel=1e-4)


def test_no_other_way_to_cut_was_better_than_appending(meet: Callable[..., Meeting]) -> None:
    """The end is likelier after what was told towards it than after a story that knows nothing of it."""
    meeting = meet("subwords")
    tokenizer, engine = meeting.forward.tokenizer, meeting.forward.engine

    def cost(text: str) -> float:
        before, end = tokenizer.encode(PROMPT + text.rstrip()), tokenizer.encode(" " + END)
        units = np.concatenate([[tokenizer.end], before, end])[None].astype(np.int64)
        nats, _, _ = engine.score(units[:, :-1], units[:, 1:], engine.initial_state(1))
        return float(nats[0, len(before) :].sum())

    met = [cost(meeting.write(PROMPT, END, words=20, sampling=HOW, story=n).text) for n in range(6)]
    naive = [cost(one.text) for one in meeting.forward.write_many(6, PROMPT, words=20, sampling=HOW)]
    assert np.mean(met) < np.mean(naive)


@pytest.mark.parametrize(
    ("prompt", "end", "starts", "stops"),
    [
        ("A fox went to ", END, r"\S", r"\S "),
        ("", END, r"", r"\S "),
        (PROMPT, ", and they went home.", r"\s", r"\S"),
        (PROMPT, "\n\nThen they went home.", r"\s", r"\S"),
        (PROMPT, " and they went home.", r"\s", r"\S"),
    ],
    ids=["prompt with a space", "no prompt", "end with a comma", "end in a paragraph of its own", "end with a space"],
)
@pytest.mark.parametrize("unit", ["words", "subwords", "chars"])
def test_the_space_at_both_seams(
    meet: Callable[..., Meeting], unit: str, prompt: str, end: str, starts: str, stops: str
) -> None:
    text = meet(unit).write(prompt, end, words=8, sampling=HOW).text
    if unit != "chars" or prompt.endswith(" "):  # letters may go on with the prompt's last word
        assert re.match(starts, text), text
    assert re.search(f"{stops}$", text), text


def test_scripts_without_spaces(tmp_path: Path) -> None:
    text = "有一只狐狸去了磨坊。它遇见了一只母鸡，母鸡说：朋友，你在找什么？狐狸说：我找面包。于是它们一起回家了。\n"
    (tmp_path / "tales.txt").write_text(text, encoding="utf-8")
    for unit in ("chars", "bytes", "subwords"):
        settings = {"training": {"threads": 1, "steps": 60}, "model": {"hidden": 128}, "text": {"unit": unit}}
        fabula.train(tmp_path / "tales.txt", tmp_path / unit, settings=settings, both_ways=True)
        told = load(tmp_path / unit).write("有一只狐狸", "于是它们一起回家了。", words=30, sampling=HOW)
        assert "\ufffd" not in told.text
        assert not set(told.text) & set(" \n")
        assert 27 <= count_words(told.text) <= 33


LIMITS = [
    ("words", {"ban": ("friend", "bread, said")}),
    ("words", {"ban_letters": "k"}),
    ("words", {"require": ("owl", "the hill")}),
    ("words", {"max_copy": 4}),
    ("words", {"no_repeat": 3}),
    ("words", {"require": ("seventeen", "purple mice", "owl")}),
    ("words", {"max_copy": 5, "ban": ("hen",), "require": ("bear",), "no_repeat": 4, "top_k": 20, "top_p": 0.95}),
    ("chars", {"ban": ("the",)}),
    ("chars", {"ban_letters": "d"}),
    ("chars", {"require": ("owl",)}),
    ("chars", {"no_repeat": 5}),
]


@pytest.mark.parametrize(("unit", "limits"), LIMITS, ids=str)
def test_what_is_asked_for_is_kept(meet: Callable[..., Meeting], unit: str, limits: dict) -> None:
    meeting, broken = meet(unit), 0
    for story in range(3):
        free = meeting.write(PROMPT, END, words=24, sampling=HOW, story=story).text
        kept = meeting.write(PROMPT, END, words=24, sampling=replace(HOW, **limits), story=story).text
        assert not _broken(meeting, kept, limits), kept
        broken += _broken(meeting, free, limits)
    assert broken


def _broken(meeting: Meeting, text: str, limits: dict) -> bool:
    """Whether a text does not keep to limits, found out in another way than the program does."""
    words, tokenizer, index = words_of(text), meeting.forward.tokenizer, meeting.forward.index
    line = f" {' '.join(words)} "
    if any(f" {' '.join(words_of(phrase))} " in line for phrase in limits.get("ban", ())):
        return True
    if set(limits.get("ban_letters", "")) & set(text):
        return True
    if not all(f" {' '.join(words_of(phrase))} " in line for phrase in limits.get("require", ())):
        return True
    assert isinstance(index, Index)
    whole = [*words_of(PROMPT), *words, *words_of(END)]
    before, after = len(words_of(PROMPT)), len(words_of(PROMPT)) + len(words)
    runs = index.copied(whole).runs
    if any(
        run.length > limits.get("max_copy", 10**6) and run.start < after and run.start + run.length > before
        for run in runs
    ):
        return True
    size = limits.get("no_repeat")
    units = tokenizer.encode(text.rstrip()).tolist()
    pieces = [tuple(units[place : place + size]) for place in range(len(units) - size + 1)] if size else []
    return len(set(pieces)) < len(pieces)


def test_what_cannot_be_kept_is_said(meet: Callable[..., Meeting]) -> None:
    meeting = meet("words")
    with pytest.raises(UsageError, match="no way to the end"):
        meeting.write(PROMPT, END, words=1, sampling=replace(HOW, require=("owl", "hen", "bear")))
    for name, value in (("dry", 0.8), ("repetition_penalty", 1.2)):
        with pytest.raises(UsageError, match=name):
            meeting.write(PROMPT, END, sampling=replace(HOW, **{name: value}))
    with pytest.raises(UsageError, match="cannot both hold"):
        meeting.write(PROMPT, END, sampling=replace(HOW, ban=("owl",), require=("owl",)))


def test_copies_reach_over_both_seams(by_heart: Meeting) -> None:
    told = by_heart.write("long ago , the mice had", "to outwit their common enemy", words=10, sampling=HOW)
    assert told.text == " a general council to consider what measures they could take "
    assert told.copied
    assert (told.copied.share, told.copied.longest) == (1.0, 5 + 10 + 5)
    assert told.to_json()["longest_copy"] == told.copied.longest


def test_bad_input(by_heart: Meeting, tmp_path: Path) -> None:
    for end, says in (("", "empty"), (" \n", "empty"), ("x" * 70_000, "65,536"), ("the\x1b[31m cat", r"U\+001B")):
        with pytest.raises(UsageError, match=says):
            by_heart.write("the mice", end)
    with pytest.raises(UnknownSymbolError, match="flew"):
        by_heart.write("the mice", "the cat flew")
    for words in (0, 1001):
        with pytest.raises(UsageError, match="between 1 and 1,000"):
            by_heart.write("the mice", "the cat", words=words)
    with pytest.raises(FolderError, match="expected a model folder"):
        load(tmp_path / "nowhere")


def test_one_that_reads_from_the_end_tells_what_came_before(by_heart: Meeting, fable: Path) -> None:
    symbols = fable.read_text(encoding="utf-8").split()
    teller = by_heart.backward
    end = " ".join(symbols[-4:])
    told = tell_backwards(teller, end, words=20, sampling=SamplingConfig(temperature=0))
    tokenizer = teller.tokenizer
    assert told.endswith(" " + end)
    assert tokenizer.decode(tokenizer.encode(" ".join(symbols[:-4]))).endswith(told.removesuffix(" " + end))
