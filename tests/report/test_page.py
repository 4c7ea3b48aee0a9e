"""The page itself: what it carries, that it stays data, and how it behaves in a browser."""

import dataclasses
import json
import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fabula.config import SECTIONS
from fabula.errors import UsageError
from fabula.report.page import carried, render

HOSTILE = [
    "</script><img src=x onerror=alert(1)>", "<!--", "__proto__", "\u2028", "{{report}}", "{names}", "$&", "&lt;b&gt;",
    "\ud800", "很长的" * 60, "a" * 300,
]  # fmt: skip
NOW = 1_800_000_000
"""The moment at which the browser opens a page."""

ENDINGS = ("time", "steps", "epochs", "learned", "early", "interrupted", "diverged", "failed", "unknown", None)
Blocks, Opened = Callable[[str], Any], Callable[..., Any]


@pytest.fixture
def report() -> dict[str, Any]:
    """A training of a minute, from formulas: it grows worse towards its end."""
    measured = [
        {
            "step": 100 * n, "progress": n / 12, "seconds": 5.0 * n, "train_loss": 7 * 0.8**n + 2,
            "train_accuracy": 0.5 * (1 - 0.8**n), "held_out_bits_per_byte": 1.6 + 1.8 * 0.6**n + max(0, n - 9) / 40,
            "held_out_accuracy": 0.4 * (1 - 0.8**n), "tokens_per_second": 16000.0 + 50 * n,
            "lr": 0.002 * (1 + math.cos(math.pi * n / 12)),
        }
        for n in range(1, 13)
    ]  # fmt: skip
    chosen = {"unit": "words", "paths": ["train.txt"], "hidden": 512, "layers": 1, "cell": "lstm", "time": 60.0,
              "lr": 0.004, "batch": 16, "length": 32, "head": "tied"}  # fmt: skip
    return {
        "version": "0.1.0", "name": "tales-model", "folder": "my models/tales-model", "resumable": False,
        "state": {"ended": "time", "error": None, "progress": 1.0, "seconds": 60.2, "written": 1},
        "settings": [
            [section, field.name, chosen[field.name], field.metadata["about"]]
            for section, kind in SECTIONS.items()
            for field in dataclasses.fields(kind)
            if field.name in chosen
        ],
        "parameters": 2245676, "precision": "bf16", "unit": "words", "vocabulary": 2092, "opening": "In old times",
        "notes": ["401 stories, by '# Title' lines", "kept aside: 16 of 401 stories"],
        "about": {
            "steps": 1200, "stopped": "time", "by_heart": False, "train_accuracy": 0.41, "parameters": 2245676,
            "learned_from": {"bytes": 4378982, "chars": 4338839, "words": 830254, "stories": 385},
            "held_out": {"bits_per_byte": 1.62, "accuracy": 0.36, "tokens": 41346, "bytes": 142096},
        },
        "baseline": 1.81,
        "steps": [
            [step, step / 20, 8 * 0.998**step + 2, 0.4 * step / 1200, 0.004 * (1 - step / 1200), 16000.0]
            for step in range(5, 1205, 5)
        ],
        "metrics": measured,
        "samples": [
            {"step": row["step"], "seconds": row["seconds"], "prompt": "In old times", "text": f" story {n}\nof it"}
            for n, row in enumerate(measured)
        ],
    }  # fmt: skip


