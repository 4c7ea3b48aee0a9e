import json
import math
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fabula.article.page import GATES, render
from fabula.errors import UsageError

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "<!--",
    "__proto__",
    "constructor",
    "\u2028",
    "{{lesson}}",
    "{{language}}",
    "{name}",
    "$&",
    "&lt;b&gt;",
    "\ud800",
    "很长的" * 20,
]
Blocks, Opened = Callable[[str], Any], Callable[..., Any]


def copied_runs(words: list[str], text: list[str], least: int = 3) -> list[dict[str, int]]:
    """The longest copied run from each place on, greedily."""
    runs, start = [], 0
    while start < len(words):
        place, length = 0, 0
        for at in range(len(text)):
            n = 0
            while start + n < len(words) and at + n < len(text) and words[start + n] == text[at + n]:
                n += 1
            if n > length:
                place, length = at, n
        if length >= least:
            runs.append({"start": start, "length": length, "place": place})
        start += max(length, 1)
    return runs


def ceiling(window: int, text: list[str]) -> dict[str, Any]:
    followers: dict[tuple[str, ...], Counter[str]] = {}
    for at in range(len(text) - window):
        followers.setdefault(tuple(text[at : at + window]), Counter())[text[at + window]] += 1
    right, total = sum(max(one.values()) for one in followers.values()), len(text) - window
    return {"window": window, "right": right, "total": total, "share": right / total}


def story(prompt: str, words: str, text: list[str]) -> dict[str, Any]:
    whole = [*prompt.split(), *words.split()]
    runs = copied_runs(whole, text)
    lengths = [run["length"] for run in runs]
    return {
        "prompt": prompt.split(),
        "words": words.split(),
        "runs": runs,
        "share": sum(lengths) / len(whole),
        "longest": max(lengths, default=0),
    }


def inside(text: list[str], window: int, units: int = 48) -> dict[str, Any]:
    """What the cell might hold while it reads, from sines: the page only draws it."""

    def wave(at: int, shift: int, low: float, scale: float) -> list[list[float]]:
        return [
            [low + scale * math.sin(1.7 * unit + 0.6 * (at + k) + shift) ** 3 for unit in range(units)]
            for k in range(window)
        ]

    steps = []
    for at in range(5, 40):
        true = text[at + window]
        said = true if at % 7 else "the"
        others = [word for word in ("the", ",", "and", "said", "mouse", "cat") if word != said][:4]
        shares = [0.93 - at % 5 * 0.1, 0.04, 0.01, 0.005, 0.001]
        steps.append(
            {
                "position": at,
                "context": text[at : at + window],
                "true": true,
                "top": [list(pair) for pair in zip([said, *others], shares, strict=True)],
                "input": wave(at, 1, 0.5, 0.5),
                "forget": wave(at, 2, 0.6, 0.4),
                "output": wave(at, 3, 0.5, 0.5),
                "candidate": wave(at, 4, 0.0, 1.0),
                "cell": wave(at, 5, 0.1, 1.6),
                "hidden": wave(at, 6, 0.0, 0.8),
            }
        )
    return {"units": [7 * unit + 3 for unit in range(units)], "steps": steps}


def stages(text: list[str]) -> list[dict[str, Any]]:
    told = []
    for k in range(1, 51):
        words = [text[(9 + n) % 204] if (n * 31 + 7) % 50 < k else text[(n * k) % 204] for n in range(32)]
        told.append(
            {
                "iteration": k * 1000,
                "stories": [
                    {"prompt": ["had", "a", "general"], "words": words},
                    {"prompt": ["mouse"] * 3, "words": words[::-1]},
                ],
            }
        )
    return told


