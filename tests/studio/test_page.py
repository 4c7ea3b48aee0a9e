"""The studio's page in a browser, before a real server: every view by clicks and keys, in both languages."""

import gzip
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serve.conftest import running
from tests.studio.conftest import Page

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "src" / "fabula" / "studio" / "page"
AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = "<img src=x onerror=alert(1)> {{title}} \u202efdp.exe\u202c \x07bell &lt;b&gt; $& 很长的故事 "
VIEWS = ("write", "learn", "inside", "shelf")


class Studio:
    """A browser's page, and the server behind it."""

    def __init__(self, page: Any, server: Page) -> None:
        self.page, self.server = page, server
        self.complaints: list[str] = []

    def find(self, selector: str) -> Any:
        return self.page.locator(selector)

    def go(self, view: str) -> None:
        self.page.evaluate("view => { location.hash = view }", view)

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def until(self, expression: str, seconds: float = 10) -> None:
        """Asked again and again from outside: the page's own policy forbids waiting within."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"never: {expression}"
            self.page.wait_for_timeout(30)

    def rest(self) -> None:
        """Until nothing is told any more and the server has answered."""
        self.page.wait_for_load_state("networkidle")
        self.find("#go-on").wait_for()

    def words(self) -> list[str]:
        return self.find(".word").all_inner_texts()

    def offered(self) -> int:
        return self.find(".word.offered").count()

    def focused(self) -> str:
        return self.page.evaluate("document.activeElement.id")

    def draft(self) -> dict[str, Any]:
        """The draft on the desk, as the server knows it."""
        return self.server.ask("GET", f"drafts/{self.page.url.rpartition('/')[2]}")


@pytest.fixture(scope="module")
def shared(shelf: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A server for all who do not mind what others did there."""
    command = [sys.executable, "-m", "fabula", "serve", *map(str, shelf.values()), "--port", "0"]
    command += ["--home", str(tmp_path_factory.mktemp("home"))]
    with running(command) as served:
        one = Page(served, None)
        yield one
        one.client.close()


@pytest.fixture
def opened(chromium: Any, shared: Page) -> Iterator[Callable[..., Studio]]:
    """Opens the page; afterwards no error, dialog or request elsewhere may have come."""
    studios: list[Studio] = []

    def open_page(view: str = "write/with:words", *, server: Page = shared, **options: Any) -> Studio:
        browser = chromium.new_context(**{"viewport": {"width": 1280, "height": 860}, "locale": "en-GB", **options})
        studio = Studio(browser.new_page(), server)
        studios.append(studio)
        one, said = studio.page, studio.complaints
        one.set_default_timeout(10_000)
        one.on("console", lambda news: said.append(news.text) if news.type in {"error", "warning"} else None)
        one.on("pageerror", lambda error: said.append(str(error)))
        one.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        one.on("request", lambda asked: None if asked.url.startswith(server.served.url) else said.append(asked.url))
        one.goto(f"{server.served.url}/#{view}")
        return studio

    yield open_page
    for studio in studios:
        studio.page.context.close()
        # A refusal of the server is no fault of the page.
        assert [one for one in studio.complaints if "Failed to load resource" not in one] == []


@pytest.fixture
def writing(opened: Callable[..., Studio]) -> Studio:
    """A new story, the caret in it."""
    studio = opened()
    studio.find("#typed").focus()
    return studio


def told(studio: Studio, text: str = "The fox saw") -> None:
    """Type a beginning and let the model go on."""
    studio.type(text)
    studio.keys("Enter")
    studio.until("document.querySelectorAll('.word.offered').length > 2")
    studio.rest()


# --- what is served ---------------------------------------------------------------------------------------------------


