"""The studio over HTTP: its routes, who may ask them, and what they never give away."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serve.conftest import until
from tests.studio.conftest import Page

Start = Callable[..., Page]
KEY = "a-long-key"


@pytest.fixture
def draft(page: Start) -> Iterator[tuple[Page, str]]:
    one = page()
    id_ = one.ask("POST", "drafts", model="words", title="Mine")["id"]
    one.ask("POST", f"drafts/{id_}/act", act="put", text="The fox")
    yield one, id_


def told(page: Page, id_: str, **body: Any) -> list[dict[str, Any]]:
    answer = page.client.post(f"/studio/drafts/{id_}/tell", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [json.loads(part.removeprefix("data: ")) for part in answer.text.split("\n\n") if part]


def test_a_story_comes_word_by_word(draft: tuple[Page, str]) -> None:
    page, id_ = draft
    *events, last = told(page, id_, stretch="sentence")
    words = [one["word"] for one in events if "word" in one]
    assert [one["place"] for one in events if "word" in one] == list(range(2, 2 + len(words)))
    assert [word[:4] for word in last["view"]["words"][2:]] == [word[:4] for word in words]
    assert page.ask("GET", f"drafts/{id_}") == {**last["view"], "changed": pytest.approx(last["view"]["changed"])}
    assert page.ask("GET", "drafts")["drafts"][0]["words"] == 2 + len(words)
    assert page.ask("GET", f"drafts/{id_}/choices?place=2")["choices"]
    assert page.ask("GET", f"drafts/{id_}/tree")["nodes"]


def test_a_page_that_leaves_frees_the_draft_and_its_thread(draft: tuple[Page, str]) -> None:
    page, id_ = draft
    for _ in range(20):
        with page.client.stream("POST", f"/studio/drafts/{id_}/tell", json={"stretch": "story"}) as answer:
            next(answer.iter_lines())
        page.ask("POST", f"drafts/{id_}/act", act="keep", stretch="all")
    until(lambda: "telling" not in threads(page))
    assert len(page.ask("GET", f"drafts/{id_}")["words"]) > 20


def threads(page: Page) -> str:
    """Names of the server's threads."""
    tasks = Path(f"/proc/{page.served.process.pid}/task")
    if not tasks.is_dir():
        return ""
    return " ".join((task / "comm").read_text() for task in tasks.iterdir() if (task / "comm").exists())


def test_a_server_that_is_told_to_end_ends_the_telling_properly(draft: tuple[Page, str]) -> None:
    page, id_ = draft
    with page.client.stream("POST", f"/studio/drafts/{id_}/tell", json={"stretch": "story"}) as answer:
        lines = answer.iter_lines()
        next(lines)
        began = time.monotonic()
        page.served.process.terminate()
        rest = [line for line in lines if line]
        assert time.monotonic() - began < 10
    assert "view" in json.loads(rest[-1].removeprefix("data: "))
    assert page.served.process.wait(10) == 0


ACTS: list[dict[str, Any]] = [
    {"act": "dance"}, {"act": "put"}, {"act": "put", "text": None}, {"act": "undo", "text": "x"},
    {"act": "move", "place": -1}, {"act": "move", "place": 10**6}, {"act": "move", "place": 1.5},
    {"act": "turn", "place": 0, "step": 2}, {"act": "take", "place": 0, "text": "x", "units": [0] * 65},
    {"act": "visit", "word": 2**40}, {"act": "mark", "name": "x" * 300}, {"act": "keep", "stretch": "page"},
]  # fmt: skip
"""None of which can be done."""


def test_acts_that_are_none(draft: tuple[Page, str]) -> None:
    page, id_ = draft
    for act in ACTS:
        assert page.refused("POST", f"drafts/{id_}/act", **act)[0] == 400


def test_what_is_wrong_with_a_field_is_said_of_that_field(draft: tuple[Page, str]) -> None:
    page, id_ = draft
    for line in (
        page.refused("PATCH", f"drafts/{id_}", title=5)[1], page.refused("POST", f"drafts/{id_}/act", act="dance")[1],
        page.refused("GET", "models/words/near")[1], page.refused("PATCH", f"drafts/{id_}", settings={"x": 1})[1],
    ):  # fmt: skip
        assert re.match(r"(title|act|word|settings): [a-z]", line)
    assert "unknown field, 'titel'" in page.refused("PATCH", f"drafts/{id_}", titel="x")[1]


def test_a_story_may_hold_any_character(draft: tuple[Page, str]) -> None:
    page, _ = draft
    id_ = page.ask("POST", "drafts", model="bytes")["id"]
    text = "a\u202eb <script>alert(1)</script> \"'&\u0007 老鼠 \U0001f42d"
    view = page.ask("POST", f"drafts/{id_}/act", act="put", text=text)
    assert "".join(word[1] for word in view["words"]) == text
    for form in ("txt", "html", "epub"):
        answer = page.client.get(f"/studio/drafts/{id_}/export?as={form}")
        assert answer.status_code == 200
        assert re.fullmatch(r'attachment; filename="[A-Za-z0-9 _-]+\.[a-z]+"', answer.headers["content-disposition"])
        assert b"<script>alert" not in answer.content or form == "txt"
    assert page.refused("GET", f"drafts/{id_}/export?as=exe")[0] == 400


