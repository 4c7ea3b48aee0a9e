"""Model folders that somebody changed with intent, and signed again: does any run code, crash, hang, or fill memory?"""

from __future__ import annotations

import json
import os
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fabula import folder, storyteller
from fabula.errors import FabulaError
from fabula.report.history import from_folder
from torture import models
from torture.runner import Answer, in_processes

PROMISE = "no changed and newly signed model folder runs code, crashes, hangs or fills memory"
QUICK, FULL = 2_000, 100_000
CONTROLS = {
    "a reader that evaluates a field": -1, "a reader that raises": -2, "a reader that spins": -3,
    "a reader that allocates what it is told": -4, "a reader that dies": -5, "a reader that writes outside": -6,
}  # fmt: skip

Files = dict[str, bytes]
NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2, 3, 7, 255, 4096, 2**31, 2**32 - 1, 2**53, 2**63, -(2**63), 2**64, 10**30, 0.5, -0.0, 1e-300, 1e308,
    float("nan"), float("inf"), -float("inf"),
)  # fmt: skip
TEXTS = (
    "", "a", "\x00", "\x1b[31m", "\u202e", "\ud800", "../../etc/passwd", "/dev/zero", "F32", "I64", "U64", "lstm", "gru",
    "tied", "__class__", "{0.__class__}", "%s%n", "<0x41>", " ", "a b", "é" * 300, "x" * 100_000, "cos\nsystem\n(S'id'\ntR.",
    "__import__('os').system('id')", "!!python/object/apply:os.system [id]",
)  # fmt: skip
PLAIN: tuple[Any, ...] = (None, True, False, [], {}, [[]], {"": {}}, [None] * 1000, {str(n): n for n in range(300)})


class Bench:
    """One healthy folder of each kind; a case number makes a change of one of them."""

    def __init__(self, work: Path) -> None:
        self.path = work / "model"
        self.lying: Files = {}
        self.healthy: list[Files] = []
        for kind in models.KINDS:
            models.make(work / "made" / kind["unit"], **kind)
            self.healthy.append(models.contents(work / "made" / kind["unit"]))

    def warm_up(self) -> None:
        """Write with all of them."""
        for files in self.healthy:
            models.lay(self.path, files, self.lying)
            assert self.attempt(0) == "written"

    def prepare(self, case: int) -> None:
        """Change one."""
        rng = random.Random(case)
        files = dict(rng.choice(self.healthy))
        if case >= 0:
            for _ in range(rng.choice((1, 1, 1, 2, 4))):
                rng.choice(CHANGES)(rng, files)
            if rng.random() < 0.95:
                models.sign(files)
            if rng.random() < 0.1:
                _change_json(rng, files, "manifest.json")
        models.lay(self.path, files, self.lying)
        if case >= 0 and rng.random() < 0.05:
            name = rng.choice(sorted(files))
            del self.lying[name]
            _exchange(rng, self.path / name)

    def attempt(self, case: int) -> str:
        """Read it in every way that a command does, and write with it."""
        if case < 0:
            return _break(case, self.path)
        outcome = "written"
        for read in (self._write, lambda: folder.fingerprint(self.path), lambda: from_folder(self.path).to_json()):
            try:
                read()
            except FabulaError as error:
                outcome = "refused"
                said = str(error).replace(str(self.path), "model")
                if len(said) >= 200 or not said.isprintable():
                    return f"no plain line: {said[:300]!r}"
        return outcome

    def judge(self, case: int, outcome: str) -> str | None:  # noqa: ARG002
        """A line or a story."""
        return None if outcome in ("written", "refused") else outcome

    def seconds(self, case: int) -> float:  # noqa: ARG002
        """Of the processor, at most."""
        return 1.0

    def megabytes(self, case: int) -> float:  # noqa: ARG002
        """Above a good one, at most."""
        return 300.0

    def _write(self) -> None:
        teller = storyteller.load(self.path, threads=1)
        teller.write("the" if teller.tokenizer.unit != "symbols" else "", words=1)


def _break(case: int, path: Path) -> str:
    """What a careless reader would do."""
    if case == -1:
        eval("1 + 1")
    elif case == -2:
        raise ZeroDivisionError
    elif case == -3:
        until = time.process_time() + 1.2
        while time.process_time() < until:
            pass
    elif case == -4:
        return "written" if bytes(bytearray(b"x") * (400 << 20)) else ""
    elif case == -5:
        os._exit(11)
    elif case == -6:
        (path.parent.parent / "outside").touch()
    return "written"


# --- changes -------------------------------------------------------------------------------------------------------


def _change_bytes(rng: random.Random, files: Files) -> None:
    """Anywhere, without understanding."""
    name = rng.choice(sorted(files))
    data = bytearray(files[name])
    place, length = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 8, 200))
    match rng.randrange(7):
        case 0:
            data[place : place + length] = rng.randbytes(length)
        case 1:
            del data[place : place + length]
        case 2:
            data[place:place] = rng.randbytes(length)
        case 3:
            data[place:place] = data[place : place + 50 * length]
        case 4:
            del data[place:]
        case 5:
            data[place : place + length] = bytes([rng.choice(b'\x00\xff"[{:,9e-')]) * length
        case _:
            data = bytearray(rng.choice(sorted(files.values())))
    files[name] = bytes(data)


def _change_some_json(rng: random.Random, files: Files) -> None:
    """A value of a file that the network hangs on, mostly."""
    _change_json(
        rng, files, rng.choice(("config.json", "tokenizer.json", "config.json", "tokenizer.json", "metrics.jsonl"))
    )