def test_what_is_built_is_small_and_plain() -> None:
    html = (BUILT / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=|https?:", html)
    scripts = sum(len(gzip.compress(path.read_bytes(), 9)) for path in BUILT.rglob("*.js"))
    assert scripts < 80_000
    assert all(path.suffix in {".html", ".js", ".css", ".svg"} for path in BUILT.rglob("*.*"))


def test_the_lock_names_no_registry() -> None:
    lock = ROOT / "web" / "package-lock.json"
    if not lock.is_file():
        pytest.skip("the sources of the page are not here")
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert all("integrity" in package for name, package in packages.items() if name)


# --- writing ----------------------------------------------------------------------------------------------------------


def test_one_types_and_the_model_goes_on(writing: Studio) -> None:
    told(writing)
    assert writing.words()[:3] == ["The", "fox", "saw"]
    assert writing.focused() == "typed"
    offered = writing.offered()
    writing.keys("Tab")
    writing.until(f"document.querySelectorAll('.word.offered').length === {offered - 1}")
    writing.keys("ArrowRight")
    writing.until(f"document.querySelectorAll('.word.offered').length === {offered - 2}")
    assert writing.focused() == "typed"
    writing.rest()
    assert writing.draft()["gap"] == 5
    writing.find("#keep-all").click()
    writing.until("document.querySelectorAll('.word.offered').length === 0")
    writing.rest()
    assert writing.draft()["gap"] == len(writing.words())
    assert "words" in writing.find("#status").inner_text()
    assert "copied:" in writing.find("#status").inner_text()


def test_enter_goes_on_from_what_is_offered(writing: Studio) -> None:
    told(writing)
    before = len(writing.words())
    writing.keys("Enter")
    writing.until(f"document.querySelectorAll('.word').length > {before}")
    writing.rest()
    view = writing.draft()
    assert view["gap"] == before
    assert view["offered"] == [before, len(view["words"])]


def test_a_sentence_or_a_paragraph_is_taken_by_keys_and_buttons(writing: Studio) -> None:
    writing.find("#stretch").select_option("story")
    writing.find("#typed").focus()
    told(writing)
    for key, button in (("Shift+ArrowRight", "#keep-sentence"), ("Shift+ArrowDown", "#keep-paragraph")):
        for press in (lambda key=key: writing.keys(key), lambda button=button: writing.find(button).click()):
            before = writing.offered()
            if before:
                writing.find("#typed").focus()
                press()
                writing.until(f"document.querySelectorAll('.word.offered').length < {before}")
                writing.rest()
    if writing.offered():
        writing.find("#typed").focus()
        writing.keys("Shift+End")
        writing.until("document.querySelectorAll('.word.offered').length === 0")


def test_escape_stops_and_what_was_told_stays(writing: Studio) -> None:
    writing.find("#stretch").select_option("story")
    writing.find("#typed").focus()
    writing.type("The fox")
    writing.keys("Enter")
    writing.until("document.querySelectorAll('.word.offered').length > 0")
    writing.keys("Escape")
    writing.rest()
    stopped = writing.words()
    assert stopped[:2] == ["The", "fox"]
    assert len(stopped) > 2
    assert len(writing.draft()["words"]) == len(stopped)
    writing.keys("Escape")
    writing.until("document.querySelectorAll('.word').length === 2")


def test_escape_before_the_first_word_stops_it_too(writing: Studio) -> None:
    asked: list[str] = []
    writing.page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    writing.page.route("**/studio/drafts", lambda route: (writing.page.wait_for_timeout(300), route.continue_()))
    writing.type("The fox")
    writing.keys("Enter", "Escape")
    writing.rest()
    assert writing.words() == ["The", "fox"]
    assert "drafts" in asked
    assert "tell" not in asked
    writing.keys("Enter")
    writing.until("document.querySelectorAll('.word.offered').length > 0")


def test_something_else_undo_and_redo(writing: Studio) -> None:
    told(writing)
    first = writing.words()
    writing.keys("Alt+Enter")
    writing.until("document.querySelectorAll('.word.offered').length > 0")
    writing.rest()
    second = writing.words()
    assert second[:3] == first[:3]
    assert second != first
    writing.keys("Escape")
    writing.until("document.querySelectorAll('.word').length === 3")
    writing.rest()
    writing.keys("Control+z")
    writing.until(f"document.querySelectorAll('.word').length === {len(second)}")
    writing.rest()
    writing.keys("Control+Shift+z")
    writing.until("document.querySelectorAll('.word').length === 3")
    writing.rest()
    writing.find("#undo").click()
    writing.until(f"document.querySelectorAll('.word').length === {len(second)}")
    writing.rest()
    assert writing.words() == second


def test_tab_leaves_when_nothing_is_offered(writing: Studio) -> None:
    writing.keys("Tab")
    assert writing.focused() == "go-on"
    writing.keys("Shift+Tab")
    assert writing.focused() == "typed"
    told(writing)
    writing.keys("Shift+Tab")
    assert writing.focused() != "typed"
    assert writing.offered() > 2


def test_what_is_composed_is_not_sent(writing: Studio) -> None:
    keyboard = writing.page.context.new_cdp_session(writing.page)
    keyboard.send("Input.imeSetComposition", {"text": "hu", "selectionStart": 2, "selectionEnd": 2})
    writing.page.evaluate(
        "document.activeElement.dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))"
    )
    writing.rest()
    assert writing.words() == []
    keyboard.send("Input.insertText", {"text": "狐"})
    assert writing.find("#typed").inner_text() == "狐"
    writing.keys("Control+Enter")
    writing.until("document.querySelectorAll('.word').length === 1")
    assert writing.words() == ["狐"]


def test_a_new_line_and_a_new_paragraph(writing: Studio) -> None:
    writing.type("The fox")
    writing.keys("Shift+Enter")
    writing.type("saw a hen")
    writing.keys("Shift+Enter", "Shift+Enter")
    writing.type("and ran")
    writing.keys("Control+Enter")
    writing.until("document.querySelectorAll('.word').length === 7")
    assert writing.find(".block").all_inner_texts() == ["The fox", "saw a hen", "and ran"]
    assert writing.find(".block.line").all_inner_texts() == ["saw a hen"]


def test_the_caret_goes_by_keys_and_clicks(writing: Studio) -> None:
    writing.type("The fox saw a hen")
    writing.keys("Control+Enter")
    writing.until("document.querySelectorAll('.word').length === 5")
    writing.keys("ArrowLeft", "ArrowLeft")
    writing.rest()
    writing.until("document.querySelector('#typed').previousElementSibling?.textContent === 'saw'")
    writing.page.wait_for_timeout(400)
    assert writing.draft()["gap"] == 3
    writing.keys("Home")
    writing.until("document.querySelector('#typed').previousElementSibling === null")
    assert writing.focused() == "typed"
    story = writing.find(".block").bounding_box()
    writing.page.mouse.click(story["x"] + story["width"] - 20, story["y"] + 12)
    writing.until("document.querySelector('#typed').previousElementSibling?.textContent === 'hen'")
    assert writing.focused() == "typed"
    writing.keys("Backspace")
    writing.until("document.querySelector('#typed').textContent === 'hen'")
    assert writing.words() == ["The", "fox", "saw", "a"]


def test_a_word_is_asked_what_else_it_might_be(writing: Studio) -> None:
    writing.type("The fox saw a hen")
    writing.keys("Control+Enter")
    writing.until("document.querySelectorAll('.word').length === 5")
    writing.find(".word").nth(1).click()
    writing.find("#choices .choice").first.wait_for()
    assert writing.page.evaluate("document.activeElement.className").startswith("choice")
    assert "%" in writing.find("#choices .choice").first.inner_text()
    other = next(n for n, text in enumerate(writing.find("#choices .choice .text").all_inner_texts()) if text != "fox")
    chosen = writing.find("#choices .choice .text").nth(other).inner_text()
    writing.keys(*["ArrowDown"] * other, "Enter")
    writing.until("document.querySelectorAll('.word.offered').length > 0")
    writing.rest()
    assert writing.words()[:2] == ["The", chosen]
    assert writing.find(".forked").all_inner_texts() == [chosen]
    writing.keys("Alt+ArrowUp")
    writing.find("#choices .choice").first.wait_for()
    assert "2 versions" in writing.find("#choices").inner_text()
    writing.keys("ArrowRight")
    writing.until("document.querySelectorAll('.word')[1].textContent === 'fox'")
    writing.rest()
    assert writing.words() == ["The", "fox", "saw", "a", "hen"]
    writing.keys("Escape")
    assert writing.focused() == "typed"


def test_the_branches_are_a_tree_one_can_walk(writing: Studio) -> None:
    told(writing)
    writing.keys("Alt+Enter")
    writing.until("document.querySelectorAll('.word.offered').length > 0")
    writing.rest()
    writing.find("#open-branches").click()
    writing.until("document.querySelectorAll('.node').length === 3")
    assert writing.find(".branching path.path").count() >= 1
    before = writing.words()
    writing.find(".node").first.focus()
    writing.keys("ArrowDown")
    assert writing.page.evaluate("document.activeElement.classList.contains('path')") is False
    writing.keys("Enter")
    writing.until("document.activeElement.classList.contains('path')")
    assert writing.words()[:3] == before[:3]
    assert writing.words() != before


def test_surprise_is_shaded_with_a_legend(writing: Studio) -> None:
    told(writing)
    assert writing.find("[class*=heat]").count() == 0
    writing.find("#shade").click()
    writing.until("[...document.querySelectorAll('.word')].every(word => /heat[0-5]/.test(word.className))")
    assert "bits" in writing.find("#legend").inner_text()
    writing.page.reload()
    writing.find("#legend").wait_for()


def test_settings_reach_the_draft(writing: Studio) -> None:
    told(writing)
    writing.find("#open-settings").click()
    writing.find("#max_copy").fill("6")
    writing.find("#temperature").fill("0.3")
    writing.find("#ban").fill("fox, hen")
    writing.keys("Tab")
    with writing.page.expect_response(lambda answer: answer.request.method == "PATCH"):
        pass
    writing.rest()
    settings = writing.draft()["settings"]
    assert (settings["max_copy"], settings["temperature"], settings["ban"]) == (6, 0.3, ["fox", "hen"])
    with writing.page.expect_response(lambda answer: answer.request.method == "PATCH"):
        writing.find("#max_copy").fill("21")
    writing.rest()
    assert writing.draft()["settings"]["max_copy"] is None


def test_bookmarks_title_and_files(writing: Studio) -> None:
    told(writing)
    writing.find("#title").fill("A fox at large")
    writing.find("#title").press("Enter")
    assert writing.focused() == "typed"
    writing.find("#open-bookmarks").click()
    writing.find("#mark-name").fill("the beginning")
    writing.find("#mark").click()
    mark = writing.find("#panel li button").first
    mark.wait_for()
    writing.find("#keep-all").click()
    writing.rest()
    mark.click()
    writing.rest()
    writing.until("document.querySelectorAll('.word').length > 3")
    assert writing.draft()["title"] == "A fox at large"
    writing.find("#panel li button").nth(1).click()
    writing.until("document.querySelectorAll('#panel li button').length === 0")
    writing.find("#open-export").click()
    for form, start in (("txt", b"The fox saw"), ("html", b"<!"), ("epub", b"PK")):
        with writing.page.expect_download() as coming:
            writing.find(f"#export-{form}").click()
        assert Path(coming.value.path()).read_bytes()[: len(start)].lower() == start.lower()
        assert coming.value.suggested_filename == f"A fox at large.{form}"


def test_the_last_draft_opens_again(writing: Studio) -> None:
    told(writing)
    before = writing.words()
    writing.type(" and then")
    writing.page.goto("about:blank")
    writing.page.goto(writing.server.served.url)
    writing.until("document.querySelectorAll('.word').length > 0")
    assert writing.words() == before
    assert writing.find("#typed").inner_text() == " and then"
    writing.complaints.clear()  # the empty page in between


def test_foreign_words_stay_words(opened: Callable[..., Studio], shared: Page) -> None:
    draft = shared.ask("POST", "drafts", model="words", title=HOSTILE[:40])
    shared.ask("POST", f"drafts/{draft['id']}/act", act="put", text=HOSTILE)
    studio = opened(f"write/{draft['id']}")
    studio.until("document.querySelectorAll('.word').length > 3")
    shown = studio.find(".block").inner_text()
    assert "<img src=x onerror=alert(1)>" in shown
    assert "\x07" not in shown
    assert "\ufffdbell" in shown
    assert studio.find(".story img").count() == 0
    assert studio.page.evaluate("getComputedStyle(document.querySelector('.turning')).unicodeBidi") == "isolate"


def test_a_long_draft_is_patched_not_drawn_anew(opened: Callable[..., Studio], shared: Page) -> None:
    draft = shared.ask("POST", "drafts", model="words")
    text = "\n\n".join("The fox saw a hen and the hen said come " * 10 for _ in range(50))
    shared.ask("POST", f"drafts/{draft['id']}/act", act="put", text=text)
    studio = opened(f"write/{draft['id']}")
    studio.until("document.querySelectorAll('.word').length === 5000")
    assert studio.find(".block").count() == 50
    studio.page.evaluate(
        "window.drawn = 0; new MutationObserver(all => { for (const one of all)"
        " drawn += [...one.addedNodes].filter(node => node.nodeType === 1).length })"
        ".observe(document.querySelector('.story'), {childList: true, subtree: true})"
    )
    studio.find("#typed").focus()
    studio.type("and he ran")
    assert studio.page.evaluate("drawn") == 0
    studio.keys("Control+Enter")
    studio.until("document.querySelectorAll('.word').length === 5003")
    assert studio.page.evaluate("drawn") <= 10
    studio.keys("ArrowLeft")
    studio.until("document.querySelector('#typed').previousElementSibling?.textContent === 'he'")
    assert studio.page.evaluate("drawn") <= 20


def test_what_goes_wrong_is_one_calm_line(writing: Studio) -> None:
    told(writing)
    writing.server.ask("DELETE", f"drafts/{writing.draft()['id']}")
    writing.keys("Tab")
    problem = writing.find(".problem")
    writing.until("document.querySelector('.problem').textContent.trim() !== ''")
    assert "no such draft" in problem.inner_text()
    assert len(problem.inner_text().strip().splitlines()) <= 2
    problem.get_by_role("button").click()
    assert problem.inner_text().strip() == ""


# --- the key, languages, colours --------------------------------------------------------------------------------------


def test_the_key_is_asked_for(opened: Callable[..., Studio], page: Callable[..., Page]) -> None:
    studio = opened("shelf", server=page(key="sesame"))
    for key, words in (("wrong", "not the key"), ("sesame", None)):
        studio.find("dialog input").fill(key)
        studio.keys("Enter")
        if words:
            studio.page.get_by_text(words).wait_for()
    studio.find(".card").first.wait_for()
    assert studio.page.evaluate("sessionStorage.getItem('fabula.key')") == "sesame"
    studio.page.reload()
    studio.find(".card").first.wait_for()
    assert not studio.find("dialog").is_visible()


def test_chinese_and_english(opened: Callable[..., Studio]) -> None:
    studio = opened("shelf", locale="zh-CN")
    studio.find(".card").first.wait_for()
    assert studio.page.evaluate("document.documentElement.lang") == "zh-Hans"
    assert "书架" in studio.find("nav").first.inner_text()
    studio.find("#language").click()
    assert "Shelf" in studio.find("nav").first.inner_text()
    studio.page.reload()
    studio.find(".card").first.wait_for()
    assert studio.page.evaluate("document.documentElement.lang") == "en"


def test_light_and_dark(opened: Callable[..., Studio]) -> None:
    studio = opened("shelf", color_scheme="dark")
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    studio.find("#theme").wait_for()
    dark = studio.page.evaluate(paper)
    studio.find("#theme").click()
    light = studio.page.evaluate(paper)
    assert light != dark
    studio.page.reload()
    studio.find("#theme").wait_for()
    assert studio.page.evaluate(paper) == light
    studio.find("#theme").click()
    assert studio.page.evaluate(paper) == dark


@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
def test_it_fits_a_phone(opened: Callable[..., Studio], language: str) -> None:
    studio = opened(viewport={"width": 360, "height": 720}, locale=language)
    studio.find("#typed").focus()
    told(studio)
    for view in VIEWS:
        studio.go(view)
        studio.find("h1").first.wait_for()
        studio.rest() if view == "write" else studio.page.wait_for_load_state("networkidle")
        assert studio.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
    studio.go("write")
    studio.find("#open-settings").click()
    panel = studio.find("#panel").bounding_box()
    assert panel["x"] >= 0
    assert panel["x"] + panel["width"] <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
def test_nothing_stands_in_the_way(opened: Callable[..., Studio], scheme: str, language: str) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not here: npm ci in web/")
    studio = opened(color_scheme=scheme, locale=language)
    axe = AXE.read_text(encoding="utf-8")

    def check(what: str) -> None:
        studio.page.wait_for_load_state("networkidle")
        found = studio.page.evaluate(axe + "; axe.run().then(result => result.violations)")
        grave = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in {"serious", "critical"}]
        assert grave == [], what

    studio.find("#typed").focus()
    check("empty")
    told(studio)
    check("told")
    studio.find("#shade").click()
    studio.until("document.querySelectorAll('[class*=heat]').length > 6")
    check("shaded")
    studio.find(".word").nth(1).click()
    studio.find("#choices .choice").first.wait_for()
    check("choices")
    studio.keys("Escape")
    for panel in ("settings", "branches", "bookmarks", "export", "help"):
        studio.find(f"#open-{panel}").click()
        check(panel)
    for view, sign in (("learn", "#learn, #cannot-learn"), ("inside", "#heatmap"), ("shelf", ".card")):
        studio.go(view)
        studio.find(sign).first.wait_for()
        check(view)


