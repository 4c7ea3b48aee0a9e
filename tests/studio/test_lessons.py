"""Learning in the studio: real trainings in processes of their own, stopped, gone on with, and found again."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.serve.conftest import until
from tests.studio.conftest import STORY, Page

from fabula.errors import FabulaError, FolderError
from fabula.serve.refusals import Refusal
from fabula.studio import lessons as room
from fabula.studio.routes import Studio
from fabula.studio.store import Store

Start = Callable[..., Page]


def begin(page: Page, name: str = "tales", **options: Any) -> dict[str, Any]:
    page.client.put("/studio/texts/tales.txt", content=(STORY * 40).encode()).raise_for_status()
    return page.ask("POST", "lessons", name=name, texts=["tales.txt"], **{"time": "60s", "size": "tiny", **options})


def state(page: Page, name: str = "tales") -> str:
    return page.ask("GET", f"lessons/{name}")["state"]


def test_it_learns_in_a_process_of_its_own_and_one_writes_with_it_at_once(page: Start) -> None:
    one = page()
    begun = begin(one, time="8s")
    assert (begun["state"], begun["texts"], begun["time"]) == ("running", ["tales.txt"], "8s")
    assert "tales" not in [model["name"] for model in one.ask("GET", "models")["models"]]
    status, line = one.refused("DELETE", "lessons/tales")
    assert (status, line) == (409, "it is still learning: stop it first")
    until(lambda: one.ask("GET", "lessons/tales")["history"]["metrics"] != [], 120)
    until(lambda: state(one) != "running", 120)
    told = one.ask("GET", "lessons/tales")
    assert (told["state"], told["progress"], told["model"], told["error"]) == ("done", 1.0, True, None)
    assert told["history"]["samples"]
    until(lambda: any(m["name"] == "tales" and m["learned_here"] for m in one.ask("GET", "models")["models"]))
    draft = one.ask("POST", "drafts", model="tales")
    assert one.ask("POST", f"drafts/{draft['id']}/act", act="put", text="The fox")["words"]
    answer = one.client.post("/v1/completions", json={"model": "tales", "prompt": "The", "max_tokens": 4})
    assert answer.json()["usage"]["completion_tokens"] > 0
    assert one.refused("POST", "lessons", name="tales", texts=["tales.txt"])[0] == 409
    one.ask("DELETE", "lessons/tales")
    assert "tales" not in [model["name"] for model in one.ask("GET", "models")["models"]]
    assert one.refused("GET", f"drafts/{draft['id']}")[0] == 404


def test_it_outlives_the_server_is_found_again_stopped_and_gone_on_with(page: Start) -> None:
    one = page()
    begin(one, time="600s")
    until(lambda: one.ask("GET", "lessons/tales")["history"]["metrics"] != [], 120)
    one.served.process.kill()
    one.served.process.wait()
    other = page()
    assert state(other) == "running"
    began = time.monotonic()
    assert other.ask("POST", "lessons/tales/stop")["state"] in {"stopping", "stopped"}
    until(lambda: state(other) == "stopped", 60)
    assert time.monotonic() - began < 60
    stopped = other.ask("GET", "lessons/tales")
    assert (stopped["resumable"], stopped["error"]) == (True, None)
    step = stopped["history"]["steps"][-1][0]
    assert other.ask("POST", "lessons/tales/resume")["state"] == "running"
    assert other.refused("POST", "lessons/tales/resume") == (409, "it is learning already")
    until(lambda: other.ask("GET", "lessons/tales")["history"]["steps"][-1][0] > step, 120)
    other.ask("POST", "lessons/tales/stop")
    until(lambda: state(other) == "stopped", 60)
    other.ask("DELETE", "lessons/tales")
    assert other.ask("GET", "lessons") == {"lessons": []}


def test_what_goes_wrong_is_one_line(page: Start) -> None:
    one = page()
    one.client.put("/studio/texts/noise.txt", content=bytes(range(256)) * 50).raise_for_status()
    one.ask("POST", "lessons", name="noise", texts=["noise.txt"], time="20s")
    until(lambda: state(one, "noise") != "running", 120)
    told = one.ask("GET", "lessons/noise")
    assert told["state"] == "failed"
    assert told["error"]
    assert "\n" not in told["error"]
    assert "Traceback" not in told["log"]
    one.ask("DELETE", "lessons/noise")
    for body, status in (
        ({"name": "x", "texts": ["nope.txt"]}, 404),
        ({"name": "../x", "texts": ["noise.txt"]}, 400),
        ({"name": ".x", "texts": ["noise.txt"]}, 400),
        ({"name": "words", "texts": ["noise.txt"]}, 409),
        ({"name": "x", "texts": []}, 400),
        ({"name": "x", "texts": ["noise.txt"], "time": "60s --force"}, 400),
        ({"name": "x", "texts": ["noise.txt"], "unit": "runes"}, 400),
    ):
        assert one.refused("POST", "lessons", **body)[0] == status
    assert one.ask("GET", "lessons") == {"lessons": []}


def test_a_killed_training_is_gone_on_with(page: Start) -> None:
    one = page()
    begin(one, time="600s")
    until(lambda: one.ask("GET", "lessons/tales")["history"]["metrics"] != [], 120)
    found = [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _is_ours(entry)]
    if not found:
        pytest.skip("no /proc to find the process in")
    os.kill(found[0], signal.SIGTERM)
    until(lambda: state(one) == "stopped", 60)
    assert one.ask("POST", "lessons/tales/resume")["state"] == "running"
    one.ask("POST", "lessons/tales/stop")
    until(lambda: state(one) != "running" and state(one) != "stopping", 60)


def test_one_that_is_stopped_at_once_is_stopped(page: Start) -> None:
    one = page()
    for wait in (0.0, 0.05, 0.3):
        begin(one, f"early {wait}")
        time.sleep(wait)
        one.ask("POST", f"lessons/early {wait}/stop")
        until(lambda name=f"early {wait}": state(one, name) not in {"running", "stopping"}, 60)
        told = one.ask("GET", f"lessons/early {wait}")
        assert (told["state"], told["error"]) == ("stopped", None)
        assert "Traceback" not in told["log"]


@pytest.fixture
def still(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Studio:
    """A studio whose trainings do nothing for a while."""
    monkeypatch.setattr(room, "_options", lambda _: ["--help"])
    (studio.home / "texts").mkdir(parents=True)
    (studio.home / "texts" / "a.txt").write_text(STORY, encoding="utf-8")
    return studio


ASKED = {"time": "5s", "unit": None, "size": None, "seed": None}


def test_of_two_servers_one_begins_and_one_goes_on(still: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    servers, both = [still, Studio(still.house, still.home)], threading.Barrier(2)
    monkeypatch.setattr(room.Lessons, "_make_way", lambda _: both.wait(30))  # whatever is looked at, both have seen

    def all_at_once(work: Callable[[Studio], dict[str, Any]]) -> list[str]:
        found = list[str]()

        def attempt(one: Studio) -> None:
            try:
                found.append(work(one)["name"])
            except (Refusal, FabulaError) as error:
                found.append(str(error.status_code) if isinstance(error, Refusal) else str(error))

        threads = [threading.Thread(target=attempt, args=(one,)) for one in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(found)

    assert all_at_once(lambda one: one.lessons.begin("x", ["a.txt"], ASKED)) == ["409", "x"]
    until(lambda: still.lessons.told("x")["state"] != "running")
    (still.home / "models" / "x" / "checkpoints" / "step-000000000001").mkdir(parents=True)
    assert all_at_once(lambda one: one.lessons.resume("x")) == ["409", "x"]


def test_how_it_ended_is_written_down_while_one_goes_on(still: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    still.lessons.begin("x", ["a.txt"], ASKED)
    store = Store(still.home)
    until(lambda: store.rows("SELECT code FROM lessons")[0]["code"] == 0)
    (still.home / "models" / "x" / "checkpoints" / "step-000000000001").mkdir(parents=True)
    store.change("lessons", {"code": None}, name="x")
    monkeypatch.setattr(room.Lessons, "_make_way", lambda _: store.change("lessons", {"code": 0}, name="x"))
    assert still.lessons.resume("x")["name"] == "x"
    store.close()


def test_what_has_just_ended_is_judged_by_what_it_returned(still: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    written, change = threading.Event(), Store.change

    def slowly(store: Store, table: str, values: dict[str, Any], **where: object) -> bool:
        if values.get("code") is not None:
            assert written.wait(60)
        return change(store, table, values, **where)

    monkeypatch.setattr(Store, "change", slowly)
    still.lessons.begin("x", ["a.txt"], ASKED)
    before = still.lessons._row("x")
    until(lambda: still.lessons.told("x")["state"] != "running")
    assert still.lessons.told("x")["state"] == "done"
    assert still.lessons._row("x")["code"] is None
    written.set()
    until(lambda: still.lessons._row("x")["code"] == 0)
    until(lambda: not still.lessons._children)
    assert still.lessons._told(before)["state"] == "done"  # a row that was read before that was written


def test_a_folder_that_is_a_link_is_let_go_and_not_what_it_leads_to(still: Studio, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "novel.txt").write_text("all of it", encoding="utf-8")
    still.lessons.begin("x", ["a.txt"], ASKED)
    until(lambda: still.lessons.told("x")["state"] != "running")
    (still.home / "models" / "x").symlink_to(tmp_path / "mine")
    still.lessons.remove("x")
    assert (tmp_path / "mine" / "novel.txt").exists()
    assert still.lessons.listed() == []
    (still.home / "models" / "y").symlink_to("nowhere")
    with pytest.raises(Refusal, match="already"):
        still.lessons.begin("y", ["a.txt"], ASKED)


def test_damaged_rows_and_folders_hide_no_lesson(still: Studio) -> None:
    store = Store(still.home)
    for number, (asked, process, code) in enumerate([
        ("{", None, None), ("[]", 1, None), ('{"texts": 1, "time": []}', "x", "y"), ("[" * 100_000, 0, None),
        ("7", -1, None), ("{}", 2**40, None), ("{}", None, -9), ("{}", os.getpid(), None),
    ]):  # fmt: skip
        store.put("lessons", {"name": str(number), "asked": asked, "process": process, "code": code, "begun": 1.0})
        path = still.home / "models" / str(number)
        path.mkdir(parents=True)
        said = {"settings": [1], "state": {"progress": ["x"], "seconds": 10**400, "ended": 7}, "steps": "x"}
        report = f'<script type="application/json" id="report">{json.dumps(said)}</script>'
        (path / "report.html").write_text(report, encoding="utf-8")
        (path / "metrics.jsonl").write_text('{"step": 1, "held_out_bits_per_byte": NaN}\n[]\n{\n', encoding="utf-8")
    told = still.lessons.listed()
    assert len(told) == 8
    assert {one["state"] for one in told} == {"failed"}
    assert [one["error"] for one in told if one["name"] == "6"] == ["it was killed by signal 9"]
    for one in told:
        assert still.lessons.told(one["name"])["progress"] == 0.0
        still.lessons.stop(one["name"])
    store.close()


def test_one_that_cannot_begin_is_one_line_and_leaves_no_row(still: Studio) -> None:
    (still.home / "models").write_text("x", encoding="utf-8")
    with pytest.raises(FolderError, match="cannot begin"):
        still.lessons.begin("x", ["a.txt"], ASKED)
    assert still.lessons.listed() == []


def _is_ours(process: Path) -> bool:
    try:
        command = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"train" in command and any(b"test_a_killed_training" in part for part in command)
