"""What serving costs: start, memory, 64 streams beside the bare engine, many clients for a minute, those that leave.

A model of about ten million random weights; its texts are known beforehand, so that every wrong one is counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from record import fabula, median, write

UNITS, WIDTH = 8000, 512
TOGETHER = 64
CASES = 50
"""Different stories that the many clients ask for."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a minute in all")
    parser.add_argument("--clients", type=int, nargs="*", help="numbers of streaming clients, or none; 200 500 1000")
    parser.add_argument("--seconds", type=float, help="for which each number of them asks; 60")
    parser.add_argument("--examples", type=int, help="that schemathesis makes up for each route; 2000")
    options = parser.parse_args()
    short = options.short
    clients = ([50] if short else [200, 500, 1000]) if options.clients is None else options.clients
    examples = (30 if short else 2000) if options.examples is None else options.examples
    seconds = options.seconds or (5 if short else 60)
    with tempfile.TemporaryDirectory() as home:
        model, parameters = make(Path(home))
        figures: dict[str, Any] = {"parameters": parameters, "start": starts(model, 3 if short else 15)}
        figures["64 streams"] = streams(model, 100 if short else 400)
        with serving(model) as (port, process):
            figures["memory, megabytes"] = round(memory(process.pid), 1)
            for count in clients:
                figures[f"{count} clients"] = asyncio.run(crowd(port, process.pid, model, count, seconds))
            figures["leaving"] = asyncio.run(leaving(port, process.pid, 100 if short else 2000))
        if examples:
            figures["made-up requests"] = made_up(make(Path(home), small=True)[0], examples)
    write("serving", figures)


def make(home: Path, *, small: bool = False) -> tuple[Path, int]:
    """A model folder of random weights, and how many they are; a `small` one writes bytes."""
    from fabula import folder
    from fabula.config import resolve
    from fabula.engine import expected_shapes
    from fabula.tokens import build

    rng = np.random.default_rng(1)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 6)) for _ in range(UNITS)]
    tokenizer = build("bytes", []) if small else build("words", [" ".join(words * 2)], UNITS)
    width = 32 if small else WIDTH
    shape = {"layers": 2, "hidden": width, "embedding": width, "head": "tied", "dropout": 0.0}
    settings = resolve({"model": shape})
    shapes = expected_shapes(settings.model, tokenizer.size)
    weights = {name: rng.normal(0, 0.05, size).astype(np.float32) for name, size in shapes.items()}
    place = home / ("small" if small else "model")
    place.mkdir()
    folder.write_model(place, settings=settings, tokenizer=tokenizer, weights=weights, about={}, card="")
    return place, sum(array.size for array in weights.values())


