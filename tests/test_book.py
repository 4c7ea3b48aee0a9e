"""A book: its chapters, titles and files, and what a reader's program must find in them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import fabula
from fabula.book import Book, Chapter, to_epub, to_html, write_book
from fabula.book.chapters import titles
from fabula.config import SamplingConfig
from fabula.errors import UsageError
from fabula.novelty import Copied, Run
from fabula.text import count_words

XHTML, OPF = "{http://www.w3.org/1999/xhtml}", "{http://www.idpf.org/2007/opf}"
EVIL = 'A <b>"fox"</b> & co ]]> \x00\x1b[31m\ud800 <script>alert(1)</script>'


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, fable: Path) -> Path:
    path = tmp_path_factory.mktemp("book") / "tales"
    fabula.train(fable, path, settings={"training": {"steps": 30}, "model": {"hidden": 16}})
    return path


def parts(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.infolist()[0].filename == "mimetype"
        assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def check(data: bytes) -> list[str]:
    """What the format asks; returns the names of the pages in reading order."""
    files = parts(data)
    assert files["mimetype"] == b"application/epub+zip"
    container = ElementTree.fromstring(files["META-INF/container.xml"])
    (root,) = container.iter("{urn:oasis:names:tc:opendocument:xmlns:container}rootfile")
    package = ElementTree.fromstring(files[root.attrib["full-path"]])
    items = {item.attrib["id"]: item for item in package.iter(f"{OPF}item")}
    assert {f"book/{item.attrib['href']}" for item in items.values()} == {
        name for name in files if name.startswith("book/") and name != "book/package.opf"
    }
    assert [item for item in items.values() if item.attrib.get("properties") == "nav"]
    for name in ("identifier", "title", "language"):
        assert package.find(f".//{{http://purl.org/dc/elements/1.1/}}{name}").text
    order = [items[one.attrib["idref"]].attrib["href"] for one in package.iter(f"{OPF}itemref")]
    for name in files:
        if name.endswith(".xhtml"):
            page = ElementTree.fromstring(files[name])
            assert page.find(f".//{XHTML}title").text
            for link in page.iter(f"{XHTML}a"):
                assert f"book/{link.attrib['href']}" in files
    return order


def test_a_book_from_a_model(model: Path) -> None:
    heard: list[tuple[int, int]] = []
    how = SamplingConfig(seed=3)
    book = write_book(
        fabula.load(model), 1700, "had a general", title="Mice", model="tales", sampling=how,
        tell=lambda number, count, chapter: heard.append((number, count)),
    )  # fmt: skip
    assert len(book.chapters) == 8
    assert heard == [(number, 8) for number in range(1, 9)]
    assert book.chapters[0].text.startswith("had a general")
    assert all(200 <= chapter.words <= 900 for chapter in book.chapters)
    assert len({chapter.text for chapter in book.chapters}) == 8
    assert all(chapter.title and chapter.copied is not None for chapter in book.chapters)
    assert book.language == "en"
    again = write_book(fabula.load(model), 1700, "had a general", title="Mice", model="tales", sampling=how)
    assert again == book
    order = check(to_epub(book))
    assert order == ["title.xhtml", *(f"chapter-{n:03d}.xhtml" for n in range(1, 9)), "copied.xhtml"]
    first = "".join(ElementTree.fromstring(parts(to_epub(book))["book/chapter-001.xhtml"]).itertext())
    assert count_words(first) >= book.chapters[0].words


def test_titles_are_what_only_this_chapter_keeps_saying() -> None:
    texts = ["The red fox ran. The red fox hid from it.", "The miller saw it. A hen! Old hen of it. Old hen."]
    assert titles(texts) == ["Red fox", "Old hen"]
    assert titles(["很久以前，老鼠们开会。", "猫来了。"]) == ["很久以前", "猫来了"]
    assert titles(["...", "One two three four five six seven"]) == ["…", "One two three four five six"]


def test_hostile_text_is_text(opened: Callable[..., Any]) -> None:
    copied = Copied((Run(0, 4, -1),), 0.5, 4)
    book = Book(EVIL, "en", EVIL, 1, (Chapter(EVIL, f"{EVIL}\n\n{EVIL}", 9, copied, EVIL), Chapter("x", "y", 1, None)))
    check(to_epub(book))
    page = opened(to_html(book))
    assert page.locator("script, b").count() == 0
    assert page.locator("section p").count() == 3
    assert "<script>alert(1)</script>" in page.locator("h1").inner_text()
    assert page.locator("nav a").count() == 2
    assert page.locator("tbody tr").count() == 2


def test_a_chinese_book_speaks_chinese() -> None:
    book = Book("老鼠", "zh-Hans", "m", 1, (Chapter("开会", "老鼠开会。", 4, None),))
    assert "第 1 章" in to_html(book)
    assert "目录" in parts(to_epub(book))["book/contents.xhtml"].decode()
    check(to_epub(book))


def test_too_short_a_book(model: Path) -> None:
    with pytest.raises(UsageError, match="at least 200 words"):
        write_book(fabula.load(model), 199, title="x", model="m", sampling=SamplingConfig())


def test_the_command(model: Path, tmp_path: Path) -> None:
    def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fabula", "write", *map(str, arguments)],
            capture_output=True, encoding="utf-8", cwd=tmp_path, check=False,
        )  # fmt: skip

    done = command(model, "--book", "400", "-o", "mice.epub")
    assert (done.returncode, done.stdout) == (0, "mice.epub\nmice.html\n")
    assert "chapter 1 of 2: " in done.stderr
    check((tmp_path / "mice.epub").read_bytes())
    done = command(model, "--book", "400", "-o", "mice")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    said = json.loads(command(model, "--book", "300", "--json", "-q").stdout)
    assert said["epub"] == "tales-book.epub"
    assert said["chapters"][0]["copied_4"] is not None
    for wrong in (["--book", "5"], ["-o", "x"], ["--book", "300", "--words", "9"], ["--book", "300", "--label"]):
        done = command(model, *wrong)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
