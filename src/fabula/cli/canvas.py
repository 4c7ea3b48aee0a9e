"""What stands on the screen of the writing table: the story with its shades, a list, a line of facts; knows no keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import get_cwidth

from fabula.cli import facts
from fabula.cli.facts import shown
from fabula.cli.sheet import Piece, Sheet
from fabula.table import Copies, Desk

ENTRY, CARET = -1, -2
"""Keys of what is being typed, beside the numbers of the words."""

LEAST = (40, 8)
"""Columns and lines below which there is no room to write."""

MESSAGE = 4
"""Most lines of a message."""

GLANCE = 0.02
"""Seconds in which words are judged before the screen is drawn; the others follow."""

SHADES = (1.0, 3.0, 6.0, 10.0)
"""Bits from which a word is shaded, and shaded more."""

LOOK = Style.from_dict(
    {
        "shade1": "bg:#fff3bf fg:#000000",
        "shade2": "bg:#ffd8a8 fg:#000000",
        "shade3": "bg:#ffa94d fg:#000000",
        "shade4": "bg:#ff6b6b fg:#000000",
        "own": "bold",
        "copied": "underline",
        "away": "dim",
        "under": "reverse",
        "bar": "reverse",
    }
)
"""Only shades have colours; all else can be told apart without any."""

HINT = "Enter go on  Tab other words  Backspace take away  ^Z undo  F1 keys  ^Q leave"
OFFER = "Enter go on  Backspace throw away  ^R something else  Tab other words  F1 keys"
TELLING = "telling: Esc stops, and so does any key"


@dataclass
class Panel:
    """A list of which one thing can be taken."""

    title: str
    lines: list[str]
    take: Callable[[int], None]
    preview: Callable[[int], str] = lambda chosen: ""  # noqa: ARG005
    """What would come into the gap."""
    chosen: int = 0


@dataclass
class View:
    """What is to be seen beside the story."""

    typed: str = ""
    caret: int = 0
    """Where in what is being typed the next character comes."""
    panel: Panel | None = None
    message: str = ""
    """Takes the place of the hint until the next key."""
    help: tuple[str, ...] = ()
    telling: bool = False
    top: int = 0
    """The first line that is shown, of the story or of the help."""

    def ask(self, panel: Panel | None) -> None:
        """Open a list, or close the one that is open."""
        self.panel = panel


class Canvas:
    """Draws a desk and a view."""

    def __init__(self, desk: Desk, view: View) -> None:
        self.desk, self.view, self.sheet = desk, view, Sheet()
        self.unfinished = False
        """Whether some of what is shown was not judged yet: it wants to be drawn again."""
        self._copies: tuple[tuple[int, int], Copies | None] = ((-1, -1), None)
        self._look_again = 0.0
        self._place = 0  # of the gap among the pieces

    def story(self, columns: int, lines: int) -> StyleAndTextTuples:
        """The lines of the story about the cursor, with the shades of their words."""
        view = self.view
        self.arrange(columns)
        line = self.sheet.line_of(self._place)
        view.top = max(line - lines + 1, min(view.top, line, max(0, len(self.sheet.lines) - lines)))
        visible = self.sheet.lines[view.top : view.top + lines]
        self._judge({part.key for row in visible for part in row})
        style = self._styles()
        drawn: StyleAndTextTuples = []
        caret: int | None = (
            CARET if view.typed or view.panel or self.desk.table.under is None else self.desk.table.under
        )
        for row in visible:
            for part in row:
                bare = part.text.lstrip(" ")
                looks = style(part.key)
                if lead := part.text[: len(part.text) - len(bare)]:
                    drawn.append(
                        (" ".join(look for look in looks if look != "class:under" and "shade" not in look), lead)
                    )
                if bare and part.key == caret:
                    drawn.append(("[SetCursorPosition]", ""))
                    caret = None
                drawn.append((" ".join(looks), bare))
            drawn.append(("", "\n"))
        return drawn[:-1]

    def arrange(self, columns: int) -> None:
        """Lay the story out, with what is being typed, or a choice, in its gap."""
        view, table = self.view, self.desk.table
        pieces = [Piece(word, table.words[word].text) for word in table.path[1 : table.gap + 1]]
        after = [Piece(word, table.words[word].text) for word in table.path[table.gap + 1 :]]
        self._place = len(pieces)
        if view.typed:
            before, on = view.typed[: view.caret], view.typed[view.caret : view.caret + 1]
            pieces += [Piece(ENTRY, before)] if before else []
            self._place = len(pieces)
            pieces.append(Piece(CARET, on if on.strip() else "\u00a0" + on.strip(" ")))
            pieces.append(Piece(ENTRY, view.typed[view.caret + 1 :]))
        elif view.panel and (text := view.panel.preview(view.panel.chosen)):
            pieces.append(Piece(CARET, text))
            after = after[1:]
        elif not after:
            pieces.append(Piece(CARET, "\u00a0"))
        self.sheet.lay([*pieces, *after], columns)

    def cursor(self) -> tuple[int, int]:
        """Line and column of the cursor, as it was laid out last."""
        line, under = self.sheet.line_of(self._place), self.desk.table.under
        key = CARET if under is None else under
        return line, next((column for column, word in self._words(line) if word == key), 0)

    def word_at(self, line: int, column: int) -> int | None:
        """The word that stands at a column of a line, or before it, by its place in the path; None on an empty line."""
        words = [(begin, word) for begin, word in self._words(line) if word >= 0]
        near = [word for begin, word in words if begin <= column] or [word for _, word in words[:1]]
        return self.desk.table.path.index(near[-1]) if near else None

    def _words(self, line: int) -> list[tuple[int, int]]:
        """The columns in which what is visible on a line begins, and the keys of it."""
        found, column = list[tuple[int, int]](), 0
        for part in self.sheet.lines[line]:
            lead = len(part.text) - len(part.text.lstrip(" "))
            if lead < len(part.text):
                found.append((column + lead, part.key))
            column += sum(max(0, get_cwidth(character)) for character in part.text)
        return found

    def panel(self, columns: int, lines: int) -> StyleAndTextTuples:
        """The list, the line that is chosen reversed."""
        panel = self.view.panel
        if panel is None or lines < 2:
            return []
        first = max(0, min(panel.chosen - (lines - 1) // 2, len(panel.lines) - (lines - 1)))
        drawn: StyleAndTextTuples = [("bold", fitted(panel.title, columns))]
        for number, line in enumerate(panel.lines[first : first + lines - 1], first):
            looks = "class:under" if number == panel.chosen else ""
            drawn += [("", "\n"), (looks, fitted(line, columns))]
        return drawn

    def facts(self, columns: int) -> StyleAndTextTuples:
        """One line: what is copied, the surprise of the word under the cursor, where in the tree one is."""
        desk, table = self.desk, self.desk.table
        parts = [facts.copied(self.copies())]
        word = table.under if table.under is not None else table.here
        if word:
            parts.append(f'"{facts.spelled(table.words[word].text)}" {facts.surprise(desk.nats(word))}')
        now, branches = table.versions
        if branches > 1 or (branches and not now):
            parts.append(f"branch {now} of {branches}" if now else f"branches here: {branches}")
        parts += [f"temperature {desk.sampling.temperature:g}", f"seed {desk.sampling.seed}"]
        return [("class:bar", fitted(" | ".join(parts), columns, fill=True))]

    def hint(self, columns: int) -> list[str]:
        """A message on as many lines as it takes, or what one can do on one."""
        if self.view.message:
            sheet = Sheet()
            sheet.lay([Piece(0, self.view.message)], columns)
            return ["".join(part.text for part in line) for line in sheet.lines[:MESSAGE]]
        ended = "the model ends the story here; Enter goes on all the same"
        hint = ended if self.desk.ended else OFFER if self.desk.offered else HINT
        return [fitted(TELLING if self.view.telling else hint, columns)]

    def copies(self) -> Copies | None:
        """What is copied; while the model tells only looked at now and then, the longer the story the less often."""
        table = self.desk.table
        key, now = (table.tip, len(table.path)), time.perf_counter()
        if key != self._copies[0] and (not self.view.telling or now >= self._look_again):
            self._copies = key, self.desk.copied()
            self._look_again = time.perf_counter() + 10 * (time.perf_counter() - now)
        return self._copies[1]

    def _judge(self, words: set[int]) -> None:
        until = time.perf_counter() + GLANCE
        unknown = [word for word in sorted(words) if word > 0 and self.desk.table.words[word].nats is None]
        for word in unknown:
            self.desk.nats(word)
            if time.perf_counter() > until:
                break
        self.unfinished = any(self.desk.table.words[word].nats is None for word in unknown)

    def _styles(self) -> Callable[[int], list[str]]:
        """How each word looks."""
        table, view, copies = self.desk.table, self.view, self.copies()
        copied = {table.path[place] for place in copies.places if place < len(table.path)} if copies else set[int]()
        away = set(table.path[table.gap + 1 :]) if view.typed or view.panel else set[int]()
        under = table.under if not (view.typed or view.panel) else None

        def style(key: int) -> list[str]:
            if key < 0:
                return ["class:own"] if key == ENTRY else ["class:own class:under"]
            word = table.words[key]
            level = sum(facts.bits(word.nats or 0.0) >= bound for bound in SHADES)
            looks = {"own": word.own, "copied": key in copied, "away": key in away, "under": key == under}
            shade = [f"class:shade{level}"] if level and key not in away else []
            return shade + [f"class:{name}" for name, given in looks.items() if given]

        return style


def fitted(text: str, columns: int, *, fill: bool = False) -> str:
    """One line of text in a number of cells, cut or filled up.

    >>> fitted("老鼠 ran", 5), fitted("ran", 5, fill=True)
    ('老鼠 ', 'ran  ')
    """
    line, used = "", 0
    for character in shown(text).replace("\n", " "):
        width = max(0, get_cwidth(character))
        if used + width > columns:
            break
        line, used = line + character, used + width
    return line + " " * (columns - used) if fill else line
