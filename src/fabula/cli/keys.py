"""By which key what is done at the writing table, and the help page that says so; draws nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from fabula.cli import acts
from fabula.errors import FabulaError

if TYPE_CHECKING:
    from fabula.cli.screen import Screen


class Key(NamedTuple):
    """Some keys that do the same."""

    names: tuple[str, ...]
    label: str
    """What is printed on them; empty where the help says nothing of them."""
    about: str
    act: acts.Act


def show_help(screen: Screen) -> None:
    """Show all keys, or the story again."""
    screen.view.help, screen.view.top = () if screen.view.help else help_page(), 0


KEYS = (
    Key(("enter",), "Enter", "put down what you typed; with nothing typed the model goes on", acts.enter),
    Key(("c-w",), "^W", "the model tells a word", acts.telling("word")),
    Key(("c-t",), "^T", "... a sentence", acts.telling("sentence")),
    Key(("c-p",), "^P", "... a paragraph", acts.telling("paragraph")),
    Key(("c-g",), "^G", "... until you stop it or the story ends", acts.telling("story")),
    Key(("escape",), "Esc", "stop the model; close a list; forget what you typed", acts.escape),
    Key(("backspace",), "Backspace", "throw away what it told last, or the word before the cursor", acts.back),
    Key(("c-r",), "^R", "throw it away and let it tell something else", acts.again),
    Key(("left",), "arrows", "move by words and lines", acts.sideways(-1)),
    Key(("right",), "", "", acts.sideways(1)),
    Key(("up",), "", "", acts.lines(-1)),
    Key(("down",), "", "", acts.lines(1)),
    Key(("pageup",), "PgUp PgDn", "by pages", acts.lines(-1, page=True)),
    Key(("pagedown",), "", "", acts.lines(1, page=True)),
    Key(("home", "c-a"), "Home End", "to the beginning, to the end", acts.edge(-1)),
    Key(("end", "c-e"), "", "", acts.edge(1)),
    Key(("tab",), "Tab", "other words for the one under the cursor, at the end for the next", acts.words(1)),
    Key(("s-tab",), "", "", acts.words(-1)),
    Key(("c-n",), "^N", "the next of the branches that begin at the cursor", acts.turn),
    Key(("c-f",), "^F", "to the next place with branches", acts.fork),
    Key(("c-z",), "^Z ^Y", "undo, redo", acts.undo),
    Key(("c-y",), "", "", acts.redo),
    Key(("c-k",), "^K ^O", "set a bookmark, named by what you typed; go to one", acts.mark),
    Key(("c-o",), "", "", acts.marks),
    Key(("f9", "c-down"), "F9 F10", "temperature down, up (also Ctrl with the arrows)", acts.warmer(-0.1)),
    Key(("f10", "c-up"), "", "", acts.warmer(0.1)),
    Key(("c-x",), "^X ^S", "save as text; save now (it is saved all the time)", acts.export),
    Key(("c-s",), "", "", acts.save),
    Key(("f1",), "F1 ?", "these lines; ? only with nothing typed", show_help),
    Key(("c-q", "c-d"), "^Q", "leave; the story is saved", acts.leave),
    Key(("c-c", "<sigint>"), "", "", acts.interrupt),
)
KEEP_HELP = {"f1", "up", "down", "pageup", "pagedown", "c-q", "c-c", "c-d", "<sigint>"}
"""Keys that mean something while the help is shown; any other only closes it."""


def help_page() -> tuple[str, ...]:
    """All keys, a line each, and what the looks of words mean."""
    keys = [f"{key.label:<10} {key.about}" for key in KEYS if key.label]
    return (
        *keys,
        "^J         a new line",
        "Shade: from 1, 3, 6, 10 bits of surprise. Bold: yours. Underlined: copied.",
    )


def bindings(screen: Screen) -> KeyBindings:
    """All keys, for one screen."""
    keys = KeyBindings()

    def bind(name: str, act: Callable[[KeyPressEvent], None], *, eager: bool = False) -> None:
        @keys.add(name, eager=eager)
        def handle(event: KeyPressEvent) -> None:
            stopped = screen.stop()
            screen.view.message = ""
            try:
                if screen.view.help and name not in KEEP_HELP:
                    show_help(screen)
                elif not (stopped and name in {"enter", "escape", "c-c"}):
                    act(event)
            except FabulaError as error:
                screen.say(str(error))
            except Exception as error:  # noqa: BLE001 - the screen must go before anybody can read of it
                screen.fail(error)

    for key in KEYS:
        for name in key.names:
            bind(name, lambda event, key=key: key.act(screen))  # noqa: ARG005

    def typed(event: KeyPressEvent) -> None:
        key, view = event.key_sequence[0].key, screen.view
        if len(key) != 1:
            return
        if view.panel and key.isascii() and key.isdigit() and 0 < int(key) <= len(view.panel.lines):
            view.panel.chosen = int(key) - 1
            acts.enter(screen)
        elif key == "?" and not view.typed:
            show_help(screen)
        else:
            acts.type_in(screen, event.data)

    bind("<any>", typed)
    bind("c-j", lambda event: acts.type_in(screen, "\n"))  # noqa: ARG005
    bind("<bracketed-paste>", lambda event: acts.type_in(screen, event.data))
    return keys