@pytest.fixture
def lesson(fable: Path) -> dict[str, Any]:
    text = fable.read_text(encoding="utf-8").split()
    curve = [
        {
            "iteration": k * 1000,
            "loss": 4.6 * math.exp(-k / 17) + 0.2 + 0.1 * math.sin(k),
            "accuracy": 0.93 - 0.9 * math.exp(-k / 14) + 0.015 * math.sin(2 * k),
            "context": text[k : k + 3],
            "said": text[k + 3] if k > 9 else "the",
            "true": text[k + 3],
        }
        for k in range(1, 51)
    ]
    verbatim = "council to consider what measures they could take to outwit their common enemy , the cat . some said "
    verbatim += "this , and some said that but at last a young mouse got"
    mixed = ", neighbourhood and could receive a outwit always the neck of the cat . some said this , and some said "
    mixed += "that but at last a young mouse got up and said"
    return {
        "version": "0.1.0",
        "command": "fabula lesson --seed 1",
        "text": {
            "name": fable.name,
            "symbols": text,
            "count": len(text),
            "vocabulary": [word for word, _ in Counter(text).most_common()],
        },
        "experiment": {
            "layers": 1, "hidden": 512, "window": 3, "iterations": 50000, "done": 50000, "seed": 1,
            "optimizer": "rmsprop", "rate": 0.001, "seconds": 43.2, "accuracy": 0.91, "loss": 0.35,
            "curve": curve, "stages": stages(text),
        },
        "article": {
            "points": [
                {"iteration": 49000, "loss": 0.528684, "accuracy": 0.885},
                {"iteration": 50000, "loss": 0.415811, "accuracy": 0.912},
            ],
            "one_layer": 0.906,
            "two_layers": 0.952,
        },
        "stories": [story("had a general", verbatim, text), story("mouse mouse mouse", mixed, text)],
        "ceilings": [ceiling(window, text) for window in range(1, 7)],
        "recipe": {"accuracy": 0.99, "seconds": 0.5, "window": 3},
        "inside": inside(text, 3),
        "tips": [
            {
                "name": "window",
                "title": {"en": "How many words in?", "zh": "看几个词？"},
                "sentence": {"en": "More words in, fewer doubts.", "zh": "看得越多，疑问越少。"},
                "columns": [
                    {"en": "words", "zh": "词数"},
                    {"en": "accuracy", "zh": "准确率"},
                    {"en": "remark", "zh": "备注"},
                ],
                "rows": [["1", "61.2% ± 0.4", {"en": "a guess", "zh": "瞎猜"}], ["3", "91.0% ± 0.9", "–"]],
            }
        ],
    }  # fmt: skip


@pytest.fixture
def hostile(lesson: dict[str, Any]) -> dict[str, Any]:
    """The same lesson, its words exchanged for ones that try to get out of their place."""
    words = list(HOSTILE)
    lesson["text"].update(name=HOSTILE[0], symbols=words * 3, count=9000, vocabulary=words)
    for step in lesson["inside"]["steps"]:
        step.update(context=words[:3], true=words[3], top=[[word, 0.2] for word in words[:5]])
    for point in lesson["experiment"]["curve"]:
        point.update(context=words[:3], said=words[0], true=words[2])
    for stage in lesson["experiment"]["stages"]:
        stage["stories"] = [{"prompt": words[:3], "words": words}]
    run = {"start": 3, "length": 5, "place": 4}
    lesson["stories"] = [{"prompt": words[:3], "words": words, "runs": [run], "share": 0.3, "longest": 5}]
    lesson["tips"][0].update(title=words[0], sentence={"en": words[0], "zh": words[0]}, rows=[[words[0], "1", "2"]])
    return lesson


def test_it_is_one_small_page_that_carries_the_lesson(lesson: dict[str, Any], blocks: Blocks) -> None:
    page = render(lesson, "en")
    read = blocks(page)
    carried = json.loads(read.scripts["lesson"])
    assert carried["text"] == lesson["text"]
    assert carried["stories"][0]["words"] == lesson["stories"][0]["words"]
    assert carried["article"]["points"][0]["loss"] == 0.5287  # four figures
    assert len(page.encode()) < 500_000
    assert len(render({}, "en").encode()) < 62_000
    assert "{{" not in page


