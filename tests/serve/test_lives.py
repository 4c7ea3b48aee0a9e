"""What becomes of stories when engines, clients and signals misbehave; real processes, real sockets."""

import contextlib
import json
import random
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx2
import pytest

from .conftest import LONG, Served, events, until

Start = Callable[..., Served]
END = {"256": -100}
"""Bytes tell on and on."""
ENDLESS = {"prompt": "x", "max_tokens": 16_384, "logit_bias": END}


def head(served: Served, body: bytes, path: str = "/v1/completions", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    lines = f"Host: 127.0.0.1:{served.port}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    return f"POST {path} HTTP/1.1\r\n{lines}".encode() + body


def asking(served: Served, receive_buffer: int | None = None, **body: object) -> socket.socket:
    """A connection on which a request was sent."""
    bare = served.connect(receive_buffer)
    bare.sendall(head(served, json.dumps({**ENDLESS, **body}).encode()))
    return bare


@pytest.mark.parametrize("word", ["stuck", "dead"])
def test_health_tells_the_truth(faulty: Start, word: str) -> None:
    served = faulty()
    assert served.get("/health").json() == {"status": "ok", "engines": {}}
    served.say(word)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(served.post, prompt="x", max_tokens=5, stream=True)
        began = time.monotonic()
        until(lambda: served.get("/health").status_code == 503)
        assert time.monotonic() - began < 2 + 3, "two seconds, and some for a busy machine"
        assert served.get("/health").json()["engines"] == {"model": word}
        assert served.figure("fabula_engine_up") == 0
        refused = served.post(prompt="x")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        told = events(asked.result().text)
    assert word in told[-1]["error"]["message"]
    if word == "stuck":
        served.say("")
        until(lambda: served.get("/health").status_code == 200)
        assert served.post(prompt="x", max_tokens=3, logit_bias=END).json()["usage"]["completion_tokens"] == 3


def test_a_fault_is_told_to_those_it_hits_and_to_nobody_else(faulty: Start) -> None:
    served = faulty("fails")
    answer = served.post(prompt="a prompt of mine")
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == "something went wrong in the server"
    told = events(served.post(prompt="a prompt of mine", stream=True).text)
    assert told[-1]["error"]["code"] == "internal_error"
    served.say("")
    assert served.post(prompt="x", max_tokens=2, logit_bias=END).status_code == 200
    assert served.get("/health").status_code == 200
    assert served.figure("fabula_failures_total") == 2
    assert served.stop() == 0
    complaints = served.process.stderr.read() if served.process.stderr else ""
    assert complaints == "fabula: a story failed: MemoryError\n" * 2, "neither prompt, nor message, nor place"


def test_a_client_that_leaves_frees_its_place_at_once(faulty: Start) -> None:
    served = faulty("slow", rows=1)
    first = asking(served, stream=True)
    assert first.recv(10)
    waiting = asking(served)
    served.wait("fabula_stories_waiting", 1)
    waiting.close()
    served.wait("fabula_stories_waiting", 0)
    assert served.figure("fabula_stories_running") == 1
    began = time.monotonic()
    first.close()
    # A step takes 20 ms here: the place is free when the next story's first unit is there.
    with closing(asking(served, stream=True)) as second:
        text = b""
        while b'"text"' not in text:
            text += second.recv(4096)
        assert time.monotonic() - began < 0.1 + 1, "a tenth of a second, and some for a busy machine"


def test_a_hundred_clients_leave_nothing_behind(faulty: Start) -> None:
    served = faulty("slow")
    with closing(served.connect()):
        served.get("/metrics")
    tasks, descriptors = served.figure("fabula_tasks"), served.descriptors()

    def leave(number: int) -> None:
        chance = random.Random(number)
        body = json.dumps(
            {**ENDLESS, "stream": number % 3 > 0, "n": 1 + number % 2, "echo": True, "logprobs": 1}
        ).encode()
        whole = head(served, body)
        with closing(served.connect()) as bare:
            bare.sendall(whole[: chance.randrange(len(whole))] if number % 5 == 0 else whole)
            for _ in range(chance.randrange(4)):
                bare.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    bare.recv(chance.randrange(1, 2000))
            if number % 2:  # gone with a reset
                bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(leave, range(100)))
    served.wait("fabula_stories_running", 0)
    served.wait("fabula_stories_waiting", 0)
    until(lambda: served.figure("fabula_tasks") == tasks and served.figure("fabula_requests_open") == 1)
    until(lambda: served.descriptors() <= descriptors)
    assert served.get("/health").status_code == 200


def test_a_long_prompt_holds_nobody_up(faulty: Start) -> None:
    served = faulty("slow", prompt=1 << 19)  # else a fast machine has read it before the other is asked
    with closing(asking(served, prompt="x" * 400_000, max_tokens=1)):
        until(lambda: served.figure("fabula_units_read_total") > 0)
        told = served.post(prompt="xxx", max_tokens=5, logit_bias=END)
        assert told.json()["usage"]["completion_tokens"] == 5
        assert served.figure("fabula_units_read_total") < 400_000, "the long one is not read yet"


def test_what_never_reads_is_dropped_and_what_reads_slowly_waits(faulty: Start) -> None:
    served = faulty(send=2, buffer=1 << 14, backlog=8)
    asked = {"stream": True, "logprobs": 20, "n": 4}
    with closing(asking(served, 1 << 14, **asked)):
        until(lambda: served.figure("fabula_requests_open") == 2)
        until(lambda: served.figure("fabula_requests_open") == 1, 60)  # it alone
    served.wait("fabula_stories_running", 0)
    before = served.figure("fabula_units_written_total")
    assert before < 2000, "the stories waited for their reader"
    with closing(asking(served, 1 << 14, stream=True, logprobs=20, max_tokens=300)) as slow:
        text = b""
        while not text.endswith(b"0\r\n\r\n"):
            time.sleep(0.01)
            part = slow.recv(4096)
            assert part, "dropped, though it reads"
            text += part
    assert text.count(b'"finish_reason":"length"') == 1


