"""A text as the article reads it."""

from pathlib import Path

import pytest

from fabula.article.material import check, fable, from_text, read
from fabula.errors import TextError, UnknownSymbolError, UsageError


def test_the_fable_is_the_articles() -> None:
    material = fable()
    assert (len(material.symbols), len(material.vocabulary)) == (204, 112)
    assert material.vocabulary[:2] == (",", "the")
    assert material.ids[:3].tolist() == [material.vocabulary.index(word) for word in ("long", "ago", ",")]
    assert material.is_fable
    assert material.prompts(3) == ["had a general", "mouse mouse mouse"]
    assert material.prompts(1) == ["had", "mouse"]
    assert [f"{100 * c['share']:.1f}" for c in material.ceilings(range(1, 7))] == [
        "64.0", "91.6", "99.0", "99.5", "99.5", "100.0",
    ]  # fmt: skip


def test_the_articles_first_story_is_all_copied() -> None:
    story = (
        "council to consider what measures they could take to outwit their common enemy , the cat . some said this , "
        "and some said that but at last a young mouse got"
    )
    told = story.split(" ")
    found = fable().copied(["had", "a", "general"], told)
    assert (len(told), found.share, found.longest) == (32, 1.0, 35)


def test_a_text_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("one two three two one\n\nlittle little pigs went", encoding="utf-8")
    material = read(path)
    assert material.symbols == ("one", "two", "three", "two", "one", "little", "little", "pigs", "went")
    assert not material.is_fable
    assert material.prompts(2) == ["three two", "little little"]
    assert material.text(["a", "b"]) == "a b"


def test_chinese_is_split_into_characters() -> None:
    material = from_text("老鼠说:谁去?\n老鼠不说。", "zh")
    assert material.symbols == tuple("老鼠说:谁去?老鼠不说。")
    assert material.text(["老", "鼠"]) == "老鼠"
    assert material.encode("老 鼠说", 2) == [material.vocabulary.index("鼠"), material.vocabulary.index("说")]


def test_prompts_that_cannot_be() -> None:
    with pytest.raises(UnknownSymbolError, match=r"'mouze'.*'mouse'"):
        fable().encode("the old mouze", 3)
    with pytest.raises(UsageError, match=r"at least 3 symbols.*got 2"):
        fable().encode("the cat", 3)
    assert len(fable().encode("and then the old mouse said", 3)) == 3


def test_a_text_must_be_longer_than_the_window() -> None:
    material = from_text("one two three", "short")
    check(material, 2)
    with pytest.raises(TextError, match="more than 3 symbols"):
        check(material, 3)
