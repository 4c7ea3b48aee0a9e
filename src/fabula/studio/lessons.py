"""Trainings that were begun in the studio: each `fabula train` in a process of its own, which outlives this one.

What is known of one stands in the store and in its folder, so a server that begins anew finds all of them. Knows no
HTTP and never loads torch.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fabula import folder
from fabula.config import UNITS
from fabula.errors import FabulaError, FolderError, MissingExtraError
from fabula.report.history import History
from fabula.serve.refusals import Refusal
from fabula.stopping import INTERRUPTED, PREEMPTED
from fabula.studio.store import Store, now
from fabula.studio.texts import Texts, plain_name

RUNNING = 2
"""Trainings at one time: more only hold one another up."""

SAID = 4000
"""Characters of what a training said last that are shown."""

LINE = 300
"""Most characters of the line that says what went wrong."""


STOPPED = frozenset({INTERRUPTED, PREEMPTED, -signal.SIGINT, -signal.SIGTERM})
"""What a training returns that was told to stop, in its first moments too, when it does not listen yet."""


class Lessons:
    """The trainings of a studio; models come to lie in `home`, and `learned` hears of each that is there."""

    def __init__(self, store: Store, texts: Texts, home: Path, learned: Callable[[str, Path], None]) -> None:
        self._store, self._texts, self._home, self._learned = store, texts, home, learned
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()

    @property
    def can_learn(self) -> bool:
        """Whether torch is installed."""
        return importlib.util.find_spec("torch") is not None

    def listed(self) -> list[dict[str, Any]]:
        """All of them, the latest first."""
        return [self._told(row) for row in self._store.rows("SELECT * FROM lessons ORDER BY begun DESC LIMIT 200")]

    def told(self, name: str) -> dict[str, Any]:
        """One of them, with its curves and stories so far, and what it said last."""
        row = self._row(name)
        history = History(self._home / name)
        history.recall()
        return self._told(row) | {"history": history.to_json(), "log": self._said(name)}

    def begin(self, name: str, texts: Sequence[str], asked: Mapping[str, Any]) -> dict[str, Any]:
        """Learn from some texts. Errors: Refusal for a name that is taken, texts there are not, or too many at once."""
        if not self.can_learn:
            raise Refusal(501, str(MissingExtraError("learning", "train")), code="no_torch")
        if plain_name(name) != name:
            raise Refusal(400, "a model's name must be one that a folder can have", param="name")
        if os.path.lexists(self._home / name) or self._store.rows("SELECT name FROM lessons WHERE name = ?", name):
            raise Refusal(409, f"there is a model called {name!r} already: choose another name", param="name")
        files = [str(self._texts.named(text).resolve()) for text in texts]
        with self._lock:
            self._make_way()
            row = {"name": name, "asked": json.dumps({"texts": list(texts), **asked}), "begun": now()}
            if not self._store.put("lessons", row | {"process": os.getpid(), "code": None, "stopping": 0}):
                raise Refusal(409, f"{name!r} is learned already: choose another name", param="name")
            try:
                self._start(name, [*files, "--out", str((self._home / name).resolve()), *_options(asked)])
            except FolderError:
                self._store.remove("lessons", name=name)
                raise
        return self._told(self._row(name))

    def resume(self, name: str) -> dict[str, Any]:
        """Go on where it stopped. Errors: Refusal."""
        with self._lock:
            row = self._row(name)
            told = self._told(row)
            going = Refusal(409, "it is learning already", code="running")
            if told["state"] in {"running", "stopping"}:
                raise going
            if not told["resumable"]:
                raise Refusal(409, "nothing is left to go on from: learn it anew", code="not_resumable")
            self._make_way()
            ours = {"process": os.getpid(), "code": None}  # of two servers that would go on with it one does
            while not self._store.change("lessons", ours, name=name, process=row["process"], code=row["code"]):
                process, row = row["process"], self._row(name)
                if row["process"] != process:  # else how it ended was written down only now
                    raise going
            self._start(name, ["--resume", str((self._home / name).resolve())])
        return self._told(self._row(name))

    def stop(self, name: str) -> dict[str, Any]:
        """Let it save and leave."""
        with self._lock:
            row = self._row(name)
            if self._is_running(row):
                self._store.change("lessons", {"stopping": 1}, name=name)
                with suppress(OSError):  # it has just ended
                    os.kill(row["process"], signal.SIGTERM)  # which ends it at once while it does not listen yet
        return self._told(self._row(name))

    def remove(self, name: str) -> None:
        """Forget it, with what it learned. Errors: Refusal while it runs, FolderError."""
        path = self._home / name
        with self._lock:
            if self._is_running(self._row(name)):
                raise Refusal(409, "it is still learning: stop it first", code="running")
            try:
                if path.is_symlink():
                    path.unlink()  # and never what lies elsewhere
                elif path.exists():
                    shutil.rmtree(path)
                self._log(name).unlink(missing_ok=True)
            except OSError as error:
                raise FolderError(f"cannot remove {name!r}: {error.strerror}") from None
            self._store.remove("lessons", name=name)

    # --- processes -------------------------------------------------------------------------------------------------

    def _make_way(self) -> None:
        rows = self._store.rows("SELECT * FROM lessons WHERE code IS NULL")
        if sum(self._is_running(row) for row in rows) >= RUNNING:
            raise Refusal(409, f"{RUNNING} are learning already: stop one first", code="busy")

    def _start(self, name: str, arguments: Sequence[str]) -> None:
        """A process of its own, that hears no Ctrl-C of ours and does not end with us."""
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            with self._log(name).open("ab") as said:
                child = subprocess.Popen(  # noqa: S603 - our own command; names of files are never options
                    [sys.executable, "-P", "-m", "fabula", "train", *arguments],
                    stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=self._home, start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            raise FolderError(f"cannot begin to learn {name!r}: {error.strerror}") from None
        self._children[name] = child
        self._store.change("lessons", {"process": child.pid, "code": None, "stopping": 0}, name=name)
        threading.Thread(target=self._await, args=(name, child), daemon=True, name="fabula-lesson").start()

    def _await(self, name: str, child: subprocess.Popen[bytes]) -> None:
        code = child.wait()
        try:
            self._store.change("lessons", {"code": code, "stopping": 0}, name=name, process=child.pid)
            if self._has_model(name):
                self._learned(name, self._home / name)
        except FabulaError:  # the folder is gone: nobody will ask
            return
        finally:
            if self._children.get(name) is child:
                del self._children[name]

    def _is_running(self, row: Mapping[str, Any]) -> bool:
        number = row["process"]
        if row["code"] is not None or not isinstance(number, int) or number <= 0:
            return False
        child = self._children.get(row["name"])
        if child is not None and child.pid == number:
            return child.poll() is None
        return _is_at(number, (self._home / row["name"]).resolve())

    def _code(self, row: Mapping[str, Any]) -> object:
        """What one returned that ended, perhaps so lately that it is not written down; None where nobody saw it end."""
        if row["code"] is not None:
            return row["code"]
        child = self._children.get(row["name"])
        if child is not None and child.pid == row["process"]:
            return child.poll()
        ours = (row["name"], row["process"])
        written = self._store.rows("SELECT code FROM lessons WHERE name = ? AND process = ?", *ours)
        return written[0]["code"] if written else None

    # --- what is known ---------------------------------------------------------------------------------------------

    def _row(self, name: str) -> dict[str, Any]:
        rows = self._store.rows("SELECT * FROM lessons WHERE name = ?", name)
        if not rows:
            raise Refusal(404, "there is no such lesson", code="not_found")
        return rows[0]

    def _told(self, row: Mapping[str, Any]) -> dict[str, Any]:
        name, asked = row["name"], _asked(row["asked"])
        history = History(self._home / name)
        history.recall()
        running = self._is_running(row)  # asked first: what it leaves behind is there when it has ended
        shown, model = history.state, self._has_model(name)
        resumable, code = folder.latest_step(self._home / name) is not None, None if running else self._code(row)
        if running:
            state = "stopping" if row["stopping"] else "running"
        elif code == 0 or (code is None and model and not resumable):
            state = "done"
        elif code in STOPPED or (code is None and resumable):
            state = "stopped"
        else:
            state = "failed"
        return {
            "name": name, "texts": asked["texts"], "time": asked["time"], "state": state,
            "error": self._fault(name, code) if state == "failed" else None, "begun": row["begun"],
            "progress": 1.0 if state == "done" else min(1.0, _number(shown.get("progress"))),
            "seconds": round(_number(shown.get("seconds")), 1),
            "resumable": resumable and not running, "model": model,
        }  # fmt: skip

    def _has_model(self, name: str) -> bool:
        return (self._home / name / folder.MANIFEST).is_file()

    def _log(self, name: str) -> Path:
        return self._home / f".{name}.log"

    def _said(self, name: str) -> str:
        try:
            with self._log(name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - SAID))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return "".join(one for one in text.replace("\r", "\n") if one == "\n" or one.isprintable())

    def _fault(self, name: str, code: object) -> str:
        if isinstance(code, int) and code < 0:
            return f"it was killed by signal {-code}"
        lines = self._said(name).strip().splitlines()
        said = next((line for line in reversed(lines) if line.startswith("fabula: ")), lines[-1] if lines else "")
        return (said.removeprefix("fabula: ") or "it ended before it had begun")[:LINE]


def _options(asked: Mapping[str, Any]) -> list[str]:
    """What was asked for, as options of `fabula train`."""
    assert asked.get("unit") in {None, *UNITS}
    return [part for name, value in asked.items() if value is not None for part in (f"--{name}", str(value))]


def _asked(text: object) -> dict[str, Any]:
    """What a lesson was begun with, as far as it can be read."""
    try:
        said = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        said = None
    found: dict[str, Any] = said if isinstance(said, dict) else {}
    texts, time = found.get("texts"), found.get("time")
    return {"texts": list(map(str, texts)) if isinstance(texts, list) else [], "time": str(time or "")}


def _number(value: object) -> float:
    """A number that a folder tells, which may tell anything."""
    fine = isinstance(value, int | float) and abs(value) < 1e12
    return max(0.0, float(value)) if fine and isinstance(value, int | float) else 0.0


def _is_at(process: int, folder: Path) -> bool:
    """Whether a process trains in a folder: another program may have got its number since."""
    sought = os.fsencode(str(folder))
    try:
        if Path("/proc").is_dir():
            command = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
            return b"fabula" in command and sought in command
        asked = ["ps", "-ww", "-o", "command=", "-p", str(process)]
        said = subprocess.run(asked, capture_output=True, check=False, timeout=5).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return False
    return b" fabula train " in said and b" " + sought + b" " in said + b" "
