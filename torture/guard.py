"""Watches the interpreter while data is read: nothing may be run, started, called up or written outside. Knows no data.

Python tells an audit hook of everything of that kind (PEP 578); a hook cannot be taken off again, so it is switched.
"""

from __future__ import annotations

import inspect
import os
import sys
import sysconfig
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RUNS = (
    "exec", "compile", "code.__new__", "marshal.", "pickle.", "subprocess.", "os.system", "os.exec", "os.spawn",
    "os.posix_spawn", "os.fork", "os.startfile", "pty.", "ctypes.", "socket.", "urllib.", "http.", "ftplib.",
    "smtplib.", "webbrowser.", "shelve.", "importlib.", "sys.setprofile", "sys.settrace", "function.__new__",
    "cpython.run_",
)  # fmt: skip
"""Beginnings of the names of what runs code or reaches out."""

WRITES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
          "os.chown", "os.utime", "shutil.", "tempfile.")  # fmt: skip
"""Changes of the disk other than by opening a file."""

LIBRARIES = tuple({os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platlib", "purelib")})
"""Importing a module of these is no code of the data's; they are loaded before, but for a few of the encodings."""

_state: dict[str, Any] = {"armed": False, "inside": (), "seen": [], "hooked": False}


def watch(inside: Sequence[Path]) -> None:
    """Begin, switched off; what is written below `inside` is allowed."""
    _state["inside"] = tuple(os.path.realpath(path) for path in inside)
    if not _state["hooked"]:
        _state["hooked"] = True
        sys.addaudithook(_hook)


@contextmanager
def armed() -> Iterator[None]:
    """Watch while data is read."""
    _state["armed"] = True
    try:
        yield
    finally:
        _state["armed"] = False


def calm() -> None:
    """Forget what was seen."""
    _state["seen"] = []


def seen() -> list[str]:
    """What must not have happened, in the order it did."""
    return _state["seen"]


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _state["armed"]:
        return
    _state["armed"] = False  # looking at it opens nothing, but may be audited itself
    try:
        said = _complaint(event, arguments)
        if said:
            _state["seen"].append(said[:160])
    finally:
        _state["armed"] = True


def _complaint(event: str, arguments: tuple[Any, ...]) -> str | None:
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            return None if _is_inside(path) else f"wrote {path!r}"
        return None
    if event == "exec":  # of a module from the disk, or of a text
        name = getattr(arguments[0], "co_filename", "")
        return None if _is_library(name) or _is_programs_own() else f"ran code of {name!r}"
    if event in ("compile", "marshal.loads", "code.__new__", "marshal.load"):
        return None if _is_programs_own() else f"{event} {arguments!r}"
    if event.startswith(WRITES):
        paths = [part for part in arguments if isinstance(part, str | bytes | os.PathLike)]
        return None if all(map(_is_inside, paths)) else f"{event} {paths!r}"
    return event if event.startswith(RUNS) else None


def _is_inside(path: Any) -> bool:
    if isinstance(path, int):
        return True
    return os.path.realpath(os.fsdecode(path)).startswith((*_state["inside"], "/dev/null"))


def _is_library(path: str) -> bool:
    return path.startswith("<frozen ") or os.path.realpath(path).startswith(LIBRARIES)


def _is_programs_own() -> bool:
    """Whether a module is being loaded just now, or an annotation in a program's own source is being looked up."""
    frame = sys._getframe()
    while frame := frame.f_back:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib") or name in (typing.__file__, inspect.__file__):
            return True
    return False
