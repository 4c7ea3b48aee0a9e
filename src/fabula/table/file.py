"""A table on the disk: one JSON file, read strictly and replaced whole; knows no network at work and no terminal.

    {"format": 1, "fabula": "...", "model": {"name": "...", "network": "<fingerprint>"},
     "asked": 0, "words": [[parent, text, units, own, nats, asked], ...], "here": 12, "tip": 40, "bookmarks": {"a": 7}}

Words stand in the order in which they were told, so a parent before its children; -1 is the story's beginning, where
the model was `asked` so often.
"""

from __future__ import annotations

import json
import math
import os
import reprlib
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from fabula.errors import TableError, UnknownSymbolError
from fabula.folder import publish
from fabula.table.tree import ROOT, Table, Word
from fabula.tokens import Tokenizer
from fabula.version import __version__

FORMAT = 1
LARGEST = 1 << 28
"""Bytes of a file that is read at all."""
_KEYS = {"format", "fabula", "model", "asked", "words", "here", "tip", "bookmarks"}


def dump(table: Table, *, name: str, network: str) -> str:
    """A table as JSON, whose model has that name and fingerprint."""
    words = [[word.parent - 1, word.text, word.units, int(word.own), word.nats, word.asked] for word in table.words[1:]]
    said = {
        "format": FORMAT,
        "fabula": __version__,
        "model": {"name": name, "network": network},
        "asked": table.words[ROOT].asked,
        "words": words,
        "here": table.here - 1,
        "tip": table.tip - 1,
        "bookmarks": {name: word - 1 for name, word in table.bookmarks.items()},
    }
    return json.dumps(said, separators=(",", ":"), allow_nan=False)


def save(table: Table, path: Path, *, name: str, network: str) -> None:
    """Replace the file of a table whose model has that name and fingerprint; errors: TableError."""
    try:
        # Through a link to the file itself, which stays where it is.
        publish(path.resolve(), dump(table, name=name, network=network).encode())
    except OSError as error:
        raise TableError(f"cannot save {str(path)!r}: {error.strerror}: name another file with --table") from None


def check_place(path: Path) -> None:
    """Errors: TableError where no file can be saved, before a story is told that would be lost."""
    folder = path.resolve().parent
    if path.is_dir():
        raise TableError(f"--table must be a file, but {str(path)!r} is a folder: name another")
    if not os.access(folder, os.W_OK | os.X_OK):
        what = "cannot be written in" if folder.is_dir() else "is not there"
        raise TableError(f"cannot save {str(path)!r}: its folder {what}: name another file with --table")


def load(path: Path, tokenizer: Tokenizer, network: str, *, adopt: bool = False) -> Table:
    """The table of a file, which must be of the model with these units and that fingerprint.

    With `adopt` it may be of another: then its words are spelled anew. Errors: TableError.
    """
    try:
        table, model = parse(_contents(path), tokenizer, network, adopt=adopt)
    except OSError as error:
        raise TableError(f"cannot read {str(path)!r}: {error.strerror}: name another file with --table") from None
    except UnknownSymbolError as error:
        raise TableError(f"the words of {str(path)!r} cannot be spelled by this model: {error}") from None
    except ValueError as error:
        raise TableError(
            f"expected a story of fabula chat, but {str(path)!r} is damaged ({error}): name another with --table"
        ) from None
    if table is None:
        raise TableError(
            f"{str(path)!r} was told with another model, {model[:80]!r}: --adopt goes on with its words and this "
            "model, --table names another file"
        )
    return table


def parse(data: bytes | str, tokenizer: Tokenizer, network: str, *, adopt: bool = False) -> tuple[Table | None, str]:
    """The table of a JSON text and the name of its model; None for the table of another model without `adopt`.

    Errors: ValueError, in one short line, for what is no table; UnknownSymbolError for words that cannot be spelled.
    """
    try:
        said = json.loads(data, parse_constant=_refuse)
        _expect(isinstance(said, dict) and set(said) == _KEYS, "it is no table, or one of another version")
        _expect(said["format"] == FORMAT, f"format {FORMAT} expected, got {reprlib.repr(said['format'])}")
        model = said["model"]
        known = isinstance(model, dict) and set(model) == {"name", "network"}
        _expect(known and all(isinstance(value, str) for value in model.values()), "its model has no name")
        same = model["network"] == network
        return _table(said, tokenizer, spelled=same) if same or adopt else None, model["name"]
    except UnknownSymbolError:
        raise
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(str(error).splitlines()[0][:80]) from None


