"""The tortures in a few cases each: the promises hold, and every broken control is caught."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from torture import characters, corpora, flips, mutants, source
from torture.runner import Answer, table

from fabula.text.encodings import decode


def assert_kept(answer: Answer) -> None:
    assert answer.kept, table([answer])


@pytest.mark.parametrize(("question", "count"), [(flips, 400), (mutants, 80), (corpora, 17)])
def test_promises_are_kept_and_controls_are_caught(question: Any, count: int, tmp_path: Path) -> None:
    assert_kept(question.ask(count, 1, tmp_path, 1))


def test_no_file_of_ours_runs_data(tmp_path: Path) -> None:
    assert_kept(source.ask(None, 1, tmp_path, 1))


def test_texts_come_back_from_their_encodings() -> None:
    said = Counter[str]()
    for data, text, how, encoding in characters._written():
        wrong, found = characters._read(data, text, encoding, decode)
        assert wrong is None, (how, wrong)
        said[found] += how == "unmarked"
    assert said["guessed right"] >= 117
    assert any(
        characters._read(data, text, name, characters._careless)[0] for data, text, _, name in characters._written()
    )


def test_every_encoding_gives_back_its_own_characters() -> None:
    tried, lost = characters._all_of_each_encoding()
    assert tried >= 85
    assert lost == []