# --- learning ---------------------------------------------------------------------------------------------------------


def test_without_torch_it_says_how_to_get_it(opened: Callable[..., Studio]) -> None:
    studio = opened()
    studio.find("#typed").wait_for()

    def poorer(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(json=answer.json() | {"can_learn": False})

    studio.page.route("**/studio/models", poorer)
    studio.go("learn")
    assert "pip install 'fabula[train]'" in studio.find("#cannot-learn").inner_text()


def test_texts_are_dropped(opened: Callable[..., Studio], page: Callable[..., Page], tmp_path: Path) -> None:
    pytest.importorskip("torch")
    studio = opened("learn", server=page())
    paths = [tmp_path / "老鼠.txt", tmp_path / "mice.txt"]
    for path in paths:
        path.write_text("The fox saw a hen. 老鼠开会。", encoding="utf-8")
    box = studio.find(".drop").bounding_box()
    hand = studio.page.context.new_cdp_session(studio.page)
    for moment in ("dragEnter", "dragOver", "drop"):
        hand.send("Input.dispatchDragEvent", {
            "type": moment, "x": box["x"] + 20, "y": box["y"] + 20,
            "data": {"items": [], "files": list(map(str, paths)), "dragOperationsMask": 1},
        })  # fmt: skip
        if moment == "dragOver":
            studio.until("document.querySelector('.drop').classList.contains('over')")
    studio.until("document.querySelectorAll('#texts input:checked').length === 2")
    assert {"老鼠.txt", "mice.txt"} <= {text["name"] for text in studio.server.ask("GET", "texts")["texts"]}


@pytest.mark.timeout(180)
def test_one_watches_it_learn(opened: Callable[..., Studio], page: Callable[..., Page], tales: Path) -> None:
    pytest.importorskip("torch")
    studio = opened("learn", server=page())
    studio.find("#files").set_input_files([tales])
    studio.find("#texts input[type=checkbox]").wait_for()
    assert studio.find("#texts input").first.is_checked()
    studio.find("summary").click()
    studio.find("#pasted").fill("The fox saw a hen. The hen ran home.")
    studio.find("#pasted-name").fill("short")
    studio.find("#paste").click()
    studio.until("document.querySelectorAll('#texts input:checked').length === 2")
    studio.page.get_by_label("Remove short.txt").click()
    studio.until("document.querySelectorAll('#texts input').length === 1")
    studio.find("#lesson-name").fill("mice")
    studio.find("input[value='20s']").check()
    studio.find("#learn").click()
    studio.find("#stop-lesson").wait_for()
    studio.page.reload()
    studio.page.set_default_timeout(60_000)
    studio.find("#told").wait_for()
    studio.until("document.querySelector('#lapse').max > 1", 60)
    studio.find("#lapse").fill("0")
    first = studio.find("#told").inner_text()
    assert studio.find(".curve canvas").count() == 4
    assert studio.find(".lesson li").count() > 1
    studio.page.wait_for_timeout(2500)
    assert studio.find("#told").inner_text() == first
    if studio.find("#stop-lesson").is_visible():
        studio.find("#stop-lesson").click()
        studio.find("#delete-lesson").wait_for()
    if studio.find("#resume-lesson").is_visible():
        studio.find("#resume-lesson").click()
        studio.find("#stop-lesson").wait_for()
    studio.find("#write-with").wait_for()
    studio.find("#delete-lesson").wait_for()
    with studio.page.context.expect_page() as coming:
        studio.page.get_by_role("button", name="Report").click()
    coming.value.wait_for_url(re.compile("/models/mice/report"))
    assert coming.value.locator("canvas, svg").count() > 0
    coming.value.close()
    studio.find("#write-with").click()
    studio.until("document.querySelector('#model')?.value === 'mice'")
    studio.go("learn/mice")
    studio.find("#delete-lesson").click()
    studio.find(".confirm .warn").click()
    studio.find("#learn").wait_for()
    assert studio.server.ask("GET", "lessons")["lessons"] == []


# --- inside -----------------------------------------------------------------------------------------------------------


def test_one_looks_inside(opened: Callable[..., Studio]) -> None:
    studio = opened("inside/words")
    studio.find("#sentence").fill("The fox saw a hen")
    studio.find("#look").click()
    studio.until("document.querySelector('#readout')?.textContent.includes('The')")
    studio.find("#heatmap").focus()
    studio.keys("ArrowRight")
    assert "fox" in studio.find("#readout").inner_text()
    unit = re.search(r"unit (\d+)", studio.find("#readout").inner_text())
    studio.keys("ArrowDown")
    assert re.search(r"unit (\d+)", studio.find("#readout").inner_text())[1] != unit[1]
    assert studio.find("#strongest tbody tr").count() == 10
    assert "fox" in studio.find("#strongest caption").inner_text()
    box = studio.find("#heatmap canvas").bounding_box()
    studio.page.mouse.move(box["x"] + box["width"] - 3, box["y"] + 60)
    studio.until("document.querySelector('#readout').textContent.includes('hen')")
    drawn = "document.querySelector('#heatmap canvas').toDataURL()"
    before = studio.page.evaluate(drawn)
    studio.find("#kind").select_option("forget")
    studio.until(f"{drawn} !== {json.dumps(before)}")
    studio.find("#near-word").fill("fox")
    studio.keys("Enter")
    neighbour = studio.find("#neighbours .choice").first
    neighbour.wait_for()
    word = neighbour.locator(".text").inner_text()
    neighbour.click()
    studio.until(f"document.querySelector('#near-word').value === {json.dumps(word)}")


def test_the_picture_goes_through_a_sentence_word_by_word(opened: Callable[..., Studio]) -> None:
    studio = opened("inside/words")
    studio.find("#sentence").fill("The fox saw a hen")
    studio.find("#look").click()
    studio.until("document.querySelector('.read .now')?.textContent === 'The'")
    told = studio.server.ask("POST", "models/words/inside", text="The fox saw a hen")["units"]
    for place, word in enumerate(("The", "fox", "saw")):
        assert studio.find(".read li").all_inner_texts() == ["The", "fox", "saw"][: place + 1]
        assert studio.find(".read .now").inner_text() == word
        shown = [
            one.split("\n")[0].removesuffix("came").strip() for one in studio.find("#expected li").all_inner_texts()
        ]
        wanted = [re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", text) for text, _ in told[place]["next"]]
        assert shown == [text.strip() or "\u2423" for text in wanted]
        squares = studio.page.evaluate("document.querySelector('.cell canvas').toDataURL()")
        studio.find("#picture-on").click()
        assert studio.page.evaluate("document.querySelector('.cell canvas').toDataURL()") != squares
    assert "a" in studio.find("#readout").inner_text()
    studio.find("#picture-play").click()
    studio.until("document.querySelector('.read .now').textContent === 'hen'")
    studio.until("document.querySelector('.read .now').textContent === 'The'")
    studio.find("#picture-play").click()


# --- the shelf --------------------------------------------------------------------------------------------------------


def test_models_on_the_shelf(opened: Callable[..., Studio]) -> None:
    studio = opened()
    studio.find("#typed").wait_for()
    card = "# Tales\n\nA **small** one, <b onclick=alert(1)>`fast`</b>.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    card += "\n- one\n- two\n"
    studio.page.route("**/card", lambda route: route.fulfill(json={"text": card}))
    studio.go("shelf")
    studio.until("document.querySelectorAll('.card').length === 3")
    studio.page.get_by_role("button", name="Its card").first.click()
    shown = studio.find(".markdown")
    shown.wait_for()
    assert shown.get_by_role("heading").inner_text() == "Tales"
    assert "<b onclick=alert(1)>" in shown.inner_text()
    assert shown.locator("b").count() == 0
    assert shown.locator("li").all_inner_texts() == ["one", "two"]
    assert shown.locator("td").all_inner_texts() == ["1", "2"]
    studio.find(".card").filter(has_text="chars").get_by_role("link", name="Write with it").click()
    studio.until("document.querySelector('#model')?.value === 'chars'")
    studio.go("shelf")
    studio.find(".card").filter(has_text="bytes").get_by_role("link", name="Look inside").click()
    studio.until("document.querySelector('#inside-model')?.value === 'bytes'")


def test_drafts_on_the_shelf(opened: Callable[..., Studio], page: Callable[..., Page]) -> None:
    server = page()
    for title in ("One", "Two"):
        draft = server.ask("POST", "drafts", model="words", title=title)
        server.ask("POST", f"drafts/{draft['id']}/act", act="put", text="The fox saw a hen.")
    server.ask("POST", f"drafts/{draft['id']}/act", act="mark", name="here")
    studio = opened("shelf", server=server)
    studio.until("document.querySelectorAll('.draft').length === 2")
    two = studio.find(".draft").filter(has_text="Two")
    assert "bookmarks: 1" in two.inner_text()
    with studio.page.expect_download() as coming:
        two.get_by_role("button", name="Text").click()
    assert coming.value.suggested_filename == "Two.txt"
    two.get_by_role("button", name="Rename").click()
    studio.find(".draft input").fill("Three")
    studio.keys("Enter")
    three = studio.find(".draft").filter(has_text="Three")
    three.wait_for()
    studio.find(".draft").filter(has_text="One").get_by_role("button", name="Delete").click()
    assert studio.page.evaluate("document.activeElement.className") == "no"
    studio.keys("Enter")
    assert len(server.ask("GET", "drafts")["drafts"]) == 2
    studio.find(".draft").filter(has_text="One").get_by_role("button", name="Delete").click()
    studio.find(".confirm .warn").click()
    studio.until("document.querySelectorAll('.draft').length === 1")
    assert [one["title"] for one in server.ask("GET", "drafts")["drafts"]] == ["Three"]
    three.get_by_role("link").click()
    studio.until("document.querySelector('#title')?.value === 'Three'")