def test_the_longest_run_still_makes_a_page_that_can_be_mailed(lesson: dict[str, Any], blocks: Blocks) -> None:
    symbols, experiment = lesson["text"]["symbols"], lesson["experiment"]
    lesson["text"].update(symbols=(symbols * 10)[:2000], count=2040)
    experiment.update(iterations=150_000, done=150_000, curve=experiment["curve"] * 3, stages=experiment["stages"] * 3)
    lesson["inside"] = inside(symbols, 12)
    page = render(lesson, "en")
    assert len(page.encode()) < 500_000
    carried = json.loads(blocks(page).scripts["lesson"])
    assert len(carried["experiment"]["stages"]) == 75
    assert carried["experiment"]["stages"][-1]["iteration"] == 50_000
    assert len(carried["inside"]["steps"]) == 23
    assert carried["inside"]["steps"][0]["cell"][0][0] == round(1000 * lesson["inside"]["steps"][0]["cell"][0][0])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_opens_in_the_language_asked_for(lesson: dict[str, Any], language: str, blocks: Blocks) -> None:
    assert blocks(render(lesson, language)).tags[0] == ("html", {"lang": language})


@pytest.mark.parametrize("language", ["", "de", "EN", "zh\n"])
def test_another_language_is_one_line(language: str) -> None:
    with pytest.raises(UsageError, match="must be one of en, zh") as caught:
        render({}, language)
    assert "\n" not in str(caught.value)


def test_words_that_look_like_markup_stay_words(hostile: dict[str, Any], blocks: Blocks) -> None:
    page = render(hostile, "en")
    page.encode()  # a lone surrogate would not go into the file
    read = blocks(page)
    assert json.loads(read.scripts["lesson"])["text"]["vocabulary"] == HOSTILE
    assert not re.search("[<>&]", read.scripts["lesson"])
    assert [tag for tag, _ in read.tags] == [tag for tag, _ in blocks(render({}, "en")).tags]
    assert "\u2028" not in page


def test_what_json_does_not_know_becomes_null(blocks: Blocks) -> None:
    page = render({"experiment": {"loss": math.nan, "curve": ({"loss": -math.inf},)}}, "en")
    assert json.loads(blocks(page).scripts["lesson"]) == {"experiment": {"loss": None, "curve": [{"loss": None}]}}


def test_both_languages_say_the_same_things(blocks: Blocks) -> None:
    read = blocks(render({}, "en"))
    strings = json.loads(read.scripts["strings"])
    assert strings.keys() == {"en", "zh"}
    assert strings["en"].keys() == strings["zh"].keys()
    assert len(strings["en"]["words"]) == len(strings["zh"]["words"])
    slots = {
        language: {key: set(re.findall(r"\{\w+\}", str(value))) for key, value in table.items()}
        for language, table in strings.items()
    }
    assert slots["en"] == slots["zh"]
    for language, table in strings.items():
        han = {key for key, value in table.items() if re.search(r"[\u4e00-\u9fff]", str(value))}
        assert (han - {"switch", "switch_label"} == set()) is (language == "en")


def test_every_string_the_script_asks_for_is_there_and_none_is_idle(blocks: Blocks) -> None:
    read = blocks(render({}, "en"))
    strings, script = json.loads(read.scripts["strings"])["en"], read.scripts[None]
    named = set(re.findall(r'"(\w+)"', script)) | {f"{part}_title" for part in re.findall(r'section\("(\w+)"', script)}
    built = {f"{part}_{gate}" for part in ("gate", "say") for gate in GATES}
    built |= {f"tip_{name}" for name in re.findall(r'"(\w+)"', re.findall(r"const TIPS = (.*);", script)[0])}
    assert len(built) == 22
    assert strings.keys() - named == built - named
    assert set(re.findall(r'\b(?:say|tell)\("(\w+)"[,)]', script)) <= strings.keys()


def test_nothing_is_loaded_from_anywhere(lesson: dict[str, Any], blocks: Blocks) -> None:
    page = render(lesson, "en")
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