def hostile(report: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """The same training, with words of others wherever such may stand."""
    report.update(name=words[0], folder=words[0], opening=words[-1], notes=words, precision=words[1], unit="chars")
    report["settings"][0][2], report["settings"][1][2] = words[2], words
    report["state"].update(ended="failed", error=words[0])
    for sample, word in zip(report["samples"], words, strict=False):
        sample.update(prompt=word, text=word)
    return report


def test_it_is_one_small_page_that_carries_the_training(report: dict[str, Any]) -> None:
    page = render(report, "en")
    assert len(page.encode()) < 100_000
    assert len(render({}).encode()) < 50_000
    assert "{{" not in page
    assert carried(page)["settings"] == report["settings"]
    assert carried(page)["metrics"][0]["train_loss"] == 7.6
    assert carried(page)["language"] == "en"


@pytest.mark.parametrize("text", ["", "<html>", '<script type="application/json" id="report">{"a":</script>',
                                  '<script type="application/json" id="report">[1]</script>'])  # fmt: skip
def test_what_is_no_page_of_ours_carries_nothing(text: str) -> None:
    assert carried(text) == {}


def test_it_opens_in_the_language_asked_for(blocks: Blocks) -> None:
    for language in ("en", "zh"):
        assert blocks(render({}, language)).tags[0] == ("html", {"lang": language})
    for wrong in ("", "de", "zh\n"):
        with pytest.raises(UsageError, match="must be one of en, zh") as caught:
            render({}, wrong)
        assert "\n" not in str(caught.value)


def test_words_that_look_like_markup_stay_words(report: dict[str, Any], blocks: Blocks) -> None:
    page = render(hostile(report, HOSTILE))
    page.encode()  # a lone surrogate would not go into the file
    read = blocks(page)
    assert carried(page)["notes"] == HOSTILE
    assert not re.search("[<>&\u2028]", read.scripts["report"])
    assert [tag for tag, _ in read.tags] == [tag for tag, _ in blocks(render({})).tags]


def test_what_json_does_not_know_becomes_null() -> None:
    assert carried(render({"metrics": ({"a": math.nan, "b": -math.inf},)}))["metrics"] == [{"a": None, "b": None}]


def test_both_languages_say_the_same_things(blocks: Blocks) -> None:
    strings = json.loads(blocks(render({})).scripts["strings"])
    assert strings.keys() == {"en", "zh"}
    assert strings["en"].keys() == strings["zh"].keys()
    for key, english in strings["en"].items():
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", strings["zh"][key])), key
    for language, table in strings.items():
        han = {key for key, value in table.items() if re.search(r"[\u4e00-\u9fff]", value)}
        assert (han - {"switch", "switch_label"} == set()) is (language == "en")


def test_every_string_the_script_asks_for_is_there_and_none_is_idle(blocks: Blocks) -> None:
    read = blocks(render({}))
    strings, script = json.loads(read.scripts["strings"])["en"], read.scripts[None]
    parts = re.findall(r'section\("(\w+)"', script)
    named = set(re.findall(r'"(\w+)"', script)) | {f"{part}_title" for part in parts}
    rest = {key for key in strings.keys() - named if not re.match("(end|note|read|next)_", key)}
    assert rest == set()
    assert set(re.findall(r'\b(?:say|tell)\("(\w+)"[,)]', script)) <= strings.keys()
    assert {f"end_{how}" for how in (*ENDINGS[:-1], "running", "lost")} <= strings.keys()


def test_every_setting_has_its_meaning_in_chinese(blocks: Blocks) -> None:
    """A new setting needs a line in the `meanings` of page.html, and one that is gone takes its line along."""
    meanings = json.loads(blocks(render({})).scripts["meanings"])
    known = {f"{name}.{field.name}" for name, kind in SECTIONS.items() for field in dataclasses.fields(kind)}
    assert known == meanings.keys()
    assert all(re.search(r"[\u4e00-\u9fff]", meaning) for meaning in meanings.values())


def test_nothing_is_loaded_from_anywhere(report: dict[str, Any], blocks: Blocks) -> None:
    page = render(report)
    assert set(re.findall(r"\w+://[^\s\"'<]+", page)) == {"http://www.w3.org/2000/svg"}  # a name, not a place
    assert not re.search(
        r"url\(|@import|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|fetch\(|import\(", page
    )
    for tag, attributes in blocks(page).tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base"}
        assert not attributes.keys() & {"src", "srcset", "href"}
    policy = next(a["content"] for _, a in blocks(page).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none';")


# --- in a browser --------------------------------------------------------------------------------------------------


@pytest.fixture
def shown(opened: Opened) -> Opened:
    """Opens a report at its moment."""

    def show(report: dict[str, Any], language: str | None = "en", **options: Any) -> Any:
        return opened(render(report, language), now=NOW, **options)

    return show


def test_everything_on_it_can_be_worked(report: dict[str, Any], shown: Opened) -> None:
    page = shown(report)
    assert page.locator("h1").inner_text() == "What tales-model learned from train.txt"
    assert "1.62" in page.locator(".figures").inner_text()
    judged = page.locator("#judged").inner_text()
    assert "better by 0.19" in judged
    assert "best at step 900" in judged
    assert page.locator("section").evaluate_all("all => all.map(one => one.id)") == [
        "curves", "lapse", "chosen", "corpus", "next",
    ]  # fmt: skip
    assert page.locator("#panel-bits svg").get_attribute("aria-label").endswith("best 1.618")
    assert page.locator("#best-mark").count() == 1
    assert "n-gram 1.810" in page.locator("#panel-bits").inner_text()
    page.locator("#point").focus()
    page.keyboard.press("Home")
    assert page.locator("#readout").inner_text().startswith("Step 100, 5.0 s\n2.680 bits per byte")
    page.locator("#by-seconds").click()
    assert page.locator("#by-seconds").get_attribute("aria-pressed") == "true"
    assert "60 s" in page.locator("#panel-bits").inner_text()
    page.locator("#stage").focus()
    page.keyboard.press("Home")
    assert page.locator("#told").inner_text() == "In old times story 0\nof it"
    page.locator("#play").click()
    assert page.locator("#play").inner_text() == "Pause"
    page.clock.run_for(1600 * 13)
    assert page.locator("#play").inner_text() == "Play"
    assert page.locator("#stage").input_value() == "11"
    page.locator("summary").click()
    assert page.locator("#settings tbody tr").count() == len(report["settings"])
    assert "fabula train --config 'my models/tales-model/training.toml' -o 'my models/tales-model-2' --time 120s" in (
        page.locator("#next").inner_text()
    )


def test_the_language_changes_on_the_spot_and_keeps_the_place(report: dict[str, Any], shown: Opened) -> None:
    page = shown(report, None)
    page.locator("#stage").focus()
    page.keyboard.press("Home")
    page.locator("#language").click()
    assert page.locator("html").get_attribute("lang") == "zh"
    assert page.locator("h1").inner_text() == "tales-model 从 train.txt 学到了什么"
    assert page.locator("#stage").input_value() == "0"
    page.locator("summary").click()
    assert "每层的单元数" in page.locator("#settings").inner_text()
    assert shown(report, None, locale="zh-CN").locator("html").get_attribute("lang") == "zh"
    assert shown(report, "en", locale="zh-CN").locator("html").get_attribute("lang") == "en"


def test_a_page_of_a_running_training_renews_itself_and_keeps_the_place(
    report: dict[str, Any], shown: Opened, tmp_path: Path
) -> None:
    report["state"].update(ended=None, progress=0.5, seconds=30.0, written=NOW)
    report.update(about={})
    page = shown(report)
    assert re.search("50% done, about (28|29|30) s left", page.locator("#status").inner_text())
    page.locator("#stage").focus()
    for key in ("Home", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    told = page.locator("#told").inner_text()
    page.locator("#language").click()
    page.locator("#stage").focus()
    report["samples"].insert(0, {"step": 1, "seconds": 0.1, "prompt": "In old times", "text": " nothing"})
    report["name"] = "renewed"
    (tmp_path / "page.html").write_text(render(report), encoding="utf-8")
    page.clock.run_for(5100)
    # Not `wait_for_function`: it evaluates a string in the page, which the page's own policy forbids.
    for _ in range(100):
        if "renewed" in page.title():
            break
        time.sleep(0.05)
    assert page.locator("#told").inner_text() == told
    assert page.locator("#stage").input_value() == "3"
    assert page.locator("html").get_attribute("lang") == "zh"
    assert page.evaluate("document.activeElement.id") == "stage"
    report["state"].update(ended="time")
    (tmp_path / "page.html").write_text(render(report), encoding="utf-8")
    page.clock.run_for(5100)
    page.locator("#status").wait_for(state="detached")
    page.evaluate("window.still = true")
    page.clock.run_for(60_000)
    assert page.evaluate("window.still") is True


def test_a_running_page_waits_while_a_story_is_played(report: dict[str, Any], shown: Opened) -> None:
    report["state"].update(ended=None, progress=0.5, seconds=30.0, written=NOW)
    page = shown(report)
    page.locator("#play").click()
    page.evaluate("window.still = true")
    page.clock.run_for(9000)
    assert page.evaluate("window.still") is True


def test_a_page_without_news_says_so(report: dict[str, Any], shown: Opened) -> None:
    report["state"].update(ended=None, progress=0.5, written=NOW - 3600)
    report.update(about={}, resumable=True)
    page = shown(report)
    assert "No news of this training for 1 h" in page.locator("#status").inner_text()
    assert "fabula train --resume 'my models/tales-model'\n" in page.locator("#next").inner_text() + "\n"


@pytest.mark.parametrize(
    ("left", "ended"),
    [
        *(("all", how) for how in ENDINGS),
        *((left, how) for left in ("one", "steps", "nothing") for how in ("time", "interrupted", None)),
    ],
)
def test_every_ending_gives_a_sensible_page(
    report: dict[str, Any], shown: Opened, left: str, ended: str | None
) -> None:
    report["state"].update(ended=ended, written=NOW)
    if left == "one":
        for name in ("metrics", "samples", "steps"):
            report[name] = report[name][:1]
    if left in {"steps", "nothing"}:
        report.update(metrics=[], samples=[], about={}, baseline=None)
    if left == "nothing":
        report.update(steps=[], settings=[], notes=[], parameters=None, state={"ended": ended})
    page = shown(report, width=390)
    said = page.locator("body").inner_text()
    assert not re.search(r"NaN|undefined|null|Infinity|\[object", said)
    page.wait_for_function("document.documentElement.scrollWidth <= 390")  # a new size comes to a page in its time
    sections = page.locator("section").evaluate_all("all => all.map(one => one.id)")
    assert ("curves" in sections) is (left != "nothing")
    assert not re.search("NaN|Infinity", page.locator("main").evaluate("main => main.innerHTML"))


def test_a_text_learned_by_heart(report: dict[str, Any], shown: Opened) -> None:
    for row in report["metrics"]:
        row.update(held_out_bits_per_byte=None, held_out_accuracy=None)
    report["state"].update(ended="learned")
    report["about"].update(held_out=None, by_heart=True, train_accuracy=1.0)
    report["baseline"] = None
    page = shown(report)
    assert "100%" in page.locator(".figures").inner_text()
    assert "Nothing was kept aside" in page.locator("#lead").inner_text()
    assert page.locator("#panel-bits").count() == 0
    assert "nothing was kept aside" in page.locator("#corpus").inner_text()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_hostile_words_do_nothing_and_fit_a_phone(report: dict[str, Any], shown: Opened, language: str) -> None:
    page = shown(hostile(report, HOSTILE), language, width=390)
    assert page.locator("img").count() == 0
    page.wait_for_function("document.documentElement.scrollWidth <= 390")  # a new size comes to a page in its time
    assert HOSTILE[0] in page.locator("h1").inner_text()
    page.locator("summary").click()
    page.wait_for_function("document.documentElement.scrollWidth <= 390")  # a new size comes to a page in its time
