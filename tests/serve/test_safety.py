"""What stands before the application when the application itself fails."""

import asyncio
import json
from typing import Any

import pytest

from fabula.serve.limits import Limits
from fabula.serve.metrics import Metrics
from fabula.serve.safety import Guard, Tickets

SCOPE = {"type": "http", "method": "GET", "path": "/x", "headers": [(b"host", b"localhost:1")]}


def ask(app: Any) -> list[dict[str, Any]]:
    """What the guard sends for an application."""
    sent = list[dict[str, Any]]()

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    guard = Guard(app, limits=Limits(), key=None, local=True, metrics=Metrics({}), tickets=Tickets())
    asyncio.run(guard(dict(SCOPE), receive, send))
    return sent


def test_a_fault_of_ours_is_told_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(*_: Any) -> None:
        raise ValueError("what a client wrote")

    start, body = ask(broken)
    assert start["status"] == 500
    assert json.loads(body["body"])["error"]["type"] == "server_error"
    assert caplog.messages == ["a request failed: ValueError"]
    assert b"client" not in body["body"]


def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("what a client wrote")

    with pytest.raises(ConnectionAbortedError):  # at which the connection is closed
        ask(broken)
    assert caplog.messages == ["a request failed: ValueError"]