def _table(said: dict[str, Any], tokenizer: Tokenizer, *, spelled: bool) -> Table:
    """The tree itself; without `spelled` each word is spelled anew, and nobody knows yet how it surprises."""
    table, numbers = Table(), {-1: ROOT}
    _expect(isinstance(said["words"], list), "its words are no list")
    _expect(type(said["asked"]) is int and said["asked"] >= 0, "its beginning was asked an impossible number of times")
    table.words[ROOT].asked = said["asked"] if spelled else 0
    for number, entry in enumerate(said["words"]):
        word = _word(number, entry)
        parent = numbers[word.parent]
        if not spelled:
            word.units = tuple(tokenizer.encode(word.text).tolist())
            word.nats, word.asked = None, 0
            if not word.units:  # nothing but white space, which the unit `symbols` does not know
                numbers[number] = parent
                continue
            text = tokenizer.decode(word.units) if parent == ROOT else _spelling(word.units, tokenizer)
            word.text = word.text if tokenizer.lossless else text
        elif word.text not in _spellings(word.units, tokenizer, begins=parent == ROOT):
            _expect(False, f"word {number} is not spelled by its units")
        word.parent = parent
        numbers[number] = len(table.words)
        table.words[parent].children.append(len(table.words))
        table.words[parent].latest = len(table.words)
        table.words.append(word)
    places = [said["here"], said["tip"]]
    _expect(isinstance(said["bookmarks"], dict), "its bookmarks are no object")
    places += said["bookmarks"].values()
    _expect(all(type(place) is int and place in numbers for place in places), "a place in it is no word")
    table.bookmarks = {name: numbers[word] for name, word in said["bookmarks"].items()}
    table.visit(numbers[said["tip"]])
    table.cut()
    _expect(numbers[said["here"]] in table.path, "its place is not in its story")
    table.move(table.path.index(numbers[said["here"]]) - table.gap)
    return table


def _word(number: int, entry: object) -> Word:
    _expect(isinstance(entry, list) and len(entry) == 6, f"word {number} must be a list of six")
    assert isinstance(entry, list)
    parent, text, units, own, nats, asked = entry
    _expect(type(parent) is int and -1 <= parent < number, f"word {number} has no parent before it")
    _expect(isinstance(text, str) and text != "", f"word {number} has no text")
    _expect(text.isascii() or text.encode("utf-8", "replace").decode() == text, f"word {number} is no Unicode")
    sound = isinstance(units, list) and units and all(type(unit) is int and unit >= 0 for unit in units)
    _expect(bool(sound), f"word {number} has no units")
    _expect(type(own) is int and own in (0, 1), f"word {number} is neither own nor told")
    fine = nats is None or (type(nats) in (int, float) and math.isfinite(nats) and nats >= 0)
    _expect(fine, f"word {number} has an impossible surprise")
    _expect(type(asked) is int and asked >= 0, f"word {number} was asked {reprlib.repr(asked)} times")
    return Word(text, tuple(units), bool(own), None if nats is None else float(nats), parent, asked)


def _spelling(units: Sequence[int], tokenizer: Tokenizer) -> str:
    return b"".join(tokenizer.spelling(unit) for unit in units).decode("utf-8", "replace")


def _spellings(units: Sequence[int], tokenizer: Tokenizer, *, begins: bool) -> set[str]:
    """How a word may read: as its units do, at a story's beginning also without the space before it."""
    if any(unit >= tokenizer.end for unit in units):
        return set()
    text = _spelling(units, tokenizer)
    return {text, text.removeprefix(" ")} if begins else {text}


def _contents(path: Path) -> bytes:
    """The bytes of a regular file, never more than `LARGEST`."""
    with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:  # never waits on a pipe
        facts = os.fstat(file.fileno())
        _expect(stat.S_ISREG(facts.st_mode), "it is not a regular file")
        _expect(facts.st_size <= LARGEST, "it is larger than any story")
        return file.read(LARGEST)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)
