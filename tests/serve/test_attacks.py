"""Published attacks on servers like this one, replayed: each row is one, and what must come of it.

The first column is the attack, the second what it sends, the third what the server answers.
"""

import hmac
import json
import re
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from .conftest import LONG, Served, running

KEY = "a-key-of-thirty-two-characters-x"
PROMPT = "a prompt that is nobody's business"


@pytest.fixture(scope="module")
def locked(models: dict[str, Path]) -> Iterator[Served]:
    """A server that others can reach."""
    command = [sys.executable, "-m", "fabula", "serve", str(models["chars"]), "--port", "0", "--host", "0.0.0.0"]
    with running(command, FABULA_API_KEY=KEY) as one:
        one.url = one.url.replace("0.0.0.0", "127.0.0.1")
        yield one
    assert KEY not in "".join(one.errors)


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "chars", "prompt": PROMPT, "max_tokens": 2, **fields}).encode()


def post(data: bytes, **headers: str) -> Callable[[Served], bytes]:
    return lambda served: served.request("POST", "/v1/completions", data, **headers)


def get(path: str, **headers: str) -> Callable[[Served], bytes]:
    return lambda served: served.request("GET", path, **headers)


def raw(text: str) -> Callable[[Served], bytes]:
    """Bytes as they are, with the server's own name for HOST."""
    return lambda served: served.raw(text.replace("HOST", f"127.0.0.1:{served.port}").encode("latin-1"))


CHUNK = '{"model": "chars", "max_tokens": 1}'
CHUNKS = f"{len(CHUNK):x}\r\n{CHUNK}\r\n0\r\n\r\n"
SMUGGLED = "POST /v1/completions HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nConnection: close\r\n"
DEEP = b'{"prompt":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