@contextmanager
def serving(model: Path, *options: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A server, and the port where it listens."""
    command = fabula("serve", str(model), "--port", "0", "-q", *options)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().rpartition(":")[2]), process
        finally:
            process.terminate()


def starts(model: Path, rounds: int, *more: str) -> dict[str, float]:
    """Seconds from the start of the process to its address, and to the first answer."""
    said, answered = list[float](), list[float]()
    for _ in range(rounds):
        began = time.perf_counter()
        with serving(model, *more) as (port, _):
            said.append(time.perf_counter() - began)
            post(port, {"prompt": "a", "max_tokens": 1})
            answered.append(time.perf_counter() - began)
    return {"address, seconds": median(said), "first answer, seconds": median(answered)}


def streams(model: Path, units: int) -> dict[str, float]:
    """Units a second: the engine alone, a storyteller, and 64 streams; each has the machine to itself."""
    from fabula.config import SamplingConfig
    from fabula.storyteller import load

    teller = load(model)
    state, ids = teller.engine.initial_state(TOGETHER), np.arange(TOGETHER)
    for _ in range(10):
        _, state = teller.engine.step(ids, state)
    began = time.perf_counter()
    for _ in range(units):
        _, state = teller.engine.step(ids, state)
    bare = TOGETHER * units / (time.perf_counter() - began)
    began = time.perf_counter()
    told = teller.write_many(TOGETHER, "a", words=units, until="word", sampling=SamplingConfig(temperature=1.0))
    together = sum(one.tokens for one in told) / (time.perf_counter() - began)
    del teller
    with serving(model) as (port, _):
        asked = {"max_tokens": units, "logit_bias": {str(UNITS - 1): -100}, "temperature": 1.0}
        asyncio.run(many(port, [{**asked, "seed": seed, "max_tokens": 10} for seed in range(TOGETHER)]))
        began = time.perf_counter()
        asyncio.run(many(port, [{**asked, "seed": seed} for seed in range(TOGETHER)]))
        served = TOGETHER * units / (time.perf_counter() - began)
    return {
        "engine, tokens/s": round(bare), "storyteller, tokens/s": round(together), "served, tokens/s": round(served),
        "served over engine": round(served / bare, 3), "served over storyteller": round(served / together, 3),
    }  # fmt: skip


async def crowd(port: int, pid: int, model: Path, count: int, seconds: float) -> dict[str, float]:
    """Clients that ask again and again for a while; what they were told is compared."""
    wanted = await asyncio.to_thread(texts, model)
    ends = time.monotonic() + seconds
    found = {"answers": 0, "wrong texts": 0, "5xx": 0, "429": 0, "broken": 0}
    begun: list[float] = []

    async def client(number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() < ends:
            case = chance.randrange(CASES)
            try:
                status, text, first = await stream(port, asked(case))
            except (OSError, asyncio.IncompleteReadError):
                found["broken"] += 1
                continue
            found["answers"] += 1
            found["5xx"] += status >= 500
            found["429"] += status == 429
            found["wrong texts"] += status == 200 and text != wanted[case]
            begun.append(first)

    asking = asyncio.gather(*map(client, range(count)))
    await asyncio.sleep(seconds / 5)
    before = memory(pid)
    await asyncio.sleep(seconds * 0.75)
    grown = memory(pid) - before
    await asking
    return {**found, "first word, seconds": median(begun), "megabytes grown": round(grown, 1)}


def asked(case: int) -> dict[str, Any]:
    """One of the stories that the many ask for."""
    return {"prompt": "a", "seed": case, "temperature": 1.0, "words": 20, "until": "word"}


def texts(model: Path) -> list[str]:
    """What they should be told."""
    from fabula.config import SamplingConfig
    from fabula.storyteller import load

    teller = load(model)
    cases = [SamplingConfig(temperature=1.0, seed=case) for case in range(CASES)]
    return [teller.write("a", words=20, until="word", sampling=sampling).text for sampling in cases]


async def leaving(port: int, pid: int, count: int) -> dict[str, Any]:
    """Clients that leave at any moment, and what they leave behind."""
    endless = {"prompt": "a", "max_tokens": 16_000, "logit_bias": {str(UNITS - 1): -100}, "stream": True}
    names = ("fabula_stories_running", "fabula_stories_waiting", "fabula_tasks")
    before = [*(figure(port, name) for name in names)]
    await asyncio.sleep(1)  # until the connection that asked is closed
    before.append(descriptors(pid))

    async def leave(number: int) -> None:
        chance = random.Random(number)
        whole = request(port, {**endless, "seed": number})
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(whole if number % 4 else whole[: chance.randrange(1, len(whole))])
        try:
            async with asyncio.timeout(chance.random()):
                while await reader.read(1000):
                    pass
        except TimeoutError:
            pass
        writer.transport.abort()

    for first in range(0, count, 100):
        await asyncio.gather(*map(leave, range(first, min(count, first + 100))))
    began = time.perf_counter()
    while figure(port, names[0]) + figure(port, names[1]) and time.perf_counter() - began < 10:
        await asyncio.sleep(0.005)
    freed = time.perf_counter() - began
    await asyncio.sleep(1)  # until the last connections are closed
    after = [*(figure(port, name) for name in names)]
    await asyncio.sleep(1)
    after.append(descriptors(pid))
    left = dict(zip(("running", "waiting", "tasks", "descriptors"), np.subtract(after, before).tolist(), strict=True))
    return {"clients": count, "left behind": left, "all free after, seconds": round(freed, 3)}


def made_up(model: Path, examples: int) -> dict[str, Any]:
    """Requests that schemathesis makes up from the description, lawful ones and others, NULs among them."""
    with serving(model) as (port, _), tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("schemathesis")), "run", f"http://127.0.0.1:{port}/openapi.json",
             "--checks", "not_a_server_error,status_code_conformance,content_type_conformance",
             "--max-examples", str(examples), "--mode", "all", "--generation-allow-x00", "true",
             "--request-timeout", "310", "--no-color"],
            capture_output=True, text=True, check=False, cwd=place,
        )  # fmt: skip
    cases = re.search(r"(\d[\d,]*) generated", done.stdout)
    said = (
        [line.strip() for line in done.stdout.splitlines() if re.match(r"\s*- |\s*❌", line)] if done.returncode else []
    )
    return {
        "cases": int(cases[1].replace(",", "")) if cases else 0, "exit code": done.returncode, "complaints": said[:5],
    }  # fmt: skip


# --- clients -----------------------------------------------------------------------------------------------------


def request(port: int, body: dict[str, Any]) -> bytes:
    """A request in bytes, after which the connection is closed."""
    data = json.dumps(body).encode()
    lines = f"Host: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Type: application/json"
    return f"POST /v1/completions HTTP/1.1\r\n{lines}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


async def stream(port: int, body: dict[str, Any]) -> tuple[int, str, float]:
    """Status, text, and seconds to the first event of a streamed answer."""
    began, first = time.perf_counter(), 0.0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request(port, {**body, "stream": True}))
        status = int((await reader.readline()).split()[1])
        text, done = list[str](), False
        async for line in reader:
            if line.startswith(b"data: {"):
                first = first or time.perf_counter() - began
                text += [choice["text"] for choice in json.loads(line[6:]).get("choices", ())]
            done = done or line.startswith(b"data: [DONE]")
        if status == 200 and not done:
            raise asyncio.IncompleteReadError(b"", None)
    finally:
        writer.close()
    return status, "".join(text), first


async def many(port: int, bodies: list[dict[str, Any]]) -> None:
    """All at once."""
    await asyncio.gather(*(stream(port, body) for body in bodies))


def post(port: int, body: dict[str, Any]) -> dict[str, Any]:
    """One answer that is no stream."""
    headers = {"Content-Type": "application/json"}
    url = f"http://127.0.0.1:{port}/v1/completions"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)) as answer:
        return json.load(answer)


def figure(port: int, name: str) -> float:
    """A figure of /metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (\S+)$", answer.read().decode(), re.MULTILINE)))


def memory(pid: int) -> float:
    """Megabytes that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def descriptors(pid: int) -> int:
    """Open files of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


if __name__ == "__main__":
    main()
