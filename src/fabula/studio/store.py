"""What the studio remembers, in one SQLite file: drafts and lessons; knows no model and no HTTP."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fabula.errors import FolderError

NAME = "studio.sqlite"

MIGRATIONS = (
    """
    CREATE TABLE drafts (
        id TEXT PRIMARY KEY, title TEXT NOT NULL, model TEXT NOT NULL, story TEXT NOT NULL, settings TEXT NOT NULL,
        words INTEGER NOT NULL, bookmarks INTEGER NOT NULL, changed REAL NOT NULL, revision INTEGER NOT NULL
    );
    CREATE TABLE lessons (
        name TEXT PRIMARY KEY, asked TEXT NOT NULL, process INTEGER, code INTEGER, begun REAL NOT NULL,
        stopping INTEGER NOT NULL DEFAULT 0
    );
    """,
)
"""Each makes a file of one version one of the next; a file says how many it has had."""

PATIENCE = 5.0
"""Seconds to wait for another program that writes to the file."""


class Store:
    """One file in a folder, made with the folder when something is first written. Errors: FolderError."""

    def __init__(self, home: Path) -> None:
        self.path, self._lock = home / NAME, threading.RLock()
        self._database: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def rows(self, question: str, *given: object) -> list[dict[str, Any]]:
        """The rows that answer a question; none where nothing was ever written."""
        if self._database is None and not os.path.lexists(self.path):
            return []
        with self._opened() as database:
            return [dict(row) for row in database.execute(question, given)]

    def put(self, table: str, row: Mapping[str, object]) -> bool:
        """Add a row; False where there is one of that name already."""
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        # The names are ours.
        return self._change(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", *row.values()) > 0  # noqa: S608

    def change(self, table: str, row: Mapping[str, object], **where: object) -> bool:
        """Change the rows that have these values; whether there were any."""
        named, wanted = ", ".join(f"{name} = ?" for name in row), " AND ".join(f"{name} IS ?" for name in where)
        return self._change(f"UPDATE {table} SET {named} WHERE {wanted}", *row.values(), *where.values()) > 0  # noqa: S608

    def remove(self, table: str, **where: object) -> bool:
        """Remove the rows that have these values; whether there were any."""
        wanted = " AND ".join(f"{name} IS ?" for name in where)
        return self._change(f"DELETE FROM {table} WHERE {wanted}", *where.values()) > 0  # noqa: S608

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _change(self, sentence: str, *given: object) -> int:
        with self._opened() as database:
            return database.execute(sentence, given).rowcount

    @contextmanager
    def _opened(self) -> Generator[sqlite3.Connection]:
        """The file, for one thread at a time; what is done in it is kept, or nothing of it."""
        try:
            with self._lock:
                if self._database is None:
                    self._database = self._open()
                    self._file = self._there()
                elif self._there() != self._file:  # what is written goes nowhere
                    raise FolderError(f"{str(self.path)!r} was taken away while it was used: start the server again")
                with self._database as database:
                    yield database
        except (sqlite3.Error, OSError) as error:
            why = " ".join(str(error).split())[:200]
            raise FolderError(f"cannot use {str(self.path)!r}: {why}: choose another folder with --home") from None

    def _there(self) -> tuple[int, int] | None:
        """Which file lies there."""
        try:
            facts = self.path.stat()
        except OSError:
            return None
        return facts.st_dev, facts.st_ino

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.path, timeout=PATIENCE, check_same_thread=False)
        database.row_factory = sqlite3.Row
        database.text_factory = _text  # one bad row hides no other
        try:
            _log_ahead(database)
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA trusted_schema = OFF")
            self._migrate(database)
        except BaseException:
            database.close()
            raise
        return database

    def _migrate(self, database: sqlite3.Connection) -> None:
        with database:
            database.execute("BEGIN IMMEDIATE")  # two servers that start at once
            had = database.execute("PRAGMA user_version").fetchone()[0]
            if had > len(MIGRATIONS):
                raise FolderError(
                    f"{str(self.path)!r} was made by a newer fabula: install that, or give another --home"
                )
            for migration in MIGRATIONS[had:]:
                for sentence in filter(str.strip, migration.split(";")):
                    database.execute(sentence)
            database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _log_ahead(database: sqlite3.Connection) -> None:
    """A kill then loses nothing that was said to be saved. Where two do this at once SQLite sends one away unheard."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def now() -> float:
    """Seconds since 1970."""
    return time.time()
