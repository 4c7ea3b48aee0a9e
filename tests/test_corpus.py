"""Stories made ready: what is kept aside, which vocabulary is learned, what a run is recognised by."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fabula.config import TextConfig
from fabula.corpus import count, prepare


@pytest.fixture
def book(tmp_path: Path) -> TextConfig:
    """Forty stories of sixty words, enough for some to be kept aside."""
    words = [f"word{number}" for number in range(500)]
    rng = np.random.default_rng(0)
    stories = [f"# Story {number}\n\n{' '.join(rng.choice(words, 60))}." for number in range(40)]
    path = tmp_path / "book.txt"
    path.write_text("\n\n".join(stories), encoding="utf-8")
    return TextConfig(paths=(str(path),), unit="words")


def test_whole_stories_are_kept_aside_and_counted(book: TextConfig) -> None:
    corpus = prepare(book)
    assert corpus.held_out
    assert len(corpus.train.streams) + len(corpus.held_out.streams) == 40
    assert corpus.held_out.counts == count(corpus.held_out_stories)
    decoded = [corpus.tokenizer.decode(stream) for stream in corpus.held_out.streams]
    assert decoded == [story.text for story in corpus.held_out_stories]


def test_the_vocabulary_is_learned_from_the_training_side_alone(book: TextConfig) -> None:
    path = Path(book.paths[0])
    secret = path.with_name("secret.txt")
    secret.write_text("an unheard-of Zyzzyva said so and so to the unheard-of Zyzzyva", encoding="utf-8")
    corpus = prepare(replace(book, held_out_paths=(str(secret),), unit="chars"))
    assert len(corpus.tokenizer.encode("Z")) == len(corpus.tokenizer.encode("y"))
    taught = {corpus.tokenizer.spelling(token) for stream in corpus.train.streams for token in stream}
    assert b"Z" not in taught


def test_symbols_know_the_held_out_text_too_for_they_cannot_spell(book: TextConfig) -> None:
    corpus = prepare(replace(book, unit="symbols"))
    assert corpus.held_out
    assert corpus.held_out.tokens > 0


def test_a_short_text_is_learned_by_heart(fable: Path) -> None:
    corpus = prepare(TextConfig(paths=(str(fable),)))
    assert corpus.by_heart
    assert corpus.held_out is None
    assert corpus.tokenizer.unit == "symbols"
    assert corpus.train.tokens == 204
    assert corpus.opening == "long ago ,"
    assert any("by heart" in note for note in corpus.notes)


def test_the_opening_of_a_chinese_text_is_short(tmp_path: Path) -> None:
    path = tmp_path / "zh.txt"
    path.write_text("很久以前,老鼠们开了一次大会,商量怎样对付它们共同的敌人。", encoding="utf-8")
    assert prepare(TextConfig(paths=(str(path),))).opening == "很久以前"


def test_the_digest_follows_the_text_and_its_order(book: TextConfig) -> None:
    path = Path(book.paths[0])
    first = prepare(book).digest
    assert prepare(book).digest == first
    path.write_text(path.read_text(encoding="utf-8").replace("word1", "word2", 1), encoding="utf-8")
    assert prepare(book).digest != first


def test_a_check_is_the_beginning_of_what_is_kept_aside(book: TextConfig) -> None:
    corpus = prepare(book)
    assert corpus.held_out
    whole = np.concatenate(corpus.held_out.streams)
    part = corpus.kept(len(whole) // 2)
    assert part
    assert 0 < part.tokens < len(whole)
    assert 0 < part.counts.bytes < corpus.held_out.counts.bytes
    few = np.concatenate(part.streams)[:-2]  # the word that was cut may be spelled otherwise
    assert np.array_equal(few, whole[: len(few)])
    assert corpus.kept(10**9) is corpus.held_out
