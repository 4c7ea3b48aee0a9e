"""What can be done at the writing table; knows no key, and draws nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from fabula.cli import facts
from fabula.cli.canvas import Panel
from fabula.stopping import INTERRUPTED

if TYPE_CHECKING:
    from fabula.cli.screen import Screen

Act = Callable[["Screen"], None]


def enter(screen: Screen) -> None:
    """Take what is chosen, put down what is typed, or let the model go on."""
    view = screen.view
    if view.panel:
        panel = view.panel
        view.ask(None)
        panel.take(panel.chosen)
    elif view.typed:
        screen.desk.put_down(view.typed)
        view.typed, view.caret = "", 0
    else:
        screen.go_on(screen.stretch)


def telling(stretch: str) -> Act:
    """Put down what is typed, and let the model go on so far."""

    def act(screen: Screen) -> None:
        if screen.view.typed:
            enter(screen)
        screen.go_on(stretch)

    return act


def again(screen: Screen) -> None:
    """Throw away what the model told, and let it tell something else."""
    screen.desk.throw_away()
    screen.go_on(screen.asked)


def back(screen: Screen) -> None:
    """Take away the last character typed, what the model told, or the word before the cursor."""
    view, table = screen.view, screen.desk.table
    if view.panel:
        view.ask(None)
    elif view.typed:
        view.typed = view.typed[: max(0, view.caret - 1)] + view.typed[view.caret :]
        view.caret = max(0, view.caret - 1)
    elif not screen.desk.throw_away() and table.gap:
        table.remember()
        table.move(-1)
        table.cut()
        screen.say("gone from here, but kept as a branch: ^Z brings it back")


def escape(screen: Screen) -> None:
    """Close the list, or forget what is typed."""
    view = screen.view
    if view.panel:
        view.ask(None)
    else:
        view.typed, view.caret = "", 0


def words(step: int) -> Act:
    """Open the list of other words, or choose the next in the list that is open."""

    def act(screen: Screen) -> None:
        view, desk = screen.view, screen.desk
        if view.panel:
            view.panel.chosen = (view.panel.chosen + step) % len(view.panel.lines)
            return
        if view.typed:
            enter(screen)
        choices, under = desk.choices(), desk.table.under
        if not choices:
            screen.say("the model knows no word for this place")
            return
        there = desk.table.words[under].text if under is not None else None
        lines = [f"{number if number < 10 else ' '} {facts.offered(one)}" for number, one in enumerate(choices, 1)]
        title = f"in place of {facts.spelled(there)!r}:" if there is not None else "the next word:"
        now = next((number for number, one in enumerate(choices) if one.text == there), None)
        first = (0 if step > 0 else -1) if now is None else now + step
        view.ask(
            Panel(
                f"{title} Tab chooses, Enter takes, Esc leaves it",
                lines,
                lambda number: desk.take(choices[number]),
                lambda number: choices[number].text,
                first % len(choices),
            )
        )

    return act


def sideways(step: int) -> Act:
    """One character of what is typed, or one word of the story."""

    def act(screen: Screen) -> None:
        view = screen.view
        if view.typed:
            view.caret = min(max(0, view.caret + step), len(view.typed))
        else:
            view.ask(None)
            screen.desk.table.move(step)

    return act


def lines(step: int, *, page: bool = False) -> Act:
    """Lines up or down: of the help, of a list, of the story."""

    def act(screen: Screen) -> None:
        view, canvas, table = screen.view, screen.canvas, screen.desk.table
        far = step * max(1, screen.height - 2) if page else step
        if view.help:
            view.top += far
        elif view.panel:
            view.panel.chosen = min(max(0, view.panel.chosen + far), len(view.panel.lines) - 1)
        elif not view.typed:
            canvas.arrange(screen.size[0])
            line, column = canvas.cursor()
            line = min(max(0, line + far), len(canvas.sheet.lines) - 1)
            while (place := canvas.word_at(line, column)) is None and 0 < line < len(canvas.sheet.lines) - 1:
                line += 1 if step > 0 else -1
            table.move((len(table.path) if place is None and step > 0 else (place or 1) - 1) - table.gap)

    return act


def edge(step: int) -> Act:
    """To the beginning or the end, of what is typed or of the story."""

    def act(screen: Screen) -> None:
        view, table = screen.view, screen.desk.table
        if view.typed:
            view.caret = 0 if step < 0 else len(view.typed)
        else:
            view.ask(None)
            table.move(step * len(table.path))

    return act


def turn(screen: Screen) -> None:
    """Let the next branch follow."""
    table = screen.desk.table
    screen.view.ask(None)
    now, branches = table.versions
    if branches > (now > 0):
        table.remember()
        table.turn(1)
    else:
        screen.say("no other branch begins here")


def fork(screen: Screen) -> None:
    """Go to the next place where branches begin."""
    screen.view.ask(None)
    if not screen.desk.table.go_to_branching(1):
        screen.say("no branches yet: to go on from an earlier word makes one")


def undo(screen: Screen) -> None:
    """Take a step back."""
    screen.view.ask(None)
    if not screen.desk.table.undo():
        screen.say("nothing to undo")


def redo(screen: Screen) -> None:
    """Take it again."""
    screen.view.ask(None)
    if not screen.desk.table.redo():
        screen.say("nothing to redo")


def mark(screen: Screen) -> None:
    """Remember this place, by the name that is typed."""
    name = screen.desk.table.mark(screen.view.typed.strip())
    screen.view.typed, screen.view.caret = "", 0
    screen.say(f"bookmark: {name}")


def marks(screen: Screen) -> None:
    """List the bookmarks."""
    table = screen.desk.table
    names = list(table.bookmarks)
    if not names:
        screen.say("no bookmarks yet: ^K sets one here")
        return

    def go(number: int) -> None:
        table.remember()
        table.visit(table.bookmarks[names[number]])

    screen.view.ask(Panel("bookmarks: Tab chooses, Enter goes there, Esc stays", names, go))


def warmer(step: float) -> Act:
    """Change the temperature."""

    def act(screen: Screen) -> None:
        low, high = 0.0, 5.0
        value = min(max(low, round(screen.desk.sampling.temperature + step, 1)), high)
        screen.desk.sampling = dataclasses.replace(screen.desk.sampling, temperature=value)

    return act


def export(screen: Screen) -> None:
    """Save the present story as text."""
    screen.say(f"the story as text: {screen.export()}")


def save(screen: Screen) -> None:
    """Save now."""
    if screen.save():
        screen.say(f"saved: {screen.keeper.path}")


def leave(screen: Screen) -> None:
    """Save and go."""
    screen.leave()


def interrupt(screen: Screen) -> None:
    """The same with the exit code of what was interrupted."""
    screen.leave(INTERRUPTED)


def type_in(screen: Screen, text: str) -> None:
    """Take in what was typed or pasted; a word after a word brings its space."""
    view = screen.view
    clean = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode()
    clean = "".join(
        character for character in clean if character in "\n\t" or character.isprintable() or ord(character) > 159
    )
    view.ask(None)
    lead = "" if view.typed else screen.desk.seam(clean)
    view.typed = view.typed[: view.caret] + lead + clean + view.typed[view.caret :]
    view.caret += len(lead + clean)
