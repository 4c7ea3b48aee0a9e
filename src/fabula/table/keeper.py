"""Where a table lies between two days: opens its file, saves what changed; knows no network, no terminal."""

from __future__ import annotations

import itertools
from pathlib import Path

from fabula.table.file import check_place, load, save
from fabula.table.tree import Table
from fabula.tokens import Tokenizer


class Keeper:
    """One table and its file; without a path nothing is kept.

    `name` and `network` are the model's name and fingerprint.
    """

    def __init__(self, path: Path | None, *, name: str, network: str) -> None:
        self.path, self.name, self.network = path, name, network
        self._saved = 0
        self._seen: tuple[int, int] | None = None

    def open(self, tokenizer: Tokenizer, *, adopt: bool = False) -> Table:
        """The table of the file, an empty one where there is none yet; errors: TableError."""
        table = Table()
        if self.path is not None:
            check_place(self.path)
            if self.path.exists():
                table = load(self.path, tokenizer, self.network, adopt=adopt)
                self._seen = _look(self.path)
        self._saved = table.changes
        return table

    def is_saved(self, table: Table) -> bool:
        """Whether the file says all that the table does."""
        return self.path is None or self._saved == table.changes

    def save(self, table: Table) -> None:
        """Save what changed; beside the file, if somebody else has changed it meanwhile. Errors: TableError."""
        if self.path is None or self.is_saved(table):
            return
        if self._seen != _look(self.path):
            numbered = (self.path.with_stem(f"{self.path.stem}-{number}") for number in itertools.count(2))
            self.path = next(path for path in numbered if not path.exists())
        save(table, self.path, name=self.name, network=self.network)
        self._saved, self._seen = table.changes, _look(self.path)


def _look(path: Path) -> tuple[int, int] | None:
    """By what a file is told from another that took its place; None where there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size