def _change_json(rng: random.Random, files: Files, name: str) -> None:
    try:
        value = json.loads(files[name])
    except (ValueError, RecursionError):
        return
    files[name] = _spelled(rng, _changed(rng, value))


def _change_text(rng: random.Random, files: Files) -> None:
    """JSON that only its own text can hold."""
    name = rng.choice(("config.json", "tokenizer.json"))
    data = files[name]
    match rng.randrange(7):
        case 0:
            data = b"[" * 200_000
        case 1:
            data = data.replace(b": ", b": " + b'{"a":' * 50_000, 1)
        case 2:
            data = data.replace(b"1", b"9" * 10_000, 1)
        case 3:
            data = b"\xef\xbb\xbf" + data
        case 4:
            data = data.decode("utf-8", "replace").encode(rng.choice(("utf-16", "utf-32", "utf-16-le")))
        case 5:
            first = data.partition(b",")[0].removeprefix(b"{")
            data = data.replace(b"{", b"{" + first + b",", 1)
        case _:
            data = b"[" + b"{}," * rng.choice((3_000, 30_000, 300_000, 3_000_000)) + b"{}]"
    files[name] = data


def _change_tensors(rng: random.Random, files: Files) -> None:
    """The header of the weights or of the index, or what follows it."""
    name = rng.choice(("model.safetensors", "novelty.index"))
    data = files[name]
    if len(data) < 8:
        return
    (size,) = struct.unpack_from("<Q", data)
    try:
        header = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError):
        return
    body = data[8 + size :]
    match rng.randrange(6):
        case 0:
            files[name] = struct.pack("<Q", rng.choice((0, 1, size - 1, size + 1, 2**31, 2**62, 2**64 - 1))) + data[8:]
            return
        case 1:
            place = rng.randrange(max(1, len(body) // 4)) * 4
            strange = struct.pack("<f", rng.choice((float("nan"), float("inf"), 3e38, -3e38, 1e-45)))
            body = body[:place] + strange + body[place + 4 :]
        case 2:
            body = rng.choice((b"", body + bytes(64), body[:-1], body * 3, bytes(len(body)), b"\xff" * len(body)))
        case 3 if isinstance(header, dict) and len(header) > 1:
            one, other = rng.sample(sorted(header), 2)
            header[one], header[other] = header[other], header[one]
        case 4 if isinstance(header, dict):
            header[rng.choice(TEXTS)] = {"dtype": rng.choice(("F32", "F64", "BOOL", "I4")), "shape": [2, 2],
                                         "data_offsets": [0, 16]}  # fmt: skip
        case _:
            header = _changed(rng, header)
    text = _spelled(rng, header)
    files[name] = struct.pack("<Q", len(text)) + text + body


def _mix_models(rng: random.Random, files: Files) -> None:
    """A file of another model; sign() makes it lawful."""
    name = rng.choice(sorted(files))
    files[name] = files[rng.choice(sorted(files))]


CHANGES: tuple[Callable[[random.Random, Files], None], ...] = (
    _change_bytes, _change_some_json, _change_some_json, _change_some_json, _change_text, _change_tensors,
    _change_tensors, _mix_models,
)  # fmt: skip


def _changed(rng: random.Random, value: Any) -> Any:
    """The value with one thing in it exchanged, gone, or too much."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        match rng.randrange(10):
            case 0:
                return {name: kept for name, kept in value.items() if name != key}
            case 1:
                return {**value, rng.choice(TEXTS): _anything(rng)}
            case 2:
                return {(rng.choice(TEXTS) if name == key else name): kept for name, kept in value.items()}
            case _:
                return {**value, key: _changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        match rng.randrange(6):
            case 0:
                return value[:place] + value[place + 1 :]
            case 1:
                return [*value, value[place]]
            case 2:
                return value * rng.choice((2, 50) if len(value) < 10_000 else (1,))
            case 3:
                return rng.sample(value, len(value))
            case _:
                return [*value[:place], _changed(rng, value[place]), *value[place + 1 :]]
    if type(value) is int and rng.random() < 0.4:
        return value + rng.choice((-1, 1, 2, 100))
    return _anything(rng)


def _anything(rng: random.Random) -> Any:
    return rng.choice(rng.choice((NUMBERS, TEXTS, PLAIN)))


def _spelled(rng: random.Random, value: Any) -> bytes:
    """As JSON, sometimes spelled as nobody would."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, 1)))
    return text.encode("utf-8", rng.choice(("backslashreplace", "surrogatepass")))


def _exchange(rng: random.Random, path: Path) -> None:
    """Something else that has the file's name."""
    data = path.read_bytes()
    path.unlink()
    match rng.randrange(6):
        case 0:
            path.symlink_to(rng.choice(("/dev/zero", "/etc/passwd", "nowhere", path.name)))
        case 1:
            os.mkfifo(path)
        case 2:
            path.mkdir()
        case 3:
            path.write_bytes(data)
            os.truncate(path, rng.choice((1 << 30, 1 << 40)))
        case 4:
            twin = path.with_name("twin")
            twin.unlink(missing_ok=True)
            twin.write_bytes(data)
            os.link(twin, path)
        case _:
            path.write_bytes(data)
            path.chmod(0)


def ask(count: int | None, seed: int, work: Path, workers: int) -> Answer:
    """So many changes, each by its number."""
    first = seed * 10_000_000
    return in_processes("mutants", PROMISE, range(first, first + (count or FULL)), CONTROLS, work, workers)
