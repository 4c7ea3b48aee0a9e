"""A table on the disk: the whole tree comes back, and nothing else does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fabula.errors import TableError
from fabula.table import Desk, Keeper, Table, load, save
from fabula.tokens import Tokenizer

Make = Callable[..., Desk]


def facts(table: Table) -> dict[str, Any]:
    """All that a file is to keep."""
    words = [(one.text, one.units, one.own, one.nats, one.parent, one.asked, one.children) for one in table.words]
    return {"words": words, "path": table.path, "gap": table.gap, "bookmarks": table.bookmarks}


def walked(desk: Desk, steps: list[int]) -> Table:
    """A tree grown by some steps."""
    if steps and steps[0] % 2:
        desk.put_down("the fox")
    for step in steps:
        match step % 5:
            case 0:
                list(desk.tell("word"))
            case 1:
                desk.table.move(-(step % 7))
            case 2:
                desk.put_down(desk.seam("hen") + "the hen — 老鼠, e\u0301" if desk.teller.tokenizer.lossless else "hen")
            case 3:
                desk.table.mark(f"mark {step % 3}")
            case _:
                desk.table.turn(1)
    return desk.table


@pytest.mark.parametrize("unit", ["symbols", "words", "subwords", "chars", "bytes"])
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=st.lists(st.integers(0, 200), max_size=25))
def test_a_tree_comes_back_as_it_was(
    desk_of: Make, tokenizers: dict[str, Tokenizer], tmp_path: Path, unit: str, steps: list[int]
) -> None:
    table, path = walked(desk_of(unit, seed=2), steps), tmp_path / "story.json"
    save(table, path, name="tales", network="abc")
    back = load(path, tokenizers[unit], "abc")
    assert facts(back) == facts(table)
    again = tmp_path / "again.json"
    save(back, again, name="tales", network="abc")
    assert again.read_bytes() == path.read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["again.json", "story.json"]


@pytest.fixture
def kept(desk_of: Make, tmp_path: Path) -> tuple[Path, dict[str, Any], Tokenizer]:
    """A sound file, what is in it, and its units."""
    desk = desk_of("words", seed=2)
    table, path = walked(desk, [0, 0, 1, 0, 3]), tmp_path / "story.json"
    save(table, path, name="tales", network="abc")
    return path, json.loads(path.read_text()), desk.teller.tokenizer


def broken(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda said: said.update(changes)


def spoiled(place: int, value: Any) -> Callable[[dict[str, Any]], None]:
    def spoil(said: dict[str, Any]) -> None:
        said["words"][1][place] = value

    return spoil


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (broken(format=2), "format 1 expected, got 2"),
        (broken(extra=1), "it is no table"),
        (broken(asked=-1), "its beginning was asked an impossible number of times"),
        (broken(words={}), "its words are no list"),
        (broken(model={"name": "x"}), "its model has no name"),
        (broken(model={"name": 1, "network": "abc"}), "its model has no name"),
        (broken(here=99), "a place in it is no word"),
        (broken(here=True), "a place in it is no word"),
        (broken(tip="x"), "a place in it is no word"),
        (broken(tip=0, here=2), "its place is not in its story"),
        (broken(bookmarks=[1]), "its bookmarks are no object"),
        (broken(bookmarks={"a": -7}), "a place in it is no word"),
        (spoiled(0, 1), "word 1 has no parent before it"),
        (spoiled(0, -2), "word 1 has no parent before it"),
        (spoiled(0, 0.0), "word 1 has no parent before it"),
        (spoiled(1, ""), "word 1 has no text"),
        (spoiled(1, 5), "word 1 has no text"),
        (spoiled(1, "\ud800"), "word 1 is no Unicode"),
        (spoiled(1, " dragon"), "word 1 is not spelled by its units"),
        (spoiled(2, []), "word 1 has no units"),
        (spoiled(2, [-1]), "word 1 has no units"),
        (spoiled(2, [10**9]), "word 1 is not spelled by its units"),
        (spoiled(2, ["a"]), "word 1 has no units"),
        (spoiled(3, 2), "word 1 is neither own nor told"),
        (spoiled(3, True), "word 1 is neither own nor told"),
        (spoiled(4, -1), "word 1 has an impossible surprise"),
        (spoiled(4, "1"), "word 1 has an impossible surprise"),
        (spoiled(5, -1), "word 1 was asked -1 times"),
        (lambda said: said["words"].__setitem__(1, [1]), "word 1 must be a list of six"),
        (lambda said: said["words"].__setitem__(1, None), "word 1 must be a list of six"),
        (lambda said: said.pop("tip"), "it is no table"),
    ],
)
def test_what_is_damaged_is_refused_in_one_line(
    kept: tuple[Path, dict[str, Any], Tokenizer], spoil: Callable[[dict[str, Any]], object], reason: str
) -> None:
    path, said, tokenizer = kept
    spoil(said)
    path.write_text(json.dumps(said))
    with pytest.raises(TableError) as raised:
        load(path, tokenizer, "abc")
    assert reason in str(raised.value)
    assert "name another with --table" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": NaN}', b"[" * 100_000, b'{"format": 1}', b"9" * 5000]
)
def test_what_is_no_table_at_all_is_refused(tmp_path: Path, tokenizers: dict[str, Tokenizer], data: bytes) -> None:
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(TableError, match=r"is damaged \(.*\): name another with --table"):
        load(tmp_path / "x.json", tokenizers["words"], "abc")


def test_a_truncated_file_is_refused_wherever_it_ends(kept: tuple[Path, dict[str, Any], Tokenizer]) -> None:
    path, _, tokenizer = kept
    whole = path.read_bytes()
    for size in range(0, len(whole), 17):
        path.write_bytes(whole[:size])
        with pytest.raises(TableError, match="is damaged"):
            load(path, tokenizer, "abc")


def test_what_is_no_file_is_refused(tmp_path: Path, tokenizers: dict[str, Tokenizer]) -> None:
    with pytest.raises(TableError, match="cannot read"):
        load(tmp_path, tokenizers["words"], "abc")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TableError, match="it is not a regular file"):
        load(tmp_path / "pipe", tokenizers["words"], "abc")


def test_a_story_of_another_model_is_refused_or_adopted(desk_of: Make, tmp_path: Path) -> None:
    desk, path = desk_of("words", seed=2), tmp_path / "story.json"
    table = walked(desk, [0, 2, 0, 1, 0, 3])
    save(table, path, name="tales", network="abc")
    for unit in ("words", "subwords", "chars", "bytes"):
        other = desk_of(unit).teller.tokenizer
        with pytest.raises(TableError, match="was told with another model, 'tales': --adopt goes on"):
            load(path, other, "xyz")
        back = load(path, other, "xyz", adopt=True)
        assert [word.text for word in back.words] == [word.text for word in table.words]
        assert (back.text, back.gap, back.bookmarks) == (table.text, table.gap, table.bookmarks)
        assert all(other.decode(word.units) == word.text for word in back.words[1:])
        assert all(word.nats is None for word in back.words)
        save(back, path, name="other", network="xyz")
        assert load(path, other, "xyz").text == table.text
        save(table, path, name="tales", network="abc")
    with pytest.raises(TableError, match="cannot be spelled by this model: symbols must be of the training text"):
        load(path, desk_of("symbols").teller.tokenizer, "xyz", adopt=True)


def test_symbols_adopt_what_they_can_spell(desk_of: Make, tmp_path: Path) -> None:
    desk, path = desk_of("chars"), tmp_path / "story.json"
    desk.put_down("the fox\n")
    desk.table.mark("line")
    desk.put_down("the hen")
    save(desk.table, path, name="tales", network="abc")
    back = load(path, desk_of("symbols").teller.tokenizer, "xyz", adopt=True)
    assert back.text == "the fox the hen"
    assert back.words[back.bookmarks["line"]].text == " fox"


# --- the keeper ----------------------------------------------------------------------------------------------------


def test_a_keeper_saves_what_changed_and_finds_it_again(desk_of: Make, tmp_path: Path) -> None:
    desk, path = desk_of("words"), tmp_path / "story.json"
    keeper = Keeper(path, name="tales", network="abc")
    table = keeper.open(desk.teller.tokenizer)
    keeper.save(table)
    assert not path.exists()  # nothing was told
    table.add("the", desk.teller.tokenizer.encode("the").tolist())
    assert not keeper.is_saved(table)
    keeper.save(table)
    assert keeper.is_saved(table)
    seen = path.stat().st_mtime_ns
    keeper.save(table)
    assert path.stat().st_mtime_ns == seen
    table.mark("x")
    keeper.save(table)
    back = Keeper(path, name="tales", network="abc").open(desk.teller.tokenizer)
    assert facts(back) == facts(table)


def test_two_at_one_file_do_not_undo_each_other(desk_of: Make, tmp_path: Path) -> None:
    tokenizer, path = desk_of("words").teller.tokenizer, tmp_path / "story.json"
    one, other = (Keeper(path, name="tales", network="abc") for _ in range(2))
    first, second = one.open(tokenizer), other.open(tokenizer)
    first.add("the", tokenizer.encode("the").tolist())
    second.add("fox", tokenizer.encode("fox").tolist())
    one.save(first)
    other.save(second)
    assert other.path == tmp_path / "story-2.json"
    assert [load(place, tokenizer, "abc").text for place in (path, other.path)] == ["the", "fox"]


def test_where_nothing_can_be_saved_is_said_at_once(desk_of: Make, tmp_path: Path) -> None:
    tokenizer = desk_of("words").teller.tokenizer
    with pytest.raises(TableError, match="its folder is not there"):
        Keeper(tmp_path / "none" / "story.json", name="t", network="a").open(tokenizer)
    with pytest.raises(TableError, match="is a folder"):
        Keeper(tmp_path, name="t", network="a").open(tokenizer)
    table = Table()
    table.add("x", [1])
    with pytest.raises(TableError, match=r"cannot save .*: No such file or directory: name another file"):
        save(table, tmp_path / "none" / "story.json", name="t", network="a")
    Keeper(None, name="t", network="a").save(table)


def test_a_link_stays_a_link(desk_of: Make, tmp_path: Path) -> None:
    tokenizer, path = desk_of("words").teller.tokenizer, tmp_path / "story.json"
    (tmp_path / "real.json").touch()
    (tmp_path / "real.json").unlink()
    path.symlink_to(tmp_path / "real.json")
    table = Table()
    table.add("the", tokenizer.encode("the").tolist())
    save(table, path, name="t", network="a")
    assert path.is_symlink()
    assert load(tmp_path / "real.json", tokenizer, "a").text == "the"
