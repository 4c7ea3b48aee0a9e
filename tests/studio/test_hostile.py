"""Two at one draft, slow pages, models that vanish, rows that somebody has damaged: nobody else is held up by them."""

import asyncio
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.serve.conftest import make, until
from tests.studio.conftest import STORY, Page
from tests.studio.test_drafts import tell, texts

from fabula.errors import FabulaError, UsageError
from fabula.serve.app import House
from fabula.serve.refusals import Refusal
from fabula.storyteller import Storyteller, load
from fabula.studio import drafts as room
from fabula.studio.routes import Studio
from fabula.studio.telling import AHEAD, Told
from fabula.table import dump

Start = Callable[..., Page]


@pytest.fixture
def draft(studio: Studio) -> str:
    id_ = studio.drafts.new("words", "One")["id"]
    studio.drafts.act(id_, "put", text="The fox")
    return id_


# --- drafts ----------------------------------------------------------------------------------------------------------


def test_a_model_that_takes_long_to_read_holds_up_no_other(shelf: dict[str, Path], tmp_path: Path) -> None:
    come = threading.Event()

    def slow(path: Path) -> Storyteller:
        if path.name == "chars":
            come.wait(30)
        return load(path)

    studio = Studio(House({}, folders=shelf, load=slow), tmp_path / "home")
    words, chars = studio.drafts.new("words")["id"], ""
    studio.house.tellers.clear()
    studio.house.schedulers.clear()
    thread = threading.Thread(target=studio.drafts.new, args=("chars",))
    thread.start()
    try:
        until(lambda: len(studio.drafts.listed()) == 2)
        chars = next(one["id"] for one in studio.drafts.listed() if one["model"] == "chars")
        began = time.monotonic()
        assert studio.drafts.act(words, "put", text="The fox")["words"]
        assert time.monotonic() - began < 5
    finally:
        come.set()
        thread.join()
    assert studio.drafts.view(chars)["model"] == "chars"


def test_who_finds_a_crowd_at_a_draft_is_sent_away_at_once(studio: Studio, draft: str) -> None:
    with studio.drafts._at(draft):
        threads = [threading.Thread(target=studio.drafts.view, args=(draft,)) for _ in range(room.WAITING)]
        for thread in threads:
            thread.start()
        until(lambda: studio.drafts._seats[draft].wanted == 1 + room.WAITING)
        began = time.monotonic()
        with pytest.raises(Refusal, match="busy"):
            studio.drafts.view(draft)
        assert time.monotonic() - began < 1
    for thread in threads:
        thread.join()
    assert studio.drafts._seats[draft].wanted == 0


def test_whoever_waits_is_sent_away_when_the_server_ends(studio: Studio, draft: str) -> None:
    found: list[str] = []

    def wait() -> None:
        with suppress(Refusal):
            studio.drafts.view(draft)
        found.append("gone")

    with studio.drafts._at(draft):
        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: studio.drafts._seats[draft].wanted == 2)
        studio.drafts.end()
        thread.join(5)
        assert found == ["gone"]