def test_slow_senders_are_dropped(faulty: Start) -> None:
    served = faulty(receive=0.5)
    begun = b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    half = head(served, b'{"prompt"', length=4000)
    late = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

    def send(sent: bytes) -> None:
        with closing(served.connect()) as bare:
            bare.sendall(sent)
            began = time.monotonic()
            with contextlib.suppress(ConnectionResetError):
                while bare.recv(4096):
                    bare.settimeout(LONG)
                    with contextlib.suppress(OSError):
                        bare.sendall(b"" if sent.startswith(b"GET") else b" ")  # a drop now and then is no excuse
            assert time.monotonic() - began < LONG

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, (b"", begun, half, late + begun)))
    served.wait("fabula_requests_open", 1)


@pytest.mark.parametrize("sent", [
    b"\x16\x03\x01\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 4000\r\n\r\n",
])  # fmt: skip
def test_who_is_refused_and_does_not_go_is_dropped(faulty: Start, sent: bytes) -> None:
    served = faulty(receive=0.5)
    with closing(served.connect()) as bare:
        bare.sendall(sent)
        assert b"".join(iter(lambda: bare.recv(4096), b"")).startswith(b"HTTP/1.1 4")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            until(lambda: not bare.send(b" "))
    served.wait("fabula_requests_open", 1)


def test_a_queue_has_an_end(faulty: Start) -> None:
    served = faulty("slow", rows=1, queue=3)
    busy = [asking(served, stream=True)]
    served.wait("fabula_stories_running", 1)
    busy += [asking(served) for _ in range(3)]
    served.wait("fabula_stories_waiting", 3)
    refused = served.post(prompt="x")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["type"] == "rate_limit_error"
    for one in busy:
        one.close()
    served.wait("fabula_stories_waiting", 0)
    assert served.post(prompt="x", max_tokens=1).status_code == 200


def test_bodies_together_have_a_bound(faulty: Start) -> None:
    served = faulty(body=10_000, bodies=15_000)
    body = json.dumps({**ENDLESS, "prompt": "x" * 8000}).encode()
    with closing(served.connect()) as first:
        first.sendall(head(served, body))
        served.wait("fabula_requests_open", 2)
        until(lambda: served.post(prompt="y" * 8000, max_tokens=1).status_code == 429)
    until(lambda: served.post(prompt="y" * 8000, max_tokens=1).status_code == 200)
    assert served.post(prompt="y" * 10_001).status_code == 413


def test_time_has_a_limit(faulty: Start) -> None:
    served = faulty("slow", seconds=0.5, rows=1)
    with ThreadPoolExecutor(2) as pool:
        told = [pool.submit(served.post, **ENDLESS) for _ in range(2)]
        answers = sorted((one.result() for one in told), key=lambda answer: answer.status_code)
    assert answers[0].json()["choices"][0]["finish_reason"] == "length"
    assert 0 < answers[0].json()["usage"]["completion_tokens"] < 100
    assert answers[1].status_code in {200, 429}, "it may just have begun"


def listens(served: Served) -> bool:
    with socket.socket() as bare:
        return bare.connect_ex(("127.0.0.1", served.port)) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_every_stream_as_it_should(faulty: Start, number: int) -> None:
    served = faulty("slow", farewell=1.5, rows=4)
    short = {"prompt": "x", "max_tokens": 20, "logit_bias": END, "stream": True}
    with ThreadPoolExecutor(8) as pool:
        streams = [
            pool.submit(served.post, **(short if place < 2 else {**ENDLESS, "stream": True})) for place in range(6)
        ]
        whole = pool.submit(served.post, **ENDLESS)
        late, body = served.connect(), json.dumps(short).encode()
        late.sendall(head(served, body)[:-1])
        until(lambda: served.figure("fabula_requests_open") == 9)
        began = time.monotonic()
        served.process.send_signal(number)
        with closing(late):
            until(lambda: not listens(served))
            late.sendall(body[-1:])
            assert late.recv(4096).startswith(b"HTTP/1.1 503"), "no more stories are begun"
        told = [events(one.result().text) for one in streams]
        assert served.process.wait(LONG) == 0
        assert time.monotonic() - began < 10
        answer = whole.result()
    assert all(one[-1]["choices"][0]["finish_reason"] == "length" for one in told if "error" not in one[-1])
    failures = [one[-1]["error"]["message"] for one in told if "error" in one[-1]]
    assert all("shutting down" in message for message in failures)
    assert sum("error" not in one[-1] for one in told) >= 4
    assert answer.status_code in {200, 503}
    with pytest.raises(httpx2.ConnectError):
        served.get("/health")


def test_a_stuck_engine_does_not_hold_up_the_end(faulty: Start) -> None:
    served = faulty("stuck", farewell=0.5)
    with closing(asking(served, stream=True)) as bare:
        assert bare.recv(10)
        began = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - began < 10


def test_a_word_comes_while_others_are_told(served: Served) -> None:
    """The first event of a stream is there long before its last."""
    seen = threading.Event()
    with httpx2.stream(
        "POST", f"{served.url}/v1/completions", timeout=LONG, json={**ENDLESS, "model": "bytes", "stream": True}
    ) as answer:  # fmt: skip
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                seen.set()
                break
    assert seen.is_set()
    served.wait("fabula_stories_running", 0)
