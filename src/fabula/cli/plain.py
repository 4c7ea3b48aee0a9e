"""The writing table line by line, for scripts and screen readers: a line of yours, then the model's; no screen."""

from __future__ import annotations

import dataclasses
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from fabula.cli import facts, visible
from fabula.cli.options import print_json
from fabula.errors import FabulaError, UsageError
from fabula.table import Choice, Desk, Keeper

HELP = """\
a line of text   goes into the story, and the model answers; an empty line lets it go on
/word /sentence /paragraph /rest   let it go on so far; the rest is to the story's end
/again           throw away what it told last, and let it tell something else
/words           the likeliest next words; /take 2 takes the second
/back 3 /on 3    go back or on by words; /end goes to the end
/next            the next of the branches that begin here
/undo /redo      take a step back, take it again
/break           begin a new paragraph
/bits            how much each word since the last line surprised the model
/mark NAME       remember this place; /marks lists them, /go NAME goes there
/temperature 0.6 how bold it is
/story           the story up to here; /save FILE writes it as text
/help            these lines; /quit leaves, and so does the end of the input: all is saved"""


class Plain:
    """One sitting at a table, line by line; what the model says goes to `tell`, all else to `say`."""

    def __init__(
        self, desk: Desk, stretch: str, *, tell: Callable[[str], object], say: Callable[[str], object]
    ) -> None:
        self.desk, self.stretch, self._tell, self._say = desk, stretch, tell, say
        self.over = False
        """Whether somebody wants to leave."""
        self._last: list[int] = []  # the words of the last line and its answer
        self._asked = stretch  # how far the model went last
        self._choices: list[Choice] = []
        walk = self._walk
        self._commands: dict[str, Callable[[str], object]] = {
            "word": lambda _: self._go_on("word"),
            "sentence": lambda _: self._go_on("sentence"),
            "paragraph": lambda _: self._go_on("paragraph"),
            "rest": lambda _: self._go_on("story"),
            "again": self._again,
            "words": self._words,
            "take": self._take,
            "back": lambda text: walk(desk.table.move(-_number(text or "1"))),
            "on": lambda text: walk(desk.table.move(_number(text or "1"))),
            "end": lambda _: walk(desk.table.move(len(desk.table.path))),
            "next": lambda _: walk(desk.table.turn(1)),
            "undo": lambda _: walk(desk.table.undo()),
            "redo": lambda _: walk(desk.table.redo()),
            "break": lambda _: desk.put_down("\n\n"),
            "bits": self._bits,
            "mark": lambda text: say(f"bookmark: {desk.table.mark(text)}"),
            "marks": lambda _: [say(mark) for mark in desk.table.bookmarks],
            "go": self._go,
            "temperature": self._temperature,
            "story": lambda _: tell(desk.table.tail(desk.table.gap + 1)),
            "save": self._save,
            "help": lambda _: say(HELP),
            "quit": self._quit,
        }

    def take(self, line: str) -> None:
        """Follow one line; errors: UsageError for a command that cannot be, TextError, UnknownSymbolError."""
        if line.startswith("/") and not line.startswith("//"):
            name, _, rest = line[1:].strip().partition(" ")
            if name not in self._commands:
                raise UsageError(f"/{name:.40} is no command here: /help lists them, and // begins a line with /")
            self._commands[name](rest.strip())
            return
        text, before = line.removeprefix("/"), self.desk.table.gap + 1
        if text.strip():
            self.desk.put_down(self.desk.seam(text) + text)
        self._go_on(self.stretch, self.desk.table.path[before : self.desk.table.gap + 1])

    def _go_on(self, stretch: str, own: Sequence[int] = ()) -> None:
        self._asked = stretch
        told = list(self.desk.tell(stretch))
        self._last = [*own, *told]
        self._tell("".join(self.desk.table.words[word].text for word in told).lstrip(" "))

    def _again(self, text: str) -> None:  # noqa: ARG002
        self.desk.throw_away()
        self._go_on(self._asked)

    def _words(self, text: str) -> None:  # noqa: ARG002
        self._choices = self.desk.choices()
        for number, choice in enumerate(self._choices, 1):
            self._say(f"{number} {facts.offered(choice)}")

    def _take(self, text: str) -> None:
        number = _number(text)
        if not 1 <= number <= len(self._choices):
            raise UsageError(f"/take must have a number of the last /words, got {number}")
        self.desk.take(self._choices[number - 1])
        self._choices.clear()
        self._last = [self.desk.table.here]

    def _bits(self, text: str) -> None:  # noqa: ARG002
        for word, bits in facts.surprises(self.desk, self._last):
            self._say(f"{bits:5.1f} {word}")

    def _go(self, name: str) -> None:
        table = self.desk.table
        if name not in table.bookmarks:
            raise UsageError(f"/go must have the name of a bookmark, got {name!r:.40}: /marks lists them")
        table.remember()
        table.visit(table.bookmarks[name])
        self._walk(moved=True)

    def _temperature(self, text: str) -> None:
        try:
            value = float(text)
        except ValueError:
            raise UsageError(f"/temperature must have a number, got {text!r:.40}") from None
        self.desk.sampling = dataclasses.replace(self.desk.sampling, temperature=value)

    def _save(self, name: str) -> None:
        if not name:
            raise UsageError("/save must have the name of a file: /save story.txt")
        write(Path(name), self.desk.table.text)

    def _quit(self, text: str) -> None:  # noqa: ARG002
        self.over = True

    def _walk(self, moved: bool) -> None:
        where = " ".join(self.desk.table.tail(8).split())
        self._say(f"... {where}" if moved else "there is nothing further that way")