def test_drafts_there_are_not_leave_nothing_behind_and_few_stay_open(
    studio: Studio, draft: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        with pytest.raises(Refusal):
            studio.drafts.view(str(number))
    assert list(studio.drafts._seats) == [draft]
    monkeypatch.setattr(room, "OPEN", 3)
    for _ in range(6):
        studio.drafts.new("words")
    assert len(studio.drafts._seats) <= 3
    assert texts(studio.drafts.view(draft)) == "The fox"


def test_what_is_told_is_saved_while_it_is_told(studio: Studio, draft: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "KEPT", 0.0)
    told = studio.drafts.tell(draft, "story", stop=lambda: False)
    words = [one["word"][1] for one in (next(told) for _ in range(6)) if "word" in one]
    seen = Studio(studio.house, studio.home).drafts.view(draft)
    assert len(words) > 2
    assert texts(seen).startswith("The fox" + "".join(words[:-1]))
    assert seen["gap"] == 2
    told.close()


def test_a_draft_that_is_removed_is_told_no_further(studio: Studio, draft: str) -> None:
    told = studio.drafts.tell(draft, "story", stop=lambda: False)
    next(told)
    studio.drafts.remove(draft)
    with pytest.raises(Refusal, match="no such draft"):
        for _ in range(5):
            next(told)
    assert studio.drafts.listed() == []


def test_a_story_has_so_much_time(studio: Studio, draft: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LONGEST", 0.0)
    assert len(tell(studio, draft, "story")) == 2


def test_who_is_refused_has_changed_nothing(studio: Studio, draft: str) -> None:
    before = studio.drafts.act(draft, "move", place=1)
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("put", {"text": " ", "place": 0}), ("turn", {"place": 0, "step": 1}),
        ("take", {"place": 2, "text": "x", "units": [1]}),
    ]  # fmt: skip
    for act, given in wrong:
        with pytest.raises((Refusal, FabulaError)):
            studio.drafts.act(draft, act, **given)
        assert studio.drafts.view(draft) == before
    with pytest.raises(Refusal):
        studio.drafts.edit(draft, settings={"temperature": 0.1}, title="other", model="nope")
    with pytest.raises(UsageError):
        studio.drafts.edit(draft, settings={"temperature": -1}, title="other", model="chars")
    assert studio.drafts.view(draft) == before


def test_a_story_that_cannot_be_read_anew_is_not_written_over(studio: Studio, draft: str) -> None:
    studio.drafts.view(draft)
    with sqlite3.connect(studio.home / "studio.sqlite") as database:
        database.execute("UPDATE drafts SET story = '{', revision = revision + 1")
    database.close()
    for _ in range(2):
        with pytest.raises(Refusal, match="damaged"):
            studio.drafts.act(draft, "put", text="a hen")


def test_damaged_drafts_are_one_line_and_the_others_are_there(studio: Studio, draft: str) -> None:
    story = json.loads(
        dump(studio.drafts._seats[draft].desk.table, name="words", network=studio.shelf.network("words"))
    )
    huge = json.dumps(story | {"words": [[-1, "The", [1], 1, 10**400, 0]]})
    wrong: list[tuple[str, object]] = [
        ("settings", "{"), ("settings", "[]"), ("settings", "[" * 100_000), ("settings", b"\xff\x00"), ("settings", 7),
        ("settings", '{"temperature": "hot"}'), ("settings", '{"soul": 1}'), ("settings", '{"require": ["x"]}'),
        ("story", "{"), ("story", 7), ("story", b"\xff\x00"), ("story", huge), ("story", "[" * 100_000),
        ("title", b"\xff\xfe"), ("title", 7), ("model", "../words"), ("changed", "yesterday"),
    ]  # fmt: skip
    ids = [studio.drafts.new("words")["id"] for _ in wrong]
    with sqlite3.connect(studio.home / "studio.sqlite") as database:
        for id_, (field, value) in zip(ids, wrong, strict=True):
            database.execute(f"UPDATE drafts SET {field} = ?, revision = 7 WHERE id = ?", (value, id_))
        database.execute("UPDATE drafts SET title = CAST(x'ff0a41' AS TEXT) WHERE id = ?", (ids[0],))
    database.close()
    for id_, (field, value) in zip(ids, wrong, strict=True):
        try:
            studio.drafts.view(id_)
        except (Refusal, FabulaError) as error:
            line = error.message if isinstance(error, Refusal) else str(error)
            assert len(line.splitlines()) == 1, (field, value)
        else:
            assert field in {"title", "changed"}
    assert {one["id"] for one in studio.drafts.listed()} == {draft, *ids}
    assert texts(studio.drafts.view(draft)) == "The fox"


def test_a_draft_goes_on_with_another_model_when_its_own_is_gone(studio: Studio, draft: str) -> None:
    other = Studio(House({}, folders={"chars": studio.house.folders["chars"]}), studio.home)
    with pytest.raises(Refusal):
        other.drafts.view(draft)
    assert texts(other.drafts.edit(draft, model="chars")) == "The fox"
    assert other.drafts.view(draft)["model"] == "chars"


def test_a_model_that_was_learned_anew_elsewhere_is_read_anew(tmp_path: Path) -> None:
    path = make(tmp_path, "words", [STORY * 3])
    studio = Studio(House({}, folders={"words": path}), tmp_path / "home")
    id_ = studio.drafts.new("words")["id"]
    studio.drafts.act(id_, "put", text="The fox")
    (tmp_path / "new").mkdir()
    new = make(tmp_path / "new", "words", ["A zebra sat. The fox saw an old man. Then it was night.\n\n" * 5])
    path.rename(tmp_path / "old")
    new.rename(path)
    os.utime(path / "manifest.json", (1, 1))
    view = studio.drafts.view(id_)
    assert texts(view) == "The fox"
    assert "spelled anew" in view["notice"]
    assert studio.shelf.teller("words").tokenizer.size == load(path).tokenizer.size
    assert texts(tell(studio, id_)[-1]["view"]).startswith("The fox")


# --- pages that are slow, or leave -----------------------------------------------------------------------------------


async def nobody_reads(message: Any) -> None:
    """A client that takes the head of an answer, and nothing of its body."""
    if message["type"] == "http.response.body":
        await asyncio.Event().wait()


def test_a_page_that_does_not_read_holds_up_nobody(studio: Studio, draft: str) -> None:
    async def run() -> None:
        told = Told(
            lambda stop, full: studio.drafts.tell(draft, "story", stop=stop, full=full), studio.tellings.release
        )
        serving = asyncio.create_task(told({"type": "http"}, asyncio.Event().wait, nobody_reads))  # pyrefly: ignore
        while told._come.qsize() < AHEAD:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert told._come.qsize() <= 2 * AHEAD + 8
        began = time.monotonic()
        view = await asyncio.to_thread(studio.drafts.view, draft)
        assert time.monotonic() - began < 3
        assert len(view["words"]) > AHEAD // 2
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving

    asyncio.run(run())


def test_a_page_that_leaves_before_the_first_word_takes_no_place(studio: Studio, draft: str) -> None:
    done: list[int] = []

    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def run() -> None:
        for _ in range(5):
            told = Told(
                lambda stop, full: studio.drafts.tell(draft, "story", stop=stop, full=full), lambda: done.append(1)
            )
            await told({"type": "http"}, gone, nobody_reads)  # pyrefly: ignore

    asyncio.run(run())
    until(lambda: len(done) == 5, 10)
    assert studio.drafts._seats[draft].wanted == 0


# --- models ----------------------------------------------------------------------------------------------------------


def test_a_model_that_is_let_go_ends_its_thread(studio: Studio) -> None:
    studio.house.start()
    studio.shelf.teller("words")
    scheduler = studio.house.schedulers["words"]
    studio.house.forget("words")
    until(lambda: not scheduler._thread.is_alive())
    assert scheduler.trouble is None


def test_a_model_that_vanished_is_one_line_that_tells_no_path(page: Start, tmp_path: Path) -> None:
    (tmp_path / "home" / "models").mkdir(parents=True)
    make(tmp_path / "home" / "models", "words", [STORY]).rename(tmp_path / "home" / "models" / "here & there")
    for name in ("broken", "empty"):
        (tmp_path / "home" / "models" / name).mkdir()
    (tmp_path / "home" / "models" / "broken" / "manifest.json").write_text("{", encoding="utf-8")
    (tmp_path / "home" / "models" / "loop").symlink_to("loop")
    one = page()
    names = [model["name"] for model in one.ask("GET", "models")["models"]]
    assert "here & there" in names
    assert "broken" not in names
    assert one.client.get("/studio/models/here%20%26%20there/report").status_code == 200
    one.refused("POST", "drafts", model="broken")
    (tmp_path / "home" / "models" / "here & there").rename(tmp_path / "elsewhere")
    answer = one.client.post("/v1/completions", json={"model": "here & there", "prompt": "x"})
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text
    assert "here & there" not in [model["name"] for model in one.ask("GET", "models")["models"]]
    assert one.refused("GET", "models/here%20%26%20there/report")[0] in {400, 404}


def test_a_long_text_is_looked_at_whatever_the_model_reads(tmp_path: Path) -> None:
    path = make(tmp_path, "symbols", [STORY * 3])
    studio = Studio(House({}, folders={"symbols": path}), tmp_path / "home")
    for text in ("The fox saw " * 2000, "The fox\nsaw " * 2000):
        seen = studio.shelf.inside("symbols", text, 1, None)
        assert seen["cut"]
        assert len(seen["units"]) == 200
    assert not studio.shelf.inside("symbols", "The fox saw", 1, None)["cut"]


EVIL = "</script><script>alert(1)</script><!-- <script>"


def test_a_hostile_folder_gets_no_script_of_its_own_to_run(page: Start, tmp_path: Path) -> None:
    (tmp_path / "home" / "models").mkdir(parents=True)
    path = make(tmp_path / "home" / "models", "words", [STORY])
    path = path.rename(path.with_name("evil"))
    one = page()
    clean = one.client.get("/studio/models/evil/report")
    said = {"settings": [[EVIL] * 4], "state": {"ended": EVIL, "seconds": float("nan"), "progress": "x"},
            "unit": EVIL, "steps": [[EVIL] * 6], "opening": EVIL,
            "notes": [EVIL], "vocabulary": EVIL, "parameters": [EVIL]}  # fmt: skip
    kept = json.dumps(said).replace("<", "\\u003c")
    report = f'<script type="application/json" id="report">{kept}</script>'
    (path / "report.html").write_text(f"{report}<script>alert(2)</script>", encoding="utf-8")
    for name in ("metrics.jsonl", "samples.jsonl"):
        lines = [
            {"step": 1, "prompt": EVIL, "text": EVIL, "loss": float("inf")},
            {"step": True},
            {"step": "2"},
            [],
            EVIL,
        ]
        (path / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    answer = one.client.get("/studio/models/evil/report")
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert answer.headers["content-security-policy"] == clean.headers["content-security-policy"]
    assert "evil" in [model["name"] for model in one.ask("GET", "models")["models"]]
