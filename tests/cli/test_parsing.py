"""A function's signature and docstring as its command line."""

from pathlib import Path
from typing import Annotated, Any

import pytest

from fabula.cli import page, parsing
from fabula.cli.doctor import doctor
from fabula.cli.pages import COMMANDS
from fabula.cli.parsing import Option
from fabula.errors import UsageError

CALLS: list[dict[str, Any]] = []


def tell(
    folder: Path,
    /,
    *texts: str,
    said: Annotated[str, Option("-s", free=True)] = "nothing",
    ban: Annotated[tuple[str, ...], Option(free=True)] = (),
    words: Annotated[int | None, Option("-w", about="How many, 100 % of them.")] = None,
    rate: float = 0.5,
    from_: Path | None = None,
    loud: Annotated[bool, Option("-l")] = False,
    quiet: Annotated[bool, Option("-q")] = False,
) -> int:
    """Tell.

    Parameters
    ----------
    folder
        Where it is.
    texts
        What else
        there is.
    said
        Anything.
    ban
        Never.
    rate
        How fast.
    from_
        Whence.
    loud
        Shout.
    quiet
        Whisper.
    """
    CALLS.append(dict(locals()))
    return 7


def heard(*words: str) -> dict[str, Any]:
    """What the function was called with, defaults left out."""
    CALLS.clear()
    assert parsing.call("tell", tell, "Tell.", words) == 7
    defaults = {"texts": (), "said": "nothing", "ban": (), "words": None, "rate": 0.5, "from_": None}
    defaults |= {"loud": False, "quiet": False}
    return {name: value for name, value in CALLS[0].items() if name not in defaults or value != defaults[name]}


HEARD: dict[str, tuple[list[str], dict[str, Any]]] = {
    "only what must be": (["a"], {}),
    "a number": (["a", "-w", "5"], {"words": 5}),
    "a number close by": (["a", "-w5", "--rate=.25"], {"words": 5, "rate": 0.25}),
    "a number below zero": (["a", "--rate", "-1"], {"rate": -1.0}),
    "a path": (["a", "--from", "b"], {"from_": Path("b")}),
    "flags together": (["a", "-lq"], {"loud": True, "quiet": True}),
    "options among the rest": (["-q", "a", "b", "-w", "5", "c"], {"quiet": True, "words": 5, "texts": ("b", "c")}),
    "the last counts": (["a", "-w", "5", "--words", "6"], {"words": 6}),
    "again and again": (["a", "--ban", "x", "--ban", "y"], {"ban": ("x", "y")}),
    "a hyphen said": (["a", "-s", "-x", "--ban", "--loud"], {"said": "-x", "ban": ("--loud",)}),
    "help said": (["a", "-s", "-h"], {"said": "-h"}),
    "nothing said": (["a", "-s", ""], {"said": ""}),
    "a line said": (["a", "-s", "one = two\n-w"], {"said": "one = two\n-w"}),
    "standard input": (["a", "-", "-s", "-"], {"texts": ("-",), "said": "-"}),
    "no options after this": (["a", "--", "-s", "--loud"], {"texts": ("-s", "--loud")}),
    "debug is for others": (["a", "--debug"], {}),
}


@pytest.mark.parametrize("case", HEARD)
def test_words_become_arguments(case: str) -> None:
    words, given = HEARD[case]
    assert heard(*words) == {"folder": Path("a"), **given}


WRONG = {
    "nothing": ([], "required: FOLDER"),
    "a misspelt option": (["a", "--word", "5"], "unknown option --word, did you mean --words?"),
    "one that only others have": (["a", "--labl"], "unknown option --labl: see"),
    "an unheard-of one": (["a", "--xyzzy"], "unknown option --xyzzy: see"),
    "one that is cut short": (["a", "--wor=5"], "unknown option --wor=5"),
    "no value": (["a", "-w"], "-w/--words: expected one argument"),
    "an option as value": (["a", "--from", "--loud"], "--from: expected one argument"),
    "no value said": (["a", "-s"], "-s/--said: expected one argument"),
    "no number": (["a", "-w", "many"], "invalid int value: 'many'"),
    "a value for a flag": (["a", "--loud=1"], "--loud"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_the_way_to_help(case: str) -> None:
    words, says = WRONG[case]
    CALLS.clear()
    with pytest.raises(UsageError) as wrong:
        parsing.call("tell", tell, "Tell.\n\n    fabula write a --label", words)
    assert says in str(wrong.value)
    assert str(wrong.value).endswith(": see fabula tell --help")
    assert not CALLS


def test_a_word_too_many_is_said() -> None:
    with pytest.raises(UsageError, match="expected nothing more, got 'now': see fabula doctor --help"):
        parsing.call("doctor", doctor, "Say.", ["--json", "now"])


def test_help_shows_all_and_calls_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    CALLS.clear()
    assert parsing.call("tell", tell, "Tell it.\n\n    fabula tell a  # as it stands", ["a", "-w", "1", "-h"]) == 0
    shown = capsys.readouterr().out
    assert not CALLS
    for part in (
        "usage: fabula tell [OPTIONS] FOLDER [TEXTS ...]", "    fabula tell a  # as it stands", "What else there is.",
        "-w, --words INT", "How many, 100 % of them.", "--from PATH", "-l, --loud ",
    ):  # fmt: skip
        assert part in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_page(name: str) -> None:
    assert page(name).startswith(f"usage: fabula {name} [OPTIONS]")
    assert " ".join(COMMANDS[name].partition("\n")[0].split()) in " ".join(page().split())
