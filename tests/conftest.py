"""What all tests share: where the real texts lie, and a browser to look at pages with, when there is one."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # tests run beside each other, whatever the machine looks like
WHOLE = {"article", "cli", "serve", "studio"}
"""Folders whose tests run the whole way, from a command, a request or a click."""

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start processes, servers and browsers are long."""
    for item in items:
        whole = item.path.parent.name in WHOLE or "chromium" in getattr(item, "fixturenames", ())
        if whole or hasattr(getattr(item, "module", None), "subprocess"):
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests keep nothing where the user does, nor do the processes that they start."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real texts beside the checkout; the test steps aside where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real texts (../shared/data) are not on this machine")
    return SHARED_DATA


@pytest.fixture(scope="session")
def fable() -> Path:
    """The fable that comes with the package."""
    return Path(__file__).resolve().parents[1] / "src" / "fabula" / "data" / "belling_the_cat.txt"


def _tell_tales(path: Path, beasts: Sequence[str], places: Sequence[str]) -> Path:
    """Write sixty small stories of our own, enough for some to be kept aside."""
    stories = [
        f"# Story {number}\n\nA {beasts[number % 5]} went to {places[number % len(places)]}. There it met a "
        f"{beasts[(number * 3 + 1) % 5]} who said: friend, what do you seek? Bread, said the {beasts[number % 5]}, "
        f"and a warm place to sleep. Then come with me, said the other, and they went home together.\n"
        for number in range(60)
    ]
    path.write_text("\n\n".join(stories), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tell_tales() -> Callable[[Path, Sequence[str], Sequence[str]], Path]:
    """Writes small stories about some beasts and places."""
    return _tell_tales


@pytest.fixture
def tales(tmp_path: Path) -> Path:
    """Sixty small stories."""
    places = ("the mill", "the well", "a barn", "the hill")
    return _tell_tales(tmp_path / "tales.txt", ("fox", "hen", "mouse", "bear", "owl"), places)


class Blocks(HTMLParser):
    """The tags of a page and what stands in its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str | None, str] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        if tag == "script":
            self.scripts[attributes.get("id")] = self.scripts.get(attributes.get("id"), "") + data


@pytest.fixture(scope="session")
def blocks() -> Callable[[str], Blocks]:
    """Reads a page without a browser."""
    return Blocks


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright here")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium here")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync"]
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=program, args=quiet)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page from the file `page.html`; afterwards no error, dialog or request may have come."""
    complaints: list[str] = []
    pages = []

    def open_page(text: str, width: int = 1100, now: float | None = None, **options: Any) -> Any:
        (tmp_path / "page.html").write_text(text, encoding="utf-8")
        page = chromium.new_page(viewport={"width": width, "height": 900}, **options)
        pages.append(page)
        page.set_default_timeout(5000)
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else 0
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda asked: complaints.append(asked.url) if not asked.url.startswith("file:") else 0)
        if now is not None:
            page.clock.install(time=datetime.fromtimestamp(now, UTC))
        page.goto((tmp_path / "page.html").as_uri())
        return page

    yield open_page
    for page in pages:
        page.close()
    assert complaints == []
