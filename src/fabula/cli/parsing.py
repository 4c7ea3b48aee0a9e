"""A command's function as its command line: signature and docstring -> argparse -> a call; knows no command.

argparse is there in a few milliseconds; libraries that read signatures take a third of the time to a story's first word
(docs/log.md).
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn, get_args, get_origin, get_type_hints

from fabula.errors import UsageError

SHOWN = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}
"""What help calls a value."""


class Option(NamedTuple):
    """What an annotation says of an option beyond its type."""

    short: str = ""
    free: bool = False
    """Its value may begin with a hyphen, as what people say does."""
    about: str = ""
    """What it is for, where the docstring does not say so."""


class Page(argparse.RawDescriptionHelpFormatter):
    """Examples as they stand, and an option as `-w, --words INT`, whatever Python."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        return ", ".join(action.option_strings) + (f" {action.metavar}" if action.nargs != 0 else "")


class Parser(argparse.ArgumentParser):
    """Says what is wrong as one of fabula's errors, not by leaving."""

    def __init__(self, prog: str, usage: str, description: str, epilog: str = "") -> None:
        super().__init__(prog, usage, description, epilog, formatter_class=Page, add_help=False, allow_abbrev=False)
        self.add_argument("-h", "--help", action="help", help="Show this page.")
        self.names = ["--help", "--debug"]
        """Long names of all options."""
        self.free: dict[str, str] = {}
        """Names of options whose values may begin with a hyphen, each with the long one."""

    def error(self, message: str) -> NoReturn:
        """Errors: UsageError, always."""
        raise UsageError(f"{message}: see {self.prog} --help")


def call(name: str, function: Callable[..., int], page: str, words: Sequence[str]) -> int:
    """Call a command's function with what stands on its command line; errors: UsageError."""
    parser = describe(name, function, page)
    try:
        found, rest = parser.parse_known_intermixed_args(list(_joined(words, parser.free)))
    except SystemExit:  # help was shown
        return 0
    if rest:
        parser.error(_unknown(rest, parser.names))
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in vars(found).items()}
    del given["debug"]  # main looks for it
    first: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            first += given.pop(parameter.name)
        elif parameter.kind is parameter.POSITIONAL_ONLY:
            first.append(given.pop(parameter.name))
    return function(*first, **given)


def describe(name: str, function: Callable[..., int], page: str) -> Parser:
    """The command line of a command: what it takes, and its help with this page on top."""
    hints, about = get_type_hints(function, include_extras=True), _meanings(function)
    parser = Parser(f"fabula {name}", f"fabula {name} [OPTIONS]", page)
    for parameter in inspect.signature(function).parameters.values():
        kind, option = _read(hints[parameter.name])
        how: dict[str, Any] = {"help": (option.about or about[parameter.name]).replace("%", "%%")}
        if parameter.kind is parameter.KEYWORD_ONLY:
            long = f"--{parameter.name.rstrip('_').replace('_', '-')}"
            names = [option.short, long] if option.short else [long]
            parser.names.append(long)
            how |= {"dest": parameter.name, "default": argparse.SUPPRESS}  # the function has its own
            if kind is bool:
                how["action"] = "store_true"
            else:
                how |= {"type": kind, "metavar": SHOWN[kind]}
                how["action"] = "append" if isinstance(parameter.default, tuple) else "store"
            parser.free |= dict.fromkeys(names, long) if option.free else {}
        else:
            many, shown = parameter.kind is parameter.VAR_POSITIONAL, parameter.name.upper()
            names = [parameter.name]
            how |= {"type": kind, "metavar": shown, "nargs": "*" if many else None}
            parser.usage = f"{parser.usage} [{shown} ...]" if many else f"{parser.usage} {shown}"
        parser.add_argument(*names, **how)
    parser.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
    return parser


def _read(hint: Any) -> tuple[Any, Option]:  # noqa: ANN401
    """The type of one value and what else is said: `Annotated[int | None, Option("-w")]` -> int, Option("-w")."""
    option = Option()
    if get_origin(hint) is Annotated:
        hint, option = get_args(hint)
    return next(iter(get_args(hint)), hint), option  # of `int | None` and of `tuple[str, ...]` the first


def _meanings(function: Callable[..., int]) -> Mapping[str, str]:
    """What the docstring says of each parameter."""
    found: dict[str, str] = {}
    name = ""
    for line in (inspect.getdoc(function) or "").partition("Parameters\n----------\n")[2].splitlines():
        if line and not line[0].isspace():
            name = line
        else:
            found[name] = f"{found.get(name, '')} {line.strip()}".strip()
    return found


def _joined(words: Iterable[str], free: Mapping[str, str]) -> Iterator[str]:
    """`-p -x` as `--prompt=-x` for what is free: argparse would take `-x` for an option.

    >>> list(_joined(["-p", "-x", "-w", "5"], {"-p": "--prompt"}))
    ['--prompt=-x', '-w', '5']
    """
    rest = iter(words)
    for word in rest:
        if word == "--":
            yield from (word, *rest)
        elif word in free and (value := next(rest, None)) is not None:
            yield f"{free[word]}={value}"
        else:
            yield word


def _unknown(rest: Sequence[str], names: Iterable[str]) -> str:
    """What is wrong with words that nothing takes."""
    wrong = next((word for word in rest if word.startswith("-")), None)
    if wrong is None:
        return f"expected nothing more, got {rest[0]!r}"
    return f"unknown option {wrong}{suggestion(wrong, names)}"


def suggestion(wrong: str, right: Iterable[str]) -> str:
    """What may have been meant, if something is near.

    >>> suggestion("--wrds", ["--words", "--end"])
    ', did you mean --words?'
    """
    import difflib  # noqa: PLC0415

    near = difflib.get_close_matches(wrong, list(right), n=1)
    return f", did you mean {near[0]}?" if near else ""
