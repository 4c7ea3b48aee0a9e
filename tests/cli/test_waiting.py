"""A word for those who wait, and none for those who do not."""

import threading

import pytest

from fabula.cli import waiting as room
from fabula.cli.waiting import waiting


@pytest.mark.parametrize(("patience", "quiet", "said"), [(0.0, False, "soon\n"), (60.0, False, ""), (0.0, True, "")])
def test_a_word_after_a_while(
    patience: float, quiet: bool, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(room, "PATIENCE", patience)
    before = threading.active_count()
    with waiting("soon", quiet=quiet):
        while not patience and not quiet and threading.active_count() > before:
            pass
    assert capsys.readouterr().err == said
