"""The `fabula` command: parses, calls one public function, prints. Product on stdout, everything else on stderr.

Starting it imports neither torch nor onnxruntime; each command is loaded when it is called.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from fabula import processes, stopping
from fabula.cli.pages import COMMANDS, EPILOGUE, SUMMARY
from fabula.cli.parsing import Parser, call, describe, suggestion
from fabula.errors import FabulaError, LostProcessError, UsageError
from fabula.version import __version__

BEGUN = time.perf_counter()
"""When the program started: what `--time` counts from."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code and never shows a traceback without `--debug`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        with stopping.leaving() if given[:1] in (["train"], ["store"]) else nullcontext():
            code = _run(given)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has enough; keep the interpreter from complaining about it on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except FabulaError as error:
        if debug:
            raise
        return _gave_up(error, given)
    except MemoryError:
        return _failed("not enough memory: try --size tiny, or less text", 1, given)
    except (KeyboardInterrupt, Exception) as error:  # Python itself may raise another in place of the signal's
        stopped = stopping.cause(error)
        if stopped is None:
            raise
        return processes.conclude(getattr(stopped, "exit_code", stopping.INTERRUPTED))
    return processes.conclude(code)


def _run(given: Sequence[str]) -> int:
    """Show a page or call a command; errors: whatever it raises, UsageError if there is none of that name."""
    name, *rest = given or ["--help"]
    if name in ("--help", "-h"):
        sys.stdout.write(page())
    elif name in ("--version", "-V"):
        sys.stdout.write(f"{__version__}\n")
    elif name in COMMANDS:
        return call(name, _function(name), COMMANDS[name], rest)
    else:
        raise UsageError(f"unknown command {name!r}{suggestion(name, COMMANDS)}: see fabula --help")
    return 0


def page(name: str = "") -> str:
    """The help of a command, or of them all."""
    if name:
        return describe(name, _function(name), COMMANDS[name]).format_help()
    parser = Parser("fabula", "fabula COMMAND [OPTIONS]", SUMMARY, EPILOGUE)
    parser.add_argument("-V", "--version", action="store_true", help="Say which fabula this is.")
    commands = parser.add_argument_group("commands")
    for command, text in COMMANDS.items():
        commands.add_argument(command, help=text.partition("\n")[0])
    return parser.format_help()


def _function(name: str) -> Callable[..., int]:
    """What a command calls: loaded when it is."""
    return getattr(importlib.import_module(f"fabula.cli.{name}"), name)


def _gave_up(error: FabulaError, given: Sequence[str]) -> int:
    """What is said and returned for an error; where all processes are started again it is not the last word."""
    if isinstance(error, LostProcessError) and not processes.is_last_try():
        return _failed(str(error), error.exit_code)
    return processes.conclude(_failed(str(error), error.exit_code, given))


def _failed(message: str, code: int, given: Sequence[str] = ()) -> int:
    """One line on stderr; with `--json` one object on stdout as well. Of several processes only the first speaks."""
    if not processes.is_first():
        return code
    line = visible(" ".join(message.split()))
    sys.stderr.write(f"fabula: {line}\n")
    if "--json" in given:
        sys.stdout.write(json.dumps({"error": line, "exit_code": code}, ensure_ascii=False) + "\n")
    return code


def visible(text: str) -> str:
    """Text that a terminal only shows: control characters other than line break and tab become U+FFFD.

    >>> visible("a\\x1b[31mb")
    'a\\ufffd[31mb'
    """
    return text.translate(_CONTROLS)


_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
