"""A terminal to test with: a pseudo-terminal, a real process on it, and a reader of what it draws."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

KEYS = {
    "enter": "\r", "escape": "\x1b", "tab": "\t", "s-tab": "\x1b[Z", "backspace": "\x7f", "left": "\x1b[D",
    "right": "\x1b[C", "up": "\x1b[A", "down": "\x1b[B", "home": "\x1b[H", "end": "\x1b[F", "f1": "\x1bOP",
    "f9": "\x1b[20~", "f10": "\x1b[21~", "pageup": "\x1b[5~", "pagedown": "\x1b[6~",
    **{f"^{letter}": chr(ord(letter) - 64) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
}  # fmt: skip
START = (
    "import fcntl, runpy, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "runpy.run_module('fabula', run_name='__main__', alter_sys=True)"
)
SEQUENCE = re.compile(r"\x1b\[([?>]?)([\d;]*)([@-~])|\x1b\][^\x07]*\x07|\x1b[=>78]|\x1b")


@dataclass
class Glass:
    """What a terminal shows after what was written to it: only what programs with a screen need."""

    columns: int
    rows: int
    cells: list[list[tuple[str, str]]] = field(default_factory=list)
    """A character and its look for each place."""
    row: int = 0
    column: int = 0
    look: str = ""
    raw: list[str] = field(default_factory=list)
    """Control characters that came outside of any sequence."""

    def __post_init__(self) -> None:
        self.cells = [[(" ", "")] * self.columns for _ in range(self.rows)]

    def resize(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.cells = [[(" ", "")] * columns for _ in range(rows)]
        self.row, self.column = min(self.row, rows - 1), min(self.column, columns - 1)

    def write(self, text: str) -> None:
        place = 0
        while place < len(text):
            if found := SEQUENCE.match(text, place):
                if found[2] == "1049":  # the screen of the program, and back to what was there before
                    self.cells = [[(" ", "")] * self.columns for _ in range(self.rows)]
                    self.row = self.column = 0
                elif found[3] and not found[1]:
                    self._obey(found[3], [int(number or 0) for number in found[2].split(";")])
                place = found.end()
                continue
            self._put(text[place])
            place += 1

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row += 1
            if self.row == self.rows:
                self.row -= 1
                self.cells = [*self.cells[1:], [(" ", "")] * self.columns]
        elif character == "\b":
            self.column = max(0, self.column - 1)
        elif unicodedata.category(character) in {"Mn", "Me", "Cf"}:
            before = max(0, self.column - 1)
            old, look = self.cells[self.row][before]
            self.cells[self.row][before] = (old + character, look)
        elif ord(character) < 32 or 127 <= ord(character) < 160:
            self.raw.append(character)
        else:
            wide = unicodedata.east_asian_width(character) in "WF"
            for offset, part in enumerate((character, "") if wide else (character,)):
                if self.column + offset < self.columns:
                    self.cells[self.row][self.column + offset] = (part, self.look)
            self.column = min(self.column + 1 + wide, self.columns)

    def _obey(self, command: str, numbers: list[int]) -> None:
        count = max(1, numbers[0])
        blank = [(" ", "")]
        match command:
            case "H":
                self.row, self.column = max(1, numbers[0]) - 1, max(1, numbers[-1] if len(numbers) > 1 else 1) - 1
            case "A":
                self.row = max(0, self.row - count)
            case "B":
                self.row = min(self.rows - 1, self.row + count)
            case "C":
                self.column = min(self.columns - 1, self.column + count)
            case "D":
                self.column = max(0, self.column - count)
            case "K":
                self.cells[self.row][self.column :] = blank * (self.columns - self.column)
            case "J":
                first = 0 if numbers[0] == 2 else self.row + 1
                if numbers[0] != 2:
                    self.cells[self.row][self.column :] = blank * (self.columns - self.column)
                for row in range(first, self.rows):
                    self.cells[row] = blank * self.columns
            case "m":
                self.look = "" if numbers == [0] else f"{self.look};{';'.join(map(str, numbers))}".replace(";0;", ";")

    @property
    def lines(self) -> list[str]:
        return ["".join(character for character, _ in row).rstrip() for row in self.cells]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def looks(self, word: str) -> str:
        """The look of the first letter of a word where it first stands."""
        for row in self.cells:
            line = "".join(character or "\0" for character, _ in row)
            if (place := line.find(word)) >= 0:
                return row[place][1]
        raise AssertionError(f"{word!r} is not on the screen:\n{self.text}")


class Seat:
    """A process that has a terminal to itself."""

    def __init__(self, arguments: Sequence[str], cwd: Path, columns: int, rows: int, **options: str) -> None:
        self.out, self._master = cwd / "stdout.txt", -1
        self._master, slave = pty.openpty()
        self.glass = Glass(columns, rows)
        self._size(columns, rows)
        environment = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLORTERM"}}
        environment |= {"TERM": "xterm-256color", "LANG": "C.UTF-8"} | options
        redirect = environment.pop("REDIRECT", None)
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, *arguments],
                stdin=slave, stdout=out if redirect else slave, stderr=slave, cwd=cwd, env=environment,
                start_new_session=True,
            )  # fmt: skip
        os.close(slave)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        self._size(columns, rows)
        self.glass.resize(columns, rows)
        os.kill(self.process.pid, signal.SIGWINCH)

    def press(self, *keys: str) -> None:
        """Press keys by their names, or type a text."""
        for key in keys:
            os.write(self._master, KEYS.get(key, key).encode())

    def see(self, *wanted: str, gone: str | None = None, until: Callable[[], bool] | None = None) -> str:
        """Read on until all of this stands on the screen."""

        def there() -> bool:
            text = self.glass.text
            fine = all(one in text for one in wanted) and (gone is None or gone not in text)
            return fine and (until is None or until())

        while not there():
            if not self._read(20):
                raise AssertionError(f"waited in vain for {wanted} (gone: {gone}):\n{self.glass.text}")
        return self.glass.text

    def tell(self, key: str) -> None:
        """Press a key that lets the model tell, and wait until it has."""
        self.press(key)
        self.see("telling:")
        self.see(gone="telling:")

    def wait(self, until: Callable[[], bool]) -> None:
        """Wait for something that is not on the screen."""
        for _ in range(400):
            if until():
                return
            self._read(0.05)
        raise AssertionError(f"waited in vain:\n{self.glass.text}")

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:
            data = b""
        self.glass.write(self._decoder.decode(data))
        return bool(data)

    def end(self) -> int:
        """Read to the end of the process; its exit code."""
        while self._read(20):
            pass
        return self.process.wait(20)

    def hang_up(self) -> None:
        """Close the terminal."""
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._master >= 0:
            os.close(self._master)


@pytest.fixture
def seated(tmp_path: Path) -> Iterator[Callable[..., Seat]]:
    """Starts `fabula` with some arguments on a terminal of its own, in the test's folder."""
    seats: list[Seat] = []

    def start(*arguments: str, columns: int = 80, rows: int = 24, **options: str) -> Seat:
        seats.append(Seat(arguments, tmp_path, columns, rows, **options))
        return seats[-1]

    yield start
    for seat in seats:
        seat.close()
