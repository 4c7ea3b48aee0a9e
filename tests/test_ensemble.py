"""Several models that write together: by the numbers, and as a user meets them."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fabula
from fabula.config import SamplingConfig
from fabula.engine import Engine
from fabula.ensemble import Ensemble, Voice, load, parse, spoken
from fabula.errors import UsageError
from fabula.folder import read_model
from fabula.novelty import Index, joined
from fabula.text import words_of

ONE = "The fox went to the mill. The fox ate bread. The fox slept. " * 6
TWO = "The hen sat on the hill. The hen drank milk. The hen sang. " * 6


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models of the same units that learned different halves, the second from the first."""
    home = tmp_path_factory.mktemp("ensemble")
    (home / "both.txt").write_text(ONE + TWO, encoding="utf-8")
    (home / "one.txt").write_text(ONE, encoding="utf-8")
    (home / "two.txt").write_text(TWO, encoding="utf-8")
    small = {"model": {"hidden": 16, "embedding": 8}, "text": {"unit": "words"}}
    fabula.train(home / "both.txt", home / "start", settings={**small, "training": {"steps": 1}})
    for name in ("one", "two"):
        learned = {"training": {"steps": 60, "lr": 0.02}}
        fabula.train(home / f"{name}.txt", home / name, from_model=home / "start", settings=learned)
    return home / "one", home / "two"


def engines(models: tuple[Path, Path]) -> list[Engine]:
    found = [read_model(path) for path in models]
    return [Engine(model.settings.model, model.tokenizer.size, model.weights) for model in found]


def test_probabilities_are_the_weighted_mean(models: tuple[Path, Path]) -> None:
    one, two = engines(models)
    both = Ensemble([one, two], [3.0, 1.0])
    ids = np.array([[3, 5, 7], [2, 2, 9]])
    state = both.read(ids, both.initial_state(2))
    states = [engine.read(ids, engine.initial_state(2)) for engine in (one, two)]
    for unit in (4, 1, 6):
        found, state = both.step(np.array([unit, 8]), state)
        parts = [engine.step(np.array([unit, 8]), own) for engine, own in zip((one, two), states, strict=True)]
        states = [own for _, own in parts]
        wanted = 0.75 * np.exp(parts[0][0]) + 0.25 * np.exp(parts[1][0])
        np.testing.assert_allclose(np.exp(found), wanted, rtol=1e-4, atol=1e-7)


def test_shares_are_the_chances_by_bayes(models: tuple[Path, Path]) -> None:
    one, two = engines(models)
    ids = np.array([3, 5, 7, 2, 4])
    shares = Ensemble([one, two], [3.0, 1.0]).shares(ids)
    nats = [e.score(ids[None, :-1], ids[None, 1:], e.initial_state(1))[0][0] for e in (one, two)]
    wanted = 0.75 * np.exp(-nats[0]) / (0.75 * np.exp(-nats[0]) + 0.25 * np.exp(-nats[1]))
    np.testing.assert_allclose(shares[0], wanted, rtol=1e-4)
    np.testing.assert_allclose(shares.sum(axis=0), 1)


def test_who_speaks_speaks_on(models: tuple[Path, Path]) -> None:
    """Against all ways in which two models may take turns over a text."""
    ids, turn, weights = [3, 5, 7, 2, 4], 0.3, (0.75, 0.25)
    both = Ensemble(engines(models), weights, turn=turn)
    told = np.array([ids])
    chances = [np.exp(-e.score(told[:, :-1], told[:, 1:], e.initial_state(1))[0][0]) for e in engines(models)]
    ways: dict[tuple[int, ...], float] = {}
    for way in itertools.product((0, 1), repeat=len(ids) - 1):
        ways[way] = weights[way[0]] * float(np.prod([chances[who][unit] for unit, who in enumerate(way)]))
        for before, who in itertools.pairwise(way):
            ways[way] *= turn * weights[who] + (1 - turn) * (before == who)
    total, state = 1.0, both.initial_state(1)
    for unit, after in itertools.pairwise(ids):
        scores, state = both.step(np.array([unit]), state)
        total *= float(np.exp(scores[0, after]))
    assert total == pytest.approx(sum(ways.values()), rel=1e-4)
    shares = both.shares(np.array(ids))
    for unit in range(len(ids) - 1):
        own = sum(chance for way, chance in ways.items() if way[unit] == 0)
        assert shares[0, unit] == pytest.approx(own / sum(ways.values()), rel=1e-4)
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    assert both.shares(np.array(ids), len(ids)).shape == (2, 0)


def test_one_alone_is_the_model_itself(models: tuple[Path, Path]) -> None:
    how = SamplingConfig(seed=4)
    alone = fabula.load(models[0]).write("The", words=12, sampling=how).text
    assert load([Voice(models[0], 1.0)]).write("The", words=12, sampling=how).text == alone
    assert load([Voice(models[0], 1e9), Voice(models[1], 1e-9)]).write("The", words=12, sampling=how).text == alone


def test_words_are_told_by_who_knows_them(models: tuple[Path, Path]) -> None:
    teller = load([Voice(models[0], 1.0), Voice(models[1], 1.0)])
    words = spoken(teller, " fox went to the mill. The hen sat", "The")
    assert "".join(one.word for one in words) == " fox went to the mill. The hen sat"
    shares = {one.word.strip(): one.shares for one in words}
    assert shares["fox"][0] > 0.6
    assert shares["hen"][1] > 0.6
    assert all(sum(one.shares) == pytest.approx(1) for one in words)
    told = teller.write_many(8, "The", words=10, sampling=SamplingConfig(seed=2))
    assert [one.text for one in told] == [
        teller.write("The", story=story, words=10, sampling=SamplingConfig(seed=2)).text for story in range(8)
    ]
    assert teller.copied(" fox went to the mill", "The").longest == 6
    assert teller.copied(" hen sat on the hill", "The").longest == 6


