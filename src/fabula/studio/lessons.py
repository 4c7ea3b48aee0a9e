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
from pathlib import Path
from typing import Any

from fabula import folder
from fabula.config import UNITS
from fabula.errors import FabulaError, FolderError, MissingExtraError
from fabula.report.history import History
from fabula.serve.refusals import Refusal
from fabula.stopping import INTERRUPTED
from fabula.studio.store import Store, now
from fabula.studio.texts import Texts, plain_name

RUNNING = 2
"""Trainings at one time: more only hold one another up."""

SAID = 4000
"""Characters of what a training said last that are shown."""

LINE = 300
"""Most characters of the line that says what went wrong."""


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
        if (self._home / name).exists() or self._store.rows("SELECT name FROM lessons WHERE name = ?", name):
            raise Refusal(409, f"there is a model called {name!r} already: choose another name", param="name")
        files = [str(self._texts.named(text).resolve()) for text in texts]
        with self._lock:
            self._make_way()
            row = {"name": name, "asked": json.dumps({"texts": list(texts), **asked}), "begun": now()}
            self._store.put("lessons", row | {"process": None, "code": None, "stopping": 0})
            self._start(name, [*files, "--out", str((self._home / name).resolve()), *_options(asked)])
        return self._told(self._row(name))

    def resume(self, name: str) -> dict[str, Any]:
        """Go on where it stopped. Errors: Refusal."""
        with self._lock:
            told = self._told(self._row(name))
            if told["state"] in {"running", "stopping"}:
                raise Refusal(409, "it is learning already", code="running")
            if not told["resumable"]:
                raise Refusal(409, "nothing is left to go on from: learn it anew", code="not_resumable")
            self._make_way()
            self._start(name, ["--resume", str((self._home / name).resolve())])
        return self._told(self._row(name))

    def stop(self, name: str) -> dict[str, Any]:
        """Let it save and leave."""
        row = self._row(name)
        if self._is_running(row):
            self._store.change("lessons", {"stopping": 1}, name=name)
            os.kill(row["process"], signal.SIGINT)
        return self._told(self._row(name))

    def remove(self, name: str) -> None:
        """Forget it, with what it learned. Errors: Refusal while it runs, FolderError."""
        if self._is_running(self._row(name)):
            raise Refusal(409, "it is still learning: stop it first", code="running")
        try:
            shutil.rmtree(self._home / name, ignore_errors=False) if (self._home / name).exists() else None
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
        self._home.mkdir(parents=True, exist_ok=True)
        with self._log(name).open("ab") as said:
            child = subprocess.Popen(  # noqa: S603 - our own command; names of files are never options
                [sys.executable, "-P", "-m", "fabula", "train", *arguments],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=self._home, start_new_session=True,
            )  # fmt: skip
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
        if row["code"] is not None or row["process"] is None:
            return False
        child = self._children.get(row["name"])
        if child is not None:
            return child.poll() is None
        try:
            os.kill(row["process"], 0)
        except OSError:
            return False
        try:  # another program may have got the number since
            command = Path(f"/proc/{row['process']}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return not Path("/proc").is_dir()
        return b"fabula" in command and os.fsencode(str((self._home / row["name"]).resolve())) in command

    # --- what is known ---------------------------------------------------------------------------------------------

    def _row(self, name: str) -> dict[str, Any]:
        rows = self._store.rows("SELECT * FROM lessons WHERE name = ?", name)
        if not rows:
            raise Refusal(404, "there is no such lesson", code="not_found")
        return rows[0]

    def _told(self, row: Mapping[str, Any]) -> dict[str, Any]:
        name, asked = row["name"], json.loads(row["asked"])
        history = History(self._home / name)
        history.recall()
        shown, model, running = history.state, self._has_model(name), self._is_running(row)
        resumable = folder.latest_step(self._home / name) is not None
        if running:
            state = "stopping" if row["stopping"] else "running"
        elif row["code"] == 0 or (row["code"] is None and model and not resumable):
            state = "done"
        elif row["code"] in {INTERRUPTED, 75} or (row["code"] is None and resumable):
            state = "stopped"
        else:
            state = "failed"
        seconds = shown.get("seconds")
        return {
            "name": name, "texts": asked["texts"], "time": asked["time"], "state": state,
            "error": self._fault(name) if state == "failed" else None, "begun": row["begun"],
            "progress": 1.0 if state == "done" else float(shown.get("progress") or 0.0),
            "seconds": round(float(seconds), 1) if isinstance(seconds, int | float) else 0.0,
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

    def _fault(self, name: str) -> str:
        lines = self._said(name).strip().splitlines()
        said = next((line for line in reversed(lines) if line.startswith("fabula: ")), lines[-1] if lines else "")
        return (said.removeprefix("fabula: ") or "it ended before it had begun")[:LINE]


def _options(asked: Mapping[str, Any]) -> list[str]:
    """What was asked for, as options of `fabula train`."""
    assert asked.get("unit") in {None, *UNITS}
    return [part for name, value in asked.items() if value is not None for part in (f"--{name}", str(value))]
