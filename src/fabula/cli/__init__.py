"""The `fabula` command: parses, calls one public function, prints. Product on stdout, everything else on stderr.

Starting it imports neither torch nor onnxruntime; each command is loaded when it is called.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext

import cyclopts

from fabula import processes, stopping
from fabula.cli.options import STDIN
from fabula.cli.pages import COMMANDS, EPILOGUE, SUMMARY
from fabula.errors import FabulaError, LostProcessError
from fabula.version import __version__

BEGUN = time.perf_counter()
"""When the program started: what `--time` counts from."""

app = cyclopts.App(
    name="fabula",
    help=SUMMARY,
    help_epilogue=EPILOGUE,
    help_format="plaintext",
    version=__version__,
    version_flags=["--version", "-V"],
    help_flags=["--help", "-h"],
    default_parameter=cyclopts.Parameter(show_default=False),
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # which signal it was decides what is returned
)
for order, (name, page) in enumerate(COMMANDS.items()):
    app.command(f"fabula.cli.{name}:{name}", name=name, help=page, help_epilogue="", sort_key=order)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code and never shows a traceback without `--debug`."""
    given = [STDIN if word == "-" else word for word in (sys.argv[1:] if arguments is None else arguments)]
    debug = "--debug" in given
    try:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        with stopping.leaving() if given[:1] in (["train"], ["store"]) else nullcontext():
            code = app(given, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has enough; keep the interpreter from complaining about it on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except cyclopts.CycloptsError as error:
        if debug:
            raise
        return processes.conclude(_failed(_sentence(error), 2, given))
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
    return processes.conclude(code if isinstance(code, int) else 0)


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


def _sentence(error: cyclopts.CycloptsError) -> str:
    """A parsing error as one line that says where help is."""
    command = " ".join(getattr(error, "command_chain", None) or ())
    return f"{str(error).strip().rstrip('.')}: see fabula {command + ' ' if command else ''}--help"


def visible(text: str) -> str:
    """Text that a terminal only shows: control characters other than line break and tab become U+FFFD.

    >>> visible("a\\x1b[31mb")
    'a\\ufffd[31mb'
    """
    return text.translate(_CONTROLS)


_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