def run(desk: Desk, keeper: Keeper, stretch: str, *, json: bool, quiet: bool) -> int:
    """Sit at the table until the input ends; saves after every line, and what is left when interrupted."""
    clean = visible if sys.stdout.isatty() else str
    people = sys.stdin.isatty()
    sitting = Plain(
        desk,
        stretch,
        tell=lambda text: None if json else print_line(sys.stdout, clean(text)),
        say=lambda text: print_line(sys.stderr, visible(text)),
    )
    with interruptible():
        try:
            for line in _lines(people=people and not quiet):
                try:
                    sitting.take(line)
                except FabulaError as error:
                    if not people:  # a script must not go on as if nothing had been
                        raise
                    print_line(sys.stderr, visible(f"fabula: {' '.join(str(error).split())}"))
                place = keeper.path
                keeper.save(desk.table)
                if keeper.path != place:
                    print_line(sys.stderr, visible(f"another program changed {place}: from now on in {keeper.path}"))
                if sitting.over:
                    break
        finally:
            keeper.save(desk.table)
    if json:
        print_json(report(desk, keeper))
    elif not quiet:
        print_line(sys.stderr, facts.copied(desk.copied()))
    return 0


def report(desk: Desk, keeper: Keeper) -> dict[str, Any]:
    """What `--json` prints."""
    found, table = desk.copied(), desk.table
    return {
        "text": table.text,
        "copied_4": None if found is None else found.share,
        "longest_copy": None if found is None else found.longest,
        "words": [
            {
                "word": table.words[word].text,
                "own": table.words[word].own,
                "bits": round(facts.bits(desk.nats(word)), 4),
            }
            for word in table.path[1:]
        ],
        "told": len(table.words) - 1,
        "bookmarks": sorted(table.bookmarks),
        "table": None if keeper.path is None else str(keeper.path),
    }


def write(path: Path, text: str) -> None:
    """Save a story as text; errors: UsageError."""
    from fabula.folder import publish  # noqa: PLC0415

    try:
        publish(path, f"{text}\n".encode())
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror}") from None


def print_line(stream: Any, text: str) -> None:  # noqa: ANN401 - sys.stdout is of no one type
    """A line, at once."""
    stream.write(f"{text}\n")
    stream.flush()


@contextmanager
def interruptible() -> Generator[None]:
    """SIGTERM and a closed terminal are like Ctrl-C: what is open is saved on the way out."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _lines(*, people: bool) -> Iterator[str]:
    """The lines of stdin, with a sign that one is awaited where people type them."""
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")
    while True:
        if people:
            sys.stderr.write("> ")
            sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            return
        yield line.rstrip("\r\n")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"this command must have a number, got {text!r:.40}")
    return int(text)