def test_texts_have_plain_names_and_bounds(draft: tuple[Page, str], tmp_path: Path) -> None:
    page, _ = draft
    put = page.client.put
    assert put("/studio/texts/..%5C..%5Cevil%3A.txt", content=b"x").json() == {"name": "evil_.txt", "bytes": 1}
    assert put("/studio/texts/%2e%2e", content=b"x").status_code in {400, 404}
    assert put("/studio/texts/a.txt", content=b"").status_code == 400
    assert put("/studio/texts/big.txt", content=b"x" * ((64 << 20) + 1)).status_code == 413
    assert page.ask("GET", "texts") == {"texts": [{"name": "evil_.txt", "bytes": 1}]}
    assert sorted(path.name for path in (tmp_path / "home" / "texts").iterdir()) == ["evil_.txt"]
    assert page.refused("DELETE", "texts/..%2fstudio.sqlite")[0] == 404
    page.ask("DELETE", "texts/evil_.txt")
    assert page.ask("GET", "texts") == {"texts": []}


def test_the_inside_of_a_network_is_told_in_bounds(draft: tuple[Page, str]) -> None:
    page, _ = draft
    seen = page.ask("POST", "models/words/inside", text="The fox saw a hen.", layer=1, of="forget")
    assert len(seen["order"]) == seen["hidden"] == 12
    assert [unit["text"] for unit in seen["units"]][:2] == ["The", " fox"]
    assert not seen["cut"]
    for unit in seen["units"]:
        chances = [chance for _, chance in unit["next"]]
        assert len(chances) == 5
        assert chances == sorted(chances, reverse=True)
        assert sum(chances) <= 1.001
    assert page.ask("POST", "models/chars/inside", text="the cat " * 4000)["cut"]
    for wrong in ({"text": ""}, {"text": "a", "layer": 2}, {"text": "a", "of": "soul"}):
        assert page.refused("POST", "models/words/inside", **wrong)[0] == 400
    assert page.refused("POST", "models/nope/inside", text="a")[0] == 404
    near = page.ask("GET", "models/words/near?word=fox")
    assert near["word"].strip() == "fox"
    assert len(near["near"]) == 12
    assert page.ask("GET", "models/words/card") == {"text": "# x"}


def test_without_the_key_only_the_page_itself_is_given(page: Start) -> None:
    one = page(key=KEY)
    bare = one.client
    id_ = one.ask("POST", "drafts", model="words")["id"]
    path = one.ask("POST", "tickets", path=f"/studio/drafts/{id_}/export")["path"]
    bare.headers.pop("Authorization")
    assert bare.get("/").status_code in {200, 404}  # the page is there where it was built
    for route in (
        "models",
        "drafts",
        f"drafts/{id_}",
        f"drafts/{id_}/export",
        "texts",
        "lessons",
        "models/words/report",
    ):
        assert bare.get(f"/studio/{route}").status_code == 401
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert bare.request(method, "/studio/drafts").status_code == 401
        assert bare.request(method, path).status_code == 401
    assert bare.get(path).status_code == 401  # another method has used it up
    with_key = {"Authorization": f"Bearer {KEY}"}
    ticket = bare.post("/studio/tickets", json={"path": f"/studio/drafts/{id_}/export"}, headers=with_key).json()
    assert bare.get(ticket["path"] + "&as=html").status_code == 200
    assert bare.get(ticket["path"]).status_code == 401
    other = bare.post("/studio/tickets", json={"path": "/studio/models"}, headers=with_key).json()["path"]
    assert bare.get(other.replace("models", "drafts")).status_code == 401
    for wrong in ("/v1/models", "/studio/a?b", "//evil.example/", "/studio/"):
        assert bare.post("/studio/tickets", json={"path": wrong}, headers=with_key).status_code == 400


def test_other_sites_may_not_ask(draft: tuple[Page, str]) -> None:
    page, id_ = draft
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        assert page.client.get("/studio/drafts", headers=headers).status_code == 403
        assert page.client.put("/studio/texts/a.txt", content=b"x", headers=headers).status_code == 403
        assert page.client.delete(f"/studio/drafts/{id_}", headers=headers).status_code == 403
    plain = {"Content-Type": "text/plain"}
    body = json.dumps({"act": "cut"})
    assert page.client.post(f"/studio/drafts/{id_}/act", content=body, headers=plain).status_code == 415


def test_a_report_runs_its_own_script_and_can_reach_nothing(page: Start, tmp_path: Path) -> None:
    one = page()
    report = one.client.get("/studio/models/words/report")
    policy = report.headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert "sandbox allow-scripts" in policy[0]
    assert "default-src 'none'" in policy[0]
    assert "script-src 'sha256-" in policy[0]
    assert "'unsafe-inline'; base-uri" in policy[0]
    assert "connect-src" not in policy[0]


def test_no_other_file_is_given(draft: tuple[Page, str]) -> None:
    page, _ = draft
    for path in ("/assets/..%2f..%2froutes.py", "/assets/%2e%2e/routes.py", "/assets/.x.js", "/assets/a.py"):
        assert page.client.get(path).status_code == 404


def test_prompts_and_stories_reach_no_log(draft: tuple[Page, str]) -> None:
    page, id_ = draft
    page.ask("POST", f"drafts/{id_}/act", act="put", text="a secret hen")
    told(page, id_, stretch="word")
    page.served.process.terminate()
    out, errors = page.served.process.communicate(timeout=30)
    assert "secret" not in out + errors
    assert len(errors.splitlines()) <= 1