def test_everything_on_it_can_be_worked(lesson: dict[str, Any], opened: Opened) -> None:
    page, symbols = opened(render(lesson, "en")), lesson["text"]["symbols"]
    assert page.locator("section").count() == 9
    assert page.locator("h1").inner_text() == "Three words in, one word out"
    page.locator("#step-forth").click()
    assert page.locator("#place").input_value() == "1"
    assert page.locator("#path-picture .chip").first.inner_text() == lesson["inside"]["steps"][1]["context"][0]
    page.locator("#place").focus()
    page.keyboard.press("End")
    assert lesson["inside"]["steps"][-1]["true"] in page.locator("#cell-picture svg").get_attribute("aria-label")
    page.locator("#point").focus()
    page.keyboard.press("Home")
    assert page.locator("#curve-readout").inner_text().startswith("Step 1,000:")
    page.locator("#stage").focus()
    last = page.locator("#lapse-stories").inner_text()
    page.keyboard.press("Home")
    assert page.locator("#lapse-stories").inner_text() != last
    before = page.locator("#gate-said").inner_text()
    page.locator("#gate-cell").click()
    assert page.locator("#gate-cell").get_attribute("aria-pressed") == "true"
    assert page.locator("#gate-said").inner_text() != before
    page.locator("#heat").focus()
    page.keyboard.press("ArrowDown")
    value = f"{lesson['inside']['steps'][-1]['cell'][-1][1]:.3f}".replace("-", "−")
    assert page.locator("#heat-readout").inner_text().startswith(f"Unit 10, after “{symbols[41]}”: {value}\n")
    page.locator(".run").first.hover()
    assert page.locator("#source .on").count() == 35
    assert "from word 6 of" in page.locator("#run-readout").inner_text()
    page.locator("#play").click()
    assert page.locator("#play").inner_text() == "Pause"


def test_the_language_changes_on_the_spot_and_keeps_the_place(lesson: dict[str, Any], opened: Opened) -> None:
    page = opened(render(lesson, "en"))
    page.locator("#step-forth").click()
    page.locator("#language").click()
    assert page.locator("html").get_attribute("lang") == "zh"
    assert page.locator("h1").inner_text() == "读三个词，猜下一个"
    assert page.locator("#place").input_value() == "1"
    assert "看几个词？" in page.locator("#tips").inner_text()
    page.locator("#language").click()
    assert page.locator("html").get_attribute("lang") == "en"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_fits_a_phone(lesson: dict[str, Any], opened: Opened, language: str) -> None:
    page = opened(render(lesson, language), 390)
    page.wait_for_function("document.documentElement.scrollWidth <= 390")  # a new size comes to a page in its time


def test_hostile_words_do_nothing(hostile: dict[str, Any], opened: Opened) -> None:
    page = opened(render(hostile, "zh"), 390)
    assert page.locator("img").count() == 0
    page.wait_for_function("document.documentElement.scrollWidth <= 390")  # a new size comes to a page in its time
    assert HOSTILE[0] in page.locator("#stories").inner_text()


def test_an_interrupted_run_leaves_parts_out_and_says_so(lesson: dict[str, Any], opened: Opened) -> None:
    lesson["experiment"].update(done=700, curve=[], stages=[], accuracy=None, loss=None)
    lesson.update(inside=None, recipe=None, stories=[], article=None, tips=[])
    page = opened(render(lesson, "en"))
    assert "stopped after 700 of 50,000" in page.locator("main").inner_text()
    assert page.locator("section").evaluate_all("all => all.map(one => one.id)") == ["numbers", "next"]


def test_long_windows_and_small_networks_are_drawn(lesson: dict[str, Any], opened: Opened) -> None:
    symbols = lesson["text"]["symbols"]
    lesson["experiment"].update(window=8, hidden=5, iterations=5000, done=5000, layers=2)
    lesson["experiment"]["curve"] = lesson["experiment"]["curve"][:5]
    lesson["inside"] = inside(symbols, 8, 5)
    page = opened(render(lesson, "en"), 390)
    assert page.locator("#cell-picture svg > g > rect").count() >= 8
    assert "beyond the right edge" in page.locator("#curves").inner_text()
    page.wait_for_function("document.documentElement.scrollWidth <= 390")  # a new size comes to a page in its time
