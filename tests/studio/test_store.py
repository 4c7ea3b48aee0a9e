"""The studio's file: made when it is needed, migrated, whole after a kill, and refused when it is another's."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fabula.errors import FolderError
from fabula.studio import store as room
from fabula.studio.store import Store

ROW = {"name": "tales", "asked": "{}", "begun": 1.0}


def test_nothing_is_made_before_something_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    assert store.rows("SELECT * FROM lessons") == []
    assert not (tmp_path / "home").exists()
    store.put("lessons", ROW)
    assert [row["name"] for row in store.rows("SELECT * FROM lessons")] == ["tales"]
    store.close()
    assert [row["begun"] for row in Store(tmp_path / "home").rows("SELECT * FROM lessons")] == [1.0]


def test_an_older_file_becomes_a_new_one_with_all_that_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.put("lessons", ROW)
    store.close()
    monkeypatch.setattr(
        room, "MIGRATIONS", (*room.MIGRATIONS, "ALTER TABLE lessons ADD COLUMN mood TEXT DEFAULT 'calm'")
    )
    newer = Store(tmp_path)
    assert [(row["name"], row["mood"]) for row in newer.rows("SELECT * FROM lessons")] == [("tales", "calm")]
    newer.close()
    monkeypatch.undo()
    with pytest.raises(FolderError, match="newer fabula"):
        Store(tmp_path).rows("SELECT * FROM lessons")


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.put("lessons", ROW)
    store.close()
    broken = "ALTER TABLE lessons ADD COLUMN mood TEXT; NONSENSE"
    monkeypatch.setattr(room, "MIGRATIONS", (*room.MIGRATIONS, broken))
    with pytest.raises(FolderError, match="cannot use"):
        Store(tmp_path).rows("SELECT * FROM lessons")
    monkeypatch.undo()
    rows = Store(tmp_path).rows("SELECT * FROM lessons")
    assert [set(row) for row in rows] == [{"name", "asked", "process", "code", "begun", "stopping"}]


def test_a_file_of_something_else_is_one_line(tmp_path: Path) -> None:
    (tmp_path / room.NAME).write_bytes(b"no database at all, but long enough to be one" * 100)
    with pytest.raises(FolderError, match=r"cannot use .*: file is not a database") as caught:
        Store(tmp_path).rows("SELECT * FROM lessons")
    assert len(str(caught.value).splitlines()) == 1


def test_what_was_kept_is_there_after_a_kill(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fabula.studio.store import Store\n"
        "store, number = Store(Path(sys.argv[1])), 0\n"
        "while True:\n"
        "    store.put('lessons', {'name': str(number), 'asked': '{}', 'begun': 0.0})\n"
        "    print(number, flush=True); number += 1\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(20):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        said = 20 + len(process.stdout.readlines())
    rows = Store(tmp_path).rows("SELECT name FROM lessons")
    assert said <= len(rows) <= said + 1
    with sqlite3.connect(tmp_path / room.NAME) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_two_that_begin_at_once_make_one_file(tmp_path: Path) -> None:
    stores = [Store(tmp_path) for _ in range(4)]
    threads = [
        threading.Thread(target=one.put, args=("lessons", ROW | {"name": str(n)})) for n, one in enumerate(stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Store(tmp_path).rows("SELECT name FROM lessons")) == len(stores)
    for one in stores:
        one.close()


def test_a_file_that_is_taken_away_is_not_written_to(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("lessons", ROW)
    (tmp_path / room.NAME).rename(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(FolderError, match="taken away"):
            store.put("lessons", ROW | {"name": "other"})
    (tmp_path / "elsewhere").rename(tmp_path / room.NAME)
    assert store.put("lessons", ROW | {"name": "other"})
    store.close()


def test_what_is_there_already_is_not_added(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.put("lessons", ROW)
    assert not store.put("lessons", ROW | {"begun": 2.0})
    assert [row["begun"] for row in store.rows("SELECT * FROM lessons")] == [1.0]
    store.close()


def test_whatever_lies_in_its_place_is_one_line(tmp_path: Path) -> None:
    for number, make in enumerate((Path.mkdir, lambda path: path.symlink_to(path), lambda path: path.symlink_to("/"))):
        home = tmp_path / str(number)
        home.mkdir()
        make(home / room.NAME)
        for use in (lambda store: store.put("lessons", ROW), lambda store: store.rows("SELECT * FROM lessons")):
            with pytest.raises(FolderError) as caught:
                use(Store(home))
            assert len(str(caught.value).splitlines()) == 1
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(FolderError):
        Store(tmp_path / "file").put("lessons", ROW)


def test_servers_that_open_a_new_file_at_once_all_can(tmp_path: Path) -> None:
    for number in range(40):
        begin = threading.Barrier(4)

        def put(name: str, home: Path = tmp_path / str(number), begin: threading.Barrier = begin) -> bool:
            store = Store(home)
            begin.wait()
            return store.put("lessons", ROW | {"name": name})

        with ThreadPoolExecutor(4) as servers:
            assert all(servers.map(put, "abcd"))


def test_a_file_that_another_program_holds_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PATIENCE", 0.1)
    Store(tmp_path).put("lessons", ROW)
    other = sqlite3.connect(tmp_path / room.NAME)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(FolderError, match="locked"):
        Store(tmp_path).put("lessons", ROW | {"name": "other"})
    other.close()
