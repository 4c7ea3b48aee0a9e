"""What `fabula inspect` finds."""

import json
import random
from pathlib import Path

import pytest

from fabula.config import TextConfig
from fabula.text import inspect_library, read_library, recommend_unit
from fabula.text.advice import HOPES, hope_for
from fabula.text.boilerplate import find_boilerplate
from fabula.text.duplicates import find_duplicates
from fabula.text.languages import guess_language
from fabula.text.library import Library
from fabula.text.scripts import script_shares
from fabula.text.stories import Story

AUTO = TextConfig()


def library(*texts: str) -> Library:
    return Library(tuple(Story(text, "x") for text in texts), (), "")


def test_the_fable(fable: Path) -> None:
    found = inspect_library(read_library([fable], AUTO))
    assert (found.stories, found.words, found.shortest, found.longest, found.distinct_words) == (1, 204, 204, 204, 109)
    assert (found.language, found.scripts, found.unit) == ("en", {"Latin": 1.0}, "symbols")
    assert "by heart" in found.hope
    assert found.sources[0].size == 978  # with its final line break
    assert found.bytes == found.characters == 977
    assert json.loads(json.dumps(found.to_json()))["sources"][0]["encoding"] == "utf-8"


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("aesop/valid.txt", "en"),
        ("liaozhai/valid.txt", "lzh-Hans"),
        ("other_languages/lafontaine_fables_fr.txt", "fr"),
        ("other_languages/andersen_maerchen_de.txt", "de"),
        ("other_languages/tinystories_ru_1MB.txt", "ru"),
        ("other_languages/neko_clean_ja.txt", "ja"),
    ],
)
def test_languages_of_real_texts(shared_data: Path, path: str, language: str) -> None:
    opening = read_library([shared_data / path], AUTO).opening()
    assert guess_language(opening, script_shares(opening)) == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Había una vez un rey que no tenía hijos y vivía con la reina en el castillo", "es"),
        ("C'era una volta un re che non aveva figli e viveva con la regina nel castello", "it"),
        ("Era uma vez um rei que não tinha filhos e vivia com a rainha em um castelo", "pt"),
        ("Er was eens een koning die geen kinderen had en met de koningin in het kasteel woonde", "nl"),
        ("Det var en gång en kung som inte hade några barn och bodde med sin drottning på ett slott", "sv"),
        ("Był sobie raz król, który nie miał dzieci, ale się nie martwił, bo jego żona też nie", "pl"),
        ("很久以前，老鼠们开了一次大会，商量怎样对付它们的敌人", "zh-Hans"),
        ("很久以前，老鼠們開了一次大會，商量怎樣對付牠們的敵人", "zh-Hant"),
        ("公言：文宗未臨，何遽得考？吏不言，但敦促之。公乃從其言而去也", "lzh-Hant"),
        ("むかしむかし、ねずみたちが会議を開きました", "ja"),
        ("東京都知事選挙管理委員会は本日会議を開催", "ja"),
        ("옛날 옛적에 쥐들이 모여서 의논하였습니다", "ko"),
        ("กาลครั้งหนึ่งนานมาแล้ว", "th"),
        ("كان يا ما كان فأر صغير", "ar"),
        ("एक समय की बात है", "hi"),
        ("Колись давно миші зібралися на раду", "uk"),
        ("xyzzy plugh frobnicate", "unknown"),
        ("the xyzzy of the " + "plugh foo bar baz qux corge grault waldo fred thud " * 5, "unknown"),
        ("გამარჯობა", "unknown"),
        ("12 34", "unknown"),
    ],
)
def test_languages(text: str, language: str) -> None:
    assert guess_language(text, script_shares(text)) == language


def test_duplicates() -> None:
    rng = random.Random(1)
    texts = [" ".join(rng.choices("abcdefghijklmn", k=80)) for _ in range(200)]
    texts[50] = f" {texts[10]}\n"
    texts[60] = texts[20] + " and one more word"
    texts[70] = texts[60]
    texts[80] = "　".join(texts[30].upper().split())
    found = find_duplicates(texts)
    assert found.exact == [(50, 10), (70, 60)]
    assert [(a, b) for a, b, _ in found.near] == [(30, 80), (20, 60)]
    assert found.near[0][2] == 1.0
    halves = [" ".join(rng.choices("opqrstuvwxyz", k=60)) for _ in range(120)]
    assert find_duplicates([f"{halves[i % 40]} {half}" for i, half in enumerate(halves[40:])]).near == []
    assert find_duplicates([]) == find_duplicates(["one text"])
    assert find_duplicates(["a b", "a c", ""]).near == []


def test_duplicates_in_chinese() -> None:
    text = "很久以前老鼠们开了一次大会商量怎样对付它们共同的敌人猫一只老老鼠说谁去给猫系铃铛呢"
    assert [(a, b) for a, b, _ in find_duplicates([text, "别的故事说的是别的事情和别的人", f"{text}吗"]).near] == [
        (0, 2)
    ]


def test_boilerplate() -> None:
    texts = [
        "*** START OF THE PROJECT GUTENBERG EBOOK 1 ***\na tale",
        "a tale\nCopyright 1999, ISBN 3-16-148410-0",
        "see https://example.org/x\nAccept all cookies <br/>",
        "a bell \x07 \ufffd Ã© â€œ",
        *(f"The Little Blue Book\ntale number {i}" for i in range(8)),
    ]
    found = {finding.kind: finding for finding in find_boilerplate(texts)}
    assert {kind: finding.count for kind, finding in found.items()} == {
        "Project Gutenberg licence": 1, "copyright or imprint": 2, "web addresses": 1, "page furniture": 1, "markup": 1,
        "control characters": 1, "U+FFFD in place of lost characters": 1, "text decoded twice": 2,
        "line repeated in many stories": 8,
    }  # fmt: skip
    assert found["line repeated in many stories"].example == "The Little Blue Book"
    assert found["control characters"].example == "a bell \\x07 \ufffd Ã© â€œ"
    assert find_boilerplate(["a plain tale — with ‘quotes’ and été"] * 3) == []


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("the cat , and the dog . so it went : on and on , until the end .", "symbols"),
        ("The cat, and the dog. So it went: on and on, until the end.", "words"),
        ("老鼠们 ， 开了 一次 大会 。", "chars"),
        ("A long and normal text. " * 1000, "subwords"),
        ("a long text , with room around it . " * 1000, "subwords"),
        ("กาลครั้งหนึ่งนานมาแล้ว " * 60_000, "chars"),
        ("a long text of <unk> words and others . " * 1000, "words"),
    ],
)
def test_recommended_units(text: str, unit: str) -> None:
    recommended, reason = recommend_unit(library(text))
    assert recommended == unit
    assert reason


def test_hopes_rise() -> None:
    assert [hope_for(int(limit) - 1) for limit, _ in HOPES[:-1]] == [sentence for _, sentence in HOPES[:-1]]
    assert hope_for(10**9) == HOPES[-1][1]


def test_many_stories_are_counted() -> None:
    found = inspect_library(
        library(*(f"# Tale {i}\n\nonce number{i} upon a time" for i in range(2000)), "once more", "once " * 99)
    )
    assert (found.stories, found.shortest, found.median, found.longest) == (2002, 2, 8, 99)
    assert found.exact_duplicates == 0
