"""Some thousand requests at random, of every route of the studio: none is a fault of the server."""

import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tests.studio.conftest import Page

Start = Callable[..., Page]
COUNT = 1500

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -(10**30), 0.5, 1e308, -0.0, "", "x", " ", "\0", "a\0b", "\n",
    "..", "../..", "words", "chars", "bytes", "sentence", "60s", "\u202e", "\ufffe", "🐭" * 50, "x" * 5000, [], {},
    [[]], [1],
    ["tales.txt"], {"a": {}}, [None], "-o", "$(id)", "con", "<script>", "%00", "drafts",
]  # fmt: skip
NAMES = ("act", "text", "place", "stretch", "units", "step", "word", "name", "title", "model", "settings", "again",
         "layer", "of", "texts", "time", "unit", "size", "seed", "path", "extra", "__proto__")  # fmt: skip
ACTS = ("put", "move", "keep", "throw", "cut", "take", "turn", "visit", "undo", "redo", "mark", "unmark")
RAW = (
    b"", b"{", b"null", b"[]", b"NaN", b'{"text": NaN}', b'{"a": 1, "a": 2}', b"[" * 100_000, b"\xff\xfe", b'"\\ud800"',
    b'{"title": "\\ud800"}', b'{"text": "\\u0000"}', b"9" * 5000, b'{"place": ' + b"9" * 5000 + b"}",
)  # fmt: skip
GIVEN: dict[str, list[Any]] = {
    "text": ["The fox", "a hen\n\nsaid", "\0", "", "老鼠 \u202e"], "place": [0, 1, 2, 3, 50], "word": [0, 1, 5, 99],
    "stretch": ["word", "sentence", "paragraph", "all"], "units": [[0], [1, 2], []], "step": [1, -1],
    "name": ["x", "", "\u202e", "tales"], "title": ["x\r\ny: z"], "model": ["words", "chars", "bytes", "nope"],
    "settings": [{}, {"temperature": 1.5}, {"ban": ["hen"]}, {"seed": 2**63 - 1}, {"max_copy": 3}, {"top_k": -1},
                 {"ban_letters": "aeiou"}, {"temperature": 1e308}, {"no_repeat": 3, "dry": 0.8}],
    "path": ["/studio/drafts", "/studio/../v1", "/studio//x"], "texts": [["nope.txt"]], "layer": [0, 1, 2],
    "of": ["hidden", "soul"],
}  # fmt: skip


def test_nothing_that_is_sent_is_a_fault_of_the_server(page: Start) -> None:
    one, chance = page(), random.Random(7)
    drafts = [one.ask("POST", "drafts", model=model)["id"] for model in ("words", "chars", "bytes")]
    seen: dict[int, int] = {}
    for _ in range(COUNT):
        draft = chance.choice([*drafts, *drafts, "nope", quote(str(chance.choice(ODD)), safe="")])
        name = quote(str(chance.choice(["words", "chars", "bytes", "nope", *ODD])), safe="")
        method, path = chance.choice([
            ("POST", "drafts"), ("GET", "drafts"), ("GET", f"drafts/{draft}"), ("PATCH", f"drafts/{draft}"),
            *[("POST", f"drafts/{draft}/act")] * 8, *[("POST", f"drafts/{draft}/tell")] * 2,
            ("GET", f"drafts/{draft}/choices?place={name}"), ("GET", f"drafts/{draft}/choices?place=1"),
            ("GET", f"drafts/{draft}/tree"),
            ("GET", f"drafts/{draft}/export?as={chance.choice(['txt', 'epub', name])}"),
            ("GET", "models"), ("GET", f"models/{name}/card"), ("GET", f"models/{name}/report"),
            ("POST", f"models/{name}/inside"), ("GET", f"models/{name}/near?word={name}"),
            ("GET", f"models/{name}/near"),
            ("POST", "tickets"), ("GET", "texts"), ("PUT", f"texts/{name}"), ("DELETE", f"texts/{name}"),
            ("GET", "lessons"), ("POST", "lessons"), ("GET", f"lessons/{name}"), ("POST", f"lessons/{name}/stop"),
            ("POST", f"lessons/{name}/resume"), ("DELETE", f"lessons/{name}"), ("DELETE", "drafts/nope"),
            (chance.choice(["HEAD", "OPTIONS", "TRACE", "PATCH"]), f"models/{name}"),
        ])  # fmt: skip
        content = chance.choice(RAW)
        if chance.random() < 0.9 and method != "PUT":
            fields = chance.sample(NAMES, chance.randint(0, 4)) if chance.random() < 0.4 else list(GIVEN)[:0]
            body = {field: chance.choice(GIVEN.get(field, ODD) if chance.random() < 0.6 else ODD) for field in fields}
            if path.endswith("/act"):
                body |= {"act": chance.choice(ACTS)}
                wanted = {"put": ["text"], "move": ["place"], "keep": ["stretch"], "take": ["place", "text", "units"],
                          "turn": ["place", "step"], "visit": ["word"], "unmark": ["name"]}  # fmt: skip
                body |= {field: chance.choice(GIVEN[field]) for field in wanted.get(body["act"], [])}
            if path.endswith("/tell"):
                body |= {"stretch": chance.choice(["word", "sentence"])}
            content = json.dumps(body).encode()
        if path == "lessons" and method == "POST" and b"tales.txt" in content:
            continue
        kind = chance.choice(["application/json"] * 9 + ["text/plain"])
        answer = one.client.request(method, f"/studio/{path}", content=content, headers={"Content-Type": kind})
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
        assert answer.status_code < 500, (method, path, content[:300], answer.text)
        if answer.status_code >= 400 and method != "HEAD":
            message = answer.json()["error"]["message"]
            assert len(message.splitlines()) == 1, (method, path, message)
            assert len(message) < 400, (method, path, message)
        if path.endswith("/tell") and answer.status_code == 200:
            assert "something went wrong" not in answer.text, (content, answer.text)
    assert seen[200] > COUNT // 5
    assert {400, 404, 415} <= set(seen)
    for id_ in drafts:
        assert one.client.get(f"/studio/drafts/{id_}").status_code == 200
    one.served.process.terminate()
    errors = one.served.process.communicate(timeout=30)[1]
    assert len(errors.splitlines()) <= 1, errors
