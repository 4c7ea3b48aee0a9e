"""What a text has from its source: places, people beside it, the page and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fabula.comparison import LENGTHS, Comparison, compare, render
from fabula.config import TextConfig
from fabula.errors import TextError

SOURCE = """# The mice

Long ago, the mice had a general council.
They wanted to outwit the cat, their enemy.

# The fox

A fox went to the mill and asked for bread, and the miller gave him a loaf.
"""
STORY = "Once the mice had a General Council: a fox went to the mill and asked for bread and the miller wept."


@pytest.fixture
def found(tmp_path: Path) -> Comparison:
    (tmp_path / "tales.txt").write_text(SOURCE, encoding="utf-8")
    return compare(STORY, [tmp_path / "tales.txt"], TextConfig())


def test_every_run_and_where_it_is_from(found: Comparison) -> None:
    first, second = found.passages
    assert STORY[first.start : first.end] == "the mice had a General Council"
    assert (first.words, first.title, first.line, first.quote) == (6, "The mice", 3, "the mice had a general council")
    assert STORY[second.start : second.end] == "a fox went to the mill and asked for bread and the miller"
    assert (second.words, second.title, second.line) == (13, "The fox", 3)
    assert second.quote == "A fox went to the mill and asked for bread, and the miller"
    assert (found.words, found.longest) == (21, 13)
    assert found.shares == {n: pytest.approx((6 * (n <= 6) + 13 * (n <= 13)) / 21) for n in LENGTHS}
    assert found.human is None  # too short to keep a part aside


def test_people_beside_it(tmp_path: Path) -> None:
    """Of stories that all begin alike a held-out one has its beginning from the others."""
    stories = [
        f"Once upon a time there was number {n} who " + " ".join(f"w{n}x{word}" for word in range(91))
        for n in range(60)
    ]
    (tmp_path / "tales.txt").write_text("\n\n\n\n".join(stories), encoding="utf-8")
    found = compare(stories[0], [tmp_path / "tales.txt"], TextConfig())
    assert found.longest == 100
    assert found.human is not None
    assert found.human_words % 100 == 0
    assert found.human[4] == found.human[6] == pytest.approx(0.07)
    assert found.human[8] == 0


def test_a_text_without_words(tmp_path: Path) -> None:
    (tmp_path / "tales.txt").write_text(SOURCE, encoding="utf-8")
    with pytest.raises(TextError, match="must have words"):
        compare(" ... !", [tmp_path / "tales.txt"], TextConfig())


def test_the_page_shows_runs_and_places(found: Comparison, opened: Callable[..., Any]) -> None:
    page = opened(render(found, "story.txt", "en"))
    assert page.locator("h1").inner_text() == "What story.txt has from its source"
    assert page.locator(".told").inner_text() == STORY
    assert page.locator(".told .short").inner_text() == "the mice had a General Council"
    page.locator(".told .long").click()
    assert "13 words" in page.locator("#readout").inner_text()
    assert "The fox" in page.locator("#readout").inner_text()
    assert page.locator("#curve svg circle").count() == len(LENGTHS)
    assert page.locator("tbody tr").count() == 2
    page.locator("#language").click()
    assert "最长的片段" in page.locator("#main").inner_text()
    page.set_viewport_size({"width": 360, "height": 800})
    page.wait_for_function("document.documentElement.scrollWidth <= 360")  # a new size comes to a page in its time


def test_hostile_texts_stay_text(found: Comparison, opened: Callable[..., Any], tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)> the mice had a general council &lt;b&gt; {{data}} $& <!--"
    (tmp_path / "evil.txt").write_text(evil * 3, encoding="utf-8")
    page = opened(render(compare(evil, [tmp_path / "evil.txt"], TextConfig()), evil))
    assert page.locator(".told").inner_text() == evil
    assert page.locator("img").count() == 0


def fabula(*arguments: str, cwd: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from fabula.cli import main; code = main(sys.argv[1:]);"
        "assert not {'torch', 'onnxruntime'} & sys.modules.keys(); sys.exit(code)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        encoding="utf-8",
        cwd=cwd,
        check=False,
        input=stdin,
    )


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "tales.txt").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "story.txt").write_text(STORY, encoding="utf-8")
    done = fabula("novelty", "story.txt", "--source", "tales.txt", "--html", "n.html", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "page: n.html\n")
    assert "21 words; the longest copied run has 13" in done.stdout
    assert "in runs of  8 or more:  61.9%" in done.stdout
    assert "13 words, tales.txt, 'The fox', line 3: A fox went" in done.stdout
    assert (tmp_path / "n.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    said = json.loads(fabula("novelty", "-", "-s", "tales.txt", "--json", cwd=tmp_path, stdin=STORY).stdout)
    assert said["longest"] == 13
    assert said["shares"]["8"] == pytest.approx(13 / 21)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["story.txt"], "expected what it may be copied from"),
        (["story.txt", "--source", "none.txt"], "none.txt"),
        (["none.txt", "--source", "tales.txt"], "none.txt"),
        (["story.txt", "--source", "tales.txt", "--lang", "xx"], "language"),
        (["story.txt", "--source", "tales.txt", "--html", "no/where.html"], "cannot write"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "tales.txt").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "story.txt").write_text(STORY, encoding="utf-8")
    done = fabula("novelty", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