ATTACKS: list[tuple[str, Callable[[Served], bytes], int | tuple[int, ...]]] = [
    # A name that points here, and pages that ask from elsewhere.
    ("DNS rebinding", get("/v1/models", Host="evil.example:8000"), 403),
    ("DNS rebinding by a name that ends like ours", get("/v1/models", Host="127.0.0.1.evil.example"), 403),
    ("DNS rebinding with a user before the name", get("/v1/models", Host="127.0.0.1@evil.example"), 400),
    ("DNS rebinding of a form", post(body(), Host="evil.example", Origin="http://evil.example"), 403),
    ("two names", raw("GET /v1/models HTTP/1.1\r\nHost: HOST\r\nHost: evil.example\r\nConnection: close\r\n\r\n"), 400),
    ("no name", raw("GET /v1/models HTTP/1.0\r\n\r\n"), 400),
    ("a page elsewhere", post(body(), Origin="https://evil.example"), 403),
    ("a page on another port", post(body(), Origin="http://127.0.0.1:1"), 403),
    ("a page without an origin", post(body(), Origin="null"), 403),
    ("a script of another site", get("/v1/models", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors"), 403),
    ("a script of another port", get("/v1/models", Sec_Fetch_Site="same-site", Sec_Fetch_Mode="cors"), 403),
    ("a form of plain text, which needs no leave", post(body(), Content_Type="text/plain"), 415),
    ("a form of fields", post(b"prompt=x", Content_Type="application/x-www-form-urlencoded"), 415),
    ("a form with files", post(body(), Content_Type="multipart/form-data; boundary=x"), 415),
    ("no kind at all", post(body(), Content_Type=""), 415),
    ("asking for leave to ask", lambda served: served.request(
        "OPTIONS", "/v1/completions", Origin="http://127.0.0.1:1", Access_Control_Request_Method="POST"), 403),
    # Requests that two programs read in two ways.
    ("a length and chunks", raw(f"{SMUGGLED}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKS}"), 400),
    ("chunks alone, which are no attack", raw(f"{SMUGGLED}Transfer-Encoding: chunked\r\n\r\n{CHUNKS}"), 200),
    ("two lengths", raw(SMUGGLED + "Content-Length: 4\r\nContent-Length: 5\r\n\r\n{}  "), 400),
    ("a length with a sign", raw(SMUGGLED + "Content-Length: +4\r\n\r\n{}  "), 400),
    ("chunks in disguise", raw(SMUGGLED + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"), (400, 501)),
    ("chunks behind a space", raw(SMUGGLED + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), 400),
    ("a folded header", raw(SMUGGLED + "X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}"), (400, 404)),
    ("NUL in a header", raw("GET /v1/models HTTP/1.1\r\nHost: HOST\r\nX: a\0b\r\n\r\n"), 400),
    ("headers without end", raw("GET /v1/models HTTP/1.1\r\nHost: HOST\r\nX: " + "a" * (1 << 20) + "\r\n\r\n"), 400),
    ("a line that is none", raw("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"), 400),
    # Places there are not.
    ("out of the folder by a model's name", get("/v1/models/..%2f..%2f..%2fetc%2fpasswd"), 404),
    ("the same, plainly", get("/v1/models/../../../etc/passwd"), 404),
    ("a model's name with NUL", get("/v1/models/chars%00"), 404),
    ("a model's name as a place", post(body(model="/etc/passwd")), 404),
    ("a model's name with line ends", post(body(model="a\r\nSet-Cookie: x")), 404),
    ("a model's name that is half a character", get("/v1/models/%ff%fe"), 404),
    ("an address to fetch as a model", post(body(model="http://169.254.169.254/")), 404),
    ("what others leave open", get("/debug"), 404),
    ("the tracing method", lambda served: served.request("TRACE", "/v1/models"), 405),
    # Bombs.
    ("very many stories", post(body(n=10**9)), 400),
    ("the best of very many", post(body(best_of=10**9)), 400),
    ("many prompts of many stories", post(body(prompt=["a"] * 128, best_of=64)), 400),
    ("a story without end", post(body(max_tokens=10**12)), 400),
    ("very many stop texts", post(body(stop=["a"] * 1000)), 400),
    ("a stop text that nearly comes", post(body(stop=["a" * 10_000])), 400),
    ("a bias for everything", post(body(logit_bias={str(unit): 1 for unit in range(5000)})), 400),
    ("a bias on what there is not", post(body(logit_bias={"-1": 1})), 400),
    ("a bias with a number of many digits", post(body(logit_bias={"9" * 200: 1})), 400),
    ("all probabilities", post(body(logprobs=10**6)), 400),
    ("a body without end", post(b'{"prompt": "' + b"a" * (2 << 20) + b'"}', Content_Length=str(2 << 30)), 413),
    ("a packed bomb", post(body(), Content_Encoding="gzip"), 415),
    ("a prompt of too many units", post(body(prompt="a" * 300_000)), 400),
    ("a deep body", post(DEEP), 400),
    ("a number of many digits", post(b'{"seed": ' + b"9" * 100_000 + b"}"), 400),
    ("a number beyond all", post(b'{"model": "chars", "temperature": 1e999}'), 400),
    ("no number", post(b'{"model": "chars", "temperature": NaN}'), 400),
    ("infinity", post(b'{"model": "chars", "temperature": -Infinity}'), 400),
    ("a key twice", post(b'{"model": "chars", "n": 1, "n": 2}'), 400),
    ("half a pair in a prompt", post(b'{"model": "chars", "prompt": "\\ud800"}'), 400),
    ("half a pair in a key", post(b'{"\\ud800": 1}'), 400),
    ("half a pair in a model's name", post(b'{"model": "\\udfff"}'), (400, 404)),
    ("bytes that are no text", post(b'{"model": "\xff"}'), 400),
    ("another encoding", post('{"model": "chars"}'.encode("utf-16")), 400),
    ("no body", post(b""), (400, 415)),
    ("a body that is no object", post(b'"prompt"'), 400),
    ("something behind the body", post(body() + b"{}"), 400),
    ("an unknown key", post(body(command="rm")), 400),
    ("NUL and other controls in a prompt", post(body(prompt="\0\x1b[31m\x07")), 200),
    ("right to left in a prompt", post(body(prompt="\u202e\u2066")), 200),
    # What a prompt says is text, whatever it says.
    ("a template in a prompt", post(body(prompt="{{7*7}} ${jndi:ldap://x} <|end|> <script>")), 200),
]  # fmt: skip


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(("sent", "wanted"), [row[1:] for row in ATTACKS], ids=[row[0] for row in ATTACKS])
def test_attacks_are_refused(served: Served, sent: Callable[[Served], bytes], wanted: int | tuple[int, ...]) -> None:
    answer = sent(served)
    assert status(answer) in ((wanted,) if isinstance(wanted, int) else wanted), answer[:500]
    head, _, text = answer.partition(b"\r\n\r\n")
    assert b"access-control-allow" not in head.lower()
    assert b"set-cookie" not in head.lower()
    assert b"server:" not in head.lower()
    for secret in (b"Traceback", b".py", b"/root", b"/tmp", PROMPT.encode()):
        assert secret not in text
    if text.startswith(b"{"):
        assert set(json.loads(text)) in ({"error"}, {"id", "object", "created", "model", "choices", "usage"})
    assert served.get("/health").status_code == 200


@pytest.mark.parametrize(("begun", "wanted"), [
    (f"{SMUGGLED}Content-Length: {4 << 20}\r\n\r\n", 413),
    ("GET /v1/models HTTP/1.1\r\nHost: HOST\r\nX: " + "a" * (1 << 18), 400),
])  # fmt: skip
def test_who_sends_too_much_can_read_why(served: Served, begun: str, wanted: int) -> None:
    with closing(served.connect()) as bare:
        bare.sendall(begun.replace("HOST", f"127.0.0.1:{served.port}").encode())
        assert select.select([bare], [], [], LONG)[0]
        for _ in range(64):
            bare.sendall(b"a" * 65536)  # as clients do that read nothing before they have sent all
        answer = b"".join(iter(lambda: bare.recv(65536), b""))
    assert status(answer) == wanted


def test_every_answer_says_what_browsers_may_do_with_it(served: Served) -> None:
    for answer in (served.get("/docs"), served.get("/health"), served.get("/nowhere"), served.post(n=0)):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"


def test_the_page_has_no_script_and_loads_nothing_from_elsewhere(served: Served) -> None:
    page = served.get("/docs", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").text
    assert "<script" not in page
    assert " style=" not in page
    assert set(re.findall(r'(?:href|src)="([^"]*)"', page)) == {"/docs.css", "/openapi.json"}
    assert served.get("/docs.css").headers["content-type"].startswith("text/css")
    assert "/v1/completions" in page


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/chars", "/metrics", "/docs", "/openapi.json", "/nowhere"])
@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY, "Bearer \xff"]
)
def test_without_the_key_nothing_is_told(locked: Served, path: str, given: str) -> None:
    answer = locked.request("GET", path, Authorization=given)
    assert status(answer) == 401
    assert b"www-authenticate: bearer" in answer.lower()
    assert b"chars" not in answer


def test_with_the_key_all_is_well(locked: Served) -> None:
    for name in ("127.0.0.1", "my-host.example", "my-host.example:8443"):
        assert status(locked.request(Authorization=f"Bearer {KEY}", Host=name)) == 200
    assert status(locked.request("GET", "/health")) == 200, "for those who watch over it"
    assert status(locked.request(Authorization=f"Bearer {KEY}", Host="a.example", Origin="http://b.example")) == 403
    assert status(locked.request(Authorization=f"Bearer {KEY}", Host="a.example", Origin="https://a.example")) == 200


def test_the_key_is_asked_for_before_the_body_is_read(locked: Served) -> None:
    answer = locked.request("POST", "/v1/completions", b"{", Content_Length=str(1 << 40))
    assert status(answer) == 401


def test_how_long_a_refusal_takes_says_nothing_of_the_key() -> None:
    """Keys are compared by a function that takes as long for one as for another, and nothing else looks at them."""
    from fabula.serve.limits import Limits
    from fabula.serve.metrics import Metrics
    from fabula.serve.refusals import Refusal
    from fabula.serve.safety import Guard, Tickets

    async def nothing(*_: Any) -> None: ...

    guard, called = (
        Guard(nothing, limits=Limits(), key=KEY, local=False, metrics=Metrics({}), tickets=Tickets()),
        list[Any](),
    )
    sys.setprofile(lambda frame, event, function: called.append(function) if event == "c_call" else None)
    try:
        with pytest.raises(Refusal):
            guard._check_key([(b"authorization", b"Bearer " + KEY[:-1].encode())])
    finally:
        sys.setprofile(None)
    assert hmac.compare_digest in called
    assert len(guard._key or b"") == 32, "a digest: its length says nothing of the key's"


def test_paths_and_methods_make_no_new_labels(served: Served) -> None:
    def count() -> int:
        return len(re.findall("^fabula_requests_total", served.get("/metrics").text, re.MULTILINE))

    served.request("GET", "/nowhere/0")
    served.request("BREW0", "/v1/models")
    served.request("GET", "/v1/models/no-0")
    count()
    before = count()
    for number in range(1, 30):
        served.request("GET", f"/nowhere/{number}?x={number}")
        served.request(f"BREW{number}", "/v1/models")
        served.request("GET", f"/v1/models/no-{number}")
    assert count() == before


def test_prompts_reach_no_log(models: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "fabula", "serve", str(models["symbols-3"]), "--port", "0"]
    with running(command) as one:
        for fields in ({}, {"n": 0}, {"stream": True}, {"prompt": [PROMPT, 1]}, {"suffix": PROMPT}, {PROMPT: 1}):
            one.post(**{"prompt": PROMPT, **fields})
        one.post("/v1/chat/completions", messages=[{"role": "user", "content": PROMPT}])
        one.request("GET", f"/{PROMPT.replace(' ', '%20')}?{PROMPT.replace(' ', '+')}")
        metrics = one.get("/metrics").text
    written = "\n".join(one.errors)
    assert "nobody" not in written + metrics
    assert len(one.errors) == 1
