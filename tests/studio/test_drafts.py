"""Drafts: what is told is the table's story, branches stay, and the store has all of it at every moment."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fabula.errors import UsageError
from fabula.serve.refusals import Refusal
from fabula.studio.routes import Studio
from fabula.table import Desk, Table


def texts(view: dict[str, Any]) -> str:
    return "".join(word[1] for word in view["words"])


def tell(studio: Studio, id_: str, stretch: str = "sentence", **options: Any) -> list[dict[str, Any]]:
    return list(studio.drafts.tell(id_, stretch, stop=lambda: False, **options))


@pytest.fixture
def draft(studio: Studio) -> str:
    id_ = studio.drafts.new("words", "  First\tone\n")["id"]
    studio.drafts.act(id_, "put", text="The fox")
    return id_


def test_what_is_told_is_what_the_writing_table_tells(studio: Studio, draft: str) -> None:
    *events, last = tell(studio, draft)
    desk = Desk(studio.shelf.teller("words"), Table(), studio.shelf.teller("words").settings.sampling)
    desk.put_down("The fox")
    told = [desk.table.words[word].text for word in desk.tell("sentence")]
    assert [one["word"][1] for one in events if "word" in one] == told
    view = last["view"]
    assert texts(view) == desk.table.text
    assert (view["gap"], view["offered"], view["title"]) == (2, [2, 2 + len(told)], "First one")
    assert all(word[3] is not None for word in view["words"])
    assert [word[2] for word in view["words"]] == [1, 1] + [0] * len(told)


def test_words_sentences_and_all_are_accepted(studio: Studio, draft: str) -> None:
    tell(studio, draft, "sentence")
    tell(studio, draft, "sentence")
    view = studio.drafts.act(draft, "keep", stretch="word")
    assert view["offered"] is not None
    assert view["gap"] == view["offered"][0]
    before = view["gap"]
    view = studio.drafts.act(draft, "keep", stretch="word")
    assert view["gap"] == before + 1
    view = studio.drafts.act(draft, "keep", stretch="all")
    assert view["gap"] == len(view["words"])
    assert view["offered"] is None


def test_again_tells_something_else_and_keeps_what_was_told_as_a_branch(studio: Studio, draft: str) -> None:
    first = texts(tell(studio, draft)[-1]["view"])
    second = tell(studio, draft, again=True)[-1]["view"]
    assert texts(second) != first
    assert texts(second).startswith("The fox")
    nodes = studio.drafts.tree(draft)
    assert sum(node["on_path"] for node in nodes) >= 1
    leaf = next(node for node in nodes if not node["on_path"] and not any(o["parent"] == node["id"] for o in nodes))
    assert texts(studio.drafts.act(draft, "visit", word=leaf["word"])) == first
    assert texts(studio.drafts.act(draft, "undo")) == texts(second)


def test_another_word_is_taken_and_its_story_follows(studio: Studio, draft: str) -> None:
    view = tell(studio, draft)[-1]["view"]
    choices = studio.drafts.choices(draft, 2)
    assert [one["chance"] for one in choices[:9]] == sorted((one["chance"] for one in choices[:9]), reverse=True)
    other = next(one for one in choices if one["text"] != view["words"][2][1])
    view = studio.drafts.act(draft, "take", place=2, text=other["text"], units=other["units"])
    assert view["words"][2][1] == other["text"]
    assert view["words"][2][4] == 2
    assert view["gap"] == len(view["words"]) == 3
    turned = studio.drafts.act(draft, "turn", place=2, step=1)
    assert turned["words"][2][1] != other["text"]
    assert len(turned["words"]) > 3


def test_a_choice_must_be_one(studio: Studio, draft: str) -> None:
    for text, units in ((" nonsense", [1]), ("", [1]), (" hen", []), (" hen", [10**6]), (" hen", [-1])):
        with pytest.raises(Refusal):
            studio.drafts.act(draft, "take", place=1, text=text, units=units)


def test_everything_is_there_for_another_server(studio: Studio, draft: str) -> None:
    tell(studio, draft)
    mine = studio.drafts.act(draft, "mark", name="here  I\tam")
    other = Studio(studio.house, studio.home)
    theirs = other.drafts.view(draft)
    for key in ("words", "gap", "bookmarks", "title", "settings"):
        assert theirs[key] == mine[key]
    assert [one["name"] for one in theirs["bookmarks"]] == ["here I am"]
    other.drafts.act(draft, "cut")
    assert studio.drafts.view(draft)["words"] == other.drafts.view(draft)["words"]
    assert len(studio.drafts.view(draft)["words"]) == 2


def test_a_draft_that_goes_on_with_another_model_is_spelled_anew(studio: Studio, draft: str) -> None:
    view = studio.drafts.edit(draft, model="chars")
    assert view["model"] == "chars"
    assert texts(view) == "The fox"
    assert "spelled anew" in view["notice"]
    assert tell(studio, draft)[-1]["view"]["model"] == "chars"


def test_settings_are_held_to_their_bounds(studio: Studio, draft: str) -> None:
    view = studio.drafts.edit(draft, settings={"temperature": 0.5, "max_copy": 8, "ban": ["hen"]})
    assert (view["settings"]["temperature"], view["settings"]["max_copy"]) == (0.5, 8)
    for wrong in ({"temperature": -1.0}, {"max_copy": 0}, {"top_p": 2.0}):
        with pytest.raises(UsageError):
            studio.drafts.edit(draft, settings=wrong)
    assert studio.drafts.view(draft)["settings"] == view["settings"]
    assert all(word[1] != " hen" for word in tell(studio, draft, "paragraph")[-1]["view"]["words"])


def test_telling_makes_way_for_whoever_comes(studio: Studio, draft: str) -> None:
    told = studio.drafts.tell(draft, "story", stop=lambda: False)
    next(told)
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.append(studio.drafts.act(draft, "mark", name="x")))
    thread.start()
    time.sleep(0.2)
    count = len(list(told))
    thread.join(30)
    assert count < 50
    assert found[0]["bookmarks"][0]["name"] == "x"


def test_a_telling_that_is_left_keeps_what_was_told(studio: Studio, draft: str) -> None:
    told: Iterator[dict[str, Any]] = studio.drafts.tell(draft, "story", stop=lambda: False)
    words = [next(told)["word"][1] for _ in range(3)]
    told.close()
    view = Studio(studio.house, studio.home).drafts.view(draft)
    assert texts(view) == "The fox" + "".join(words)


def test_what_is_not_there_is_said(studio: Studio, draft: str) -> None:
    for wrong in (
        lambda: studio.drafts.view("nope"),
        lambda: studio.drafts.new("nope"),
        lambda: studio.drafts.act(draft, "move", place=99),
        lambda: studio.drafts.act(draft, "visit", word=99),
        lambda: studio.drafts.act(draft, "put", text="  "),
        lambda: studio.drafts.act(draft, "throw"),
        lambda: studio.drafts.act(draft, "unmark", name="x"),
        lambda: tell(studio, draft, "chapter"),
    ):
        with pytest.raises(Refusal):
            wrong()
    studio.drafts.remove(draft)
    with pytest.raises(Refusal):
        studio.drafts.view(draft)


def test_it_is_exported_as_a_book_of_one_chapter(studio: Studio, draft: str) -> None:
    book = studio.drafts.book(draft)
    assert (book.title, book.model, len(book.chapters)) == ("First one", "words", 1)
    assert book.chapters[0].text == "The fox"