def test_weights_are_read_as_people_write_them(tmp_path: Path) -> None:
    assert parse(["a:0.7", "b", "c:d/e:2"]) == [Voice(Path("a"), 0.7), Voice(Path("b"), 1.0), Voice(Path("c:d/e"), 2.0)]
    odd = tmp_path / "a:3"
    odd.mkdir()
    assert parse([str(odd)]) == [Voice(odd, 1.0)]
    for wrong in ("a:0", "a:-1", "a:nan", "a:inf"):
        with pytest.raises(UsageError, match="above 0"):
            parse([wrong])


def test_what_cannot_be_mixed(models: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(ONE, encoding="utf-8")
    for name, unit, window in (("symbols", "symbols", 0), ("window", "chars", 2)):
        settings = {"text": {"unit": unit}, "model": {"window": window}, "training": {"steps": 1}}
        fabula.train(tmp_path / "t.txt", tmp_path / name, settings=settings)
    for name, why in (("symbols", "writes symbols"), ("window", "reads a fixed window")):
        for voices in ((models[0], tmp_path / name), (tmp_path / name, models[0])):
            with pytest.raises(UsageError, match=f"{name}' {why}") as caught:
                load([Voice(folder, 1.0) for folder in voices])
            assert "\n" not in str(caught.value)


# --- other units ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def others(models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Voice]:
    """A model of words that learned of the fox, and three of other units, shapes and cells that learned of the hen."""
    home, voices = tmp_path_factory.mktemp("others"), [Voice(models[0], 3.0)]
    (home / "two.txt").write_text(TWO + "Né! " * 20, encoding="utf-8")
    shapes = (("subwords", {"cell": "gru"}), ("chars", {"layers": 2}), ("bytes", {"head": "full"}))
    for unit, shape in shapes:
        settings = {"text": {"unit": unit}, "training": {"steps": 80, "lr": 0.02}, "model": {"hidden": 16, **shape}}
        fabula.train(home / "two.txt", home / unit, settings=settings)
        voices.append(Voice(home / unit, 1.0))
    return voices


def test_other_units_are_mixed_by_bytes(others: list[Voice]) -> None:
    teller, how = load(others), SamplingConfig(seed=5, temperature=1.2)
    assert teller.tokenizer.unit == "bytes"
    told = teller.write_many(6, "The", words=12, sampling=how)
    assert len({one.text for one in told}) == 6
    for story, one in enumerate(told):
        assert one.text == teller.write("The", story=story, words=12, sampling=how).text
        assert "\ufffd" not in one.text
    text = " fox went to the mill. The hen sat on the hill."
    words = spoken(teller, text, "The")
    assert "".join(one.word for one in words) == text.rstrip(".")
    shares = {one.word.strip(): one.shares for one in words}
    assert shares["mill"][0] > 0.9  # and not so when each byte has a speaker of its own
    assert shares["hill"][0] < 0.2
    assert all(sum(one.shares) == pytest.approx(1) for one in words)


def test_one_voice_far_above_the_others_is_alone(others: list[Voice]) -> None:
    how = SamplingConfig(temperature=0)
    for loud in others[2:]:  # the likeliest byte need not begin the likeliest word
        own = fabula.load(loud.folder).write("The", words=8, sampling=how).text
        quiet = [Voice(one.folder, 1e-12) for one in others if one is not loud]
        assert load([Voice(loud.folder, 1.0), *quiet]).write("The", words=8, sampling=how).text == own


def test_rules_hold_where_bytes_are_mixed(others: list[Voice]) -> None:
    teller = load(others)
    rules = {"ban": ("mill",), "ban_letters": "w", "require": ("cat",), "max_copy": 3}
    for story in range(4):
        told = teller.write("The fox", story=story, words=25, sampling=SamplingConfig(seed=3, **rules))
        words = words_of(told.text)
        assert "mill" not in words
        assert "w" not in told.text.casefold()
        assert "cat" in words
        assert teller.copied(told.text, "The fox").longest <= 3


def test_an_index_of_two_sources() -> None:
    stories = [list("abcdef"), list("xabcdy"), list("cdefgh"), list("abcd")]
    whole, parts = Index.of(stories), joined([Index.of(stories[:2]), Index.of(stories[2:])])
    assert parts.is_sound
    for told in ("abcdef", "zabcdefgh", "xabcdefgh", "cdefgabcd"):
        assert parts.copied(list(told)).longest == whole.copied(list(told)).longest
        assert [(run.start, run.length) for run in parts.copied(list(told)).runs] == [
            (run.start, run.length) for run in whole.copied(list(told)).runs
        ]


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fabula", *map(str, arguments)], capture_output=True, encoding="utf-8", check=False
    )


def test_the_command(models: tuple[Path, Path]) -> None:
    one, two = models
    done = command("write", f"{one}:0.7", f"{two}:0.3", "-p", "The", "--words", "9")
    assert done.returncode == 0
    assert f"[{one}]" in done.stderr
    assert "spoke: " in done.stderr
    said = json.loads(command("write", f"{one}:0.7", f"{two}:0.3", "-p", "The", "--words", "9", "--json").stdout)
    assert "".join(voice["word"] for voice in said["voices"]) == said["text"].rstrip(".")
    assert set(said["voices"][0]["shares"]) == {str(one), str(two)}
    for wrong in ([], [f"{one}:0", two], [one, two, "--mixture"], [one, two, "--label"], [one, "none"]):
        done = command("write", *wrong)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
