"""What people and their machines call a text: does each train, or give one line? No hang, no memory, no bell."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import random
import runpy
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from fabula import cli, folder
from torture.bad_texts import MAKERS
from torture.models import STORY
from torture.runner import Answer, in_processes

PROMISE = "every corpus trains, or gives one line under 200 characters and exit code 2"
QUICK, FULL = 200, 2_000
CONTROLS = {
    "a program that shows a traceback": -1, "a program that says it in two lines": -2, "one that rings the bell": -3,
    "a program that takes the memory": -4, "a program that waits": -5,
}  # fmt: skip
SEEN_EVIL = (b"\x07", b"\x1b]", b"\x1b[666m", "\x9b".encode())
PACK = Path(__file__).resolve().parents[2] / "shared" / "data" / "adversarial"


class Bench:
    """A terminal, and a folder for each corpus; the command runs in this process, from its first argument on."""

    def __init__(self, work: Path) -> None:
        self.work, self.place, self.arguments = work, work / "case", list[str]()
        self.stdin: Path | None = None
        self._terminal, slave = pty.openpty()
        os.dup2(slave, 2)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
        self._heard = bytearray()
        threading.Thread(target=self._listen, daemon=True).start()
        os.environ["FABULA_TRAINING_THREADS"] = "1"
        self.pack = _pack(work / "pack")

    def warm_up(self) -> None:
        """Learn from a good text."""
        self.prepare(-6)
        said = self.attempt(-6)
        assert said == "trained", said

    def prepare(self, case: int) -> None:
        """Make the corpus anew."""
        os.chdir(self.work)
        os.seteuid(os.getuid())
        shutil.rmtree(self.place, onerror=_open_and_again)
        self.place.mkdir()
        self.place.chmod(0o755)
        os.chdir(self.place)
        self.stop = threading.Event()
        rng = random.Random(case)
        if case < 0:
            Path("good.txt").write_text(STORY * 20, encoding="utf-8")
            self.arguments = ["good.txt"]
        elif self.pack and case % 10 == 0:
            self.arguments = [str(self.pack[case // 10 % len(self.pack)])]
        else:
            self.arguments = MAKERS[case % len(MAKERS)](rng, Path())
        self._heard.clear()

    def attempt(self, case: int) -> str:
        """Look at it and learn from it, as somebody at a terminal would."""
        if case in range(-5, 0):
            return _break(case)
        with _moving(self.arguments), _as_nobody(self.arguments), _standard_input(self.arguments) as given:
            paths = [argument for argument in given if not argument.startswith("!")]
            for command in (["inspect"], ["train", "-o", "model", "--force", *TINY]):
                before = len(self._heard)
                code = cli.main([*command, *paths])
                sys.stderr.flush()
                said = self._settled(before, something=code != 0)
                if code == 2:
                    return _complaint(said) or "refused"
                if code != 0:
                    return f"exit code {code}: {said[-100:]!r}"
        folder.read_model("model")
        return "trained"

    def judge(self, case: int, outcome: str) -> str | None:  # noqa: ARG002
        """A model or a line, and nothing evil on the terminal."""
        said = self._settled(0)
        for evil in SEEN_EVIL:
            if evil in said:
                return f"sent {evil!r} to the terminal: {said[max(0, said.index(evil) - 40) :][:80]!r}"
        return None if outcome in ("trained", "refused") else f"{self.arguments}: {outcome}"

    def seconds(self, case: int) -> float:
        """Of the processor, at most: a good small one takes a half."""
        return 1.0 if case < 0 else 20.0 + 4 * self._size()

    def megabytes(self, case: int) -> float:
        """Above a good one, at most: what the text itself needs comes on top."""
        return 300.0 if case < 0 else 300.0 + 30 * self._size()

    def _size(self) -> float:
        """Megabytes of what is read, as they lie on the disk."""
        return sum(path.lstat().st_blocks * 512 for path in self.place.glob("t.*")) / (1 << 20)

    def _listen(self) -> None:
        while data := os.read(self._terminal, 1 << 16):
            self._heard += data

    def _settled(self, start: int, *, something: bool = False) -> bytes:
        """What has come to the terminal, once nothing more comes; `something` is waited for a little."""
        before, patience = -1, 200
        while before != len(self._heard) or (something and before <= start and patience):
            before, patience = len(self._heard), patience - 1
            threading.Event().wait(0.01)
        return bytes(self._heard[start:])


TINY = ("--size", "tiny", "--set", "model.hidden=16", "--set", "model.embedding=8", "--steps", "2")


def _complaint(said: bytes) -> str | None:
    """What is wrong with an error on a terminal."""
    lines = said.decode("utf-8", "replace").replace("\r\n", "\n").removesuffix("\n").split("\n")
    if len(lines) != 1 or not lines[0].startswith("fabula: "):
        return f"not one line: {lines[-3:]!r}"
    return f"{len(lines[0])} characters: {lines[0][:200]}" if len(lines[0]) >= 200 else None


def _break(case: int) -> str:
    """What a careless program would do."""
    if case == -1:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    if case == -2:
        return _complaint(b"fabula: cannot read it\r\nfabula: give another\r\n") or "refused"
    if case == -3:
        sys.stderr.write("good\x07.txt")
    elif case == -4:
        bytearray(b"x") * (500 << 20)
    elif case == -5:
        begun = time.process_time()
        while time.process_time() < begun + 2:  # twice what it may take
            pass
    sys.stderr.flush()
    return "trained"


# --- surroundings --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _moving(arguments: list[str]) -> Iterator[None]:
    """With `!grow` a file grows while it is read, with `!vanish` one goes."""
    stop = threading.Event()

    def move() -> None:
        while not stop.wait(0.0005):
            with contextlib.suppress(OSError, StopIteration):
                if "!grow" in arguments:
                    with Path("grows.txt").open("ab", buffering=0) as file:
                        file.write(STORY.encode() * 50)
                if "!vanish" in arguments:
                    next(Path("many").iterdir()).unlink()

    thread = threading.Thread(target=move, daemon=True)
    if {"!grow", "!vanish"} & {*arguments}:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if thread.ident:
            thread.join()


@contextlib.contextmanager
def _as_nobody(arguments: list[str]) -> Iterator[None]:
    """With `!nobody` root has no more rights than others."""
    if "!nobody" in arguments and os.geteuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(os.getuid())


@contextlib.contextmanager
def _standard_input(arguments: list[str]) -> Iterator[list[str]]:
    """With `<FILE` that file is standard input; what is left is given."""
    wanted = next((argument for argument in arguments if argument.startswith("<")), None)
    if wanted is None:
        yield arguments
        return
    before = sys.stdin
    try:
        with open(wanted[1:], "rb") as file:  # noqa: PTH123
            sys.stdin = io.TextIOWrapper(file)
            yield ["-"]
            sys.stdin.detach()
    finally:
        sys.stdin = before


def _open_and_again(function: Callable[..., object], path: str, why: object) -> None:  # noqa: ARG001
    """A folder that was closed by its maker is opened; one that is not there is fine."""
    with contextlib.suppress(OSError):
        Path(path).parent.chmod(0o755)
        Path(path).chmod(0o755)
        function(path)


def _pack(where: Path) -> list[Path]:
    """The bad files that lie beside the checkout, made anew from their script; none where there are none."""
    script = PACK / "make_adversarial.py"
    if not script.is_file():
        return []
    given, sys.argv = sys.argv, ["make_adversarial.py", str(where)]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = given
    return sorted([*where.iterdir(), *PACK.glob("*.txt")])


def ask(count: int | None, seed: int, work: Path, workers: int) -> Answer:
    """So many corpora, each by its number."""
    first = seed * 1_000_000
    return in_processes("corpora", PROMISE, range(first, first + (count or FULL)), CONTROLS, work, workers)
