"""The costs of an output: real steps, counted bytes."""

import pytest

from fabula.article import vocabulary


def test_bytes_are_those_of_the_weights_and_speeds_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "SECONDS", 0.0)
    weights = (1 + 512 + 1) * 4 * 512 + (512 + 1) * 300
    theirs, ours = vocabulary.article_way(300), vocabulary.our_way(300)
    assert theirs.megabytes == pytest.approx(weights * 4 * 2 / 2**20)
    assert ours.megabytes > 1
    assert theirs.words > 0 < ours.words


def test_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "SECONDS", 0.0)
    monkeypatch.setattr(vocabulary, "SIZES", (20, 50))
    heard: list[tuple[int, int, int, int]] = []
    table = vocabulary.table(lambda *said: heard.append(said)).to_json()
    assert [row[0] for row in table["rows"]] == ["20", "50"]
    assert len(table["columns"]) == len(table["rows"][0]) == 5
    assert "With 50 words the article's way" in table["sentence"]["en"]
    assert [said[0] for said in heard] == [0, 1, 2, 3]
