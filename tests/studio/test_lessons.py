"""Learning in the studio: real trainings in processes of their own, stopped, gone on with, and found again."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.serve.conftest import until
from tests.studio.conftest import STORY, Page

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


def _is_ours(process: Path) -> bool:
    try:
        command = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"train" in command and any(b"test_a_killed_training" in part for part in command)
