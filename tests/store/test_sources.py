"""Every kind of source gives a store the stories that reading it whole gives, whatever the blocks are."""

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fabula.config import TextConfig
from fabula.errors import FabulaError, MissingExtraError, TextError
from fabula.store import Store, build, is_large
from fabula.store.blocks import BEGINNING
from fabula.text import read_library

SMALL = 10_000
Tell = Callable[..., list[str]]


def texts_of(store: Store) -> list[str]:
    """All stories, sorted."""
    sides = [*store.train, *(store.held_out or ())]
    return sorted(store.tokenizer.decode(units) for units in sides)


def made(tmp_path: Path, *paths: Path, block: int = SMALL, processes: int = 1, **asked: object) -> Store:
    """A store of some paths."""
    config = TextConfig(**{"unit": "bytes", **asked})  # type: ignore[arg-type]
    return build(paths, config, tmp_path / "store", processes=processes, block=block)


JOINS = {
    "titles.txt": ("\n\n", "title"),
    "titles.md": ("\n\n", "title"),
    "marks.txt": ("<|endoftext|>\n", "endoftext"),
    "lines.txt": ("\n\n* * *\n\n", "separator"),
    "gaps.txt": ("\n\n\n\n", "gap"),
}


@pytest.mark.parametrize("name", JOINS)
@pytest.mark.parametrize("packed", [False, True])
def test_running_text(tmp_path: Path, tell: Tell, name: str, packed: bool) -> None:
    stories = tell(120)
    if "titles" not in name:
        stories = [story.partition("\n\n")[2] for story in stories]
    path = tmp_path / (f"{name}.gz" if packed else name)
    data = JOINS[name][0].join(stories).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    store = made(tmp_path, path, processes=2 if packed else 1)
    assert texts_of(store) == sorted(stories) == sorted(one.text for one in read_library([path], TextConfig()).stories)
    assert len(store.files) > 12, "several shards"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("field", ["text", "words"])
def test_lines_of_json(tmp_path: Path, tell: Tell, packed: bool, field: str) -> None:
    stories = tell(120)
    rows = [json.dumps({"id": number, field: story, "title": "T"}) for number, story in enumerate(stories)]
    data = "\n".join([*rows[:50], "", *rows[50:]]).encode()
    path = tmp_path / ("tales.jsonl.gz" if packed else "tales.jsonl")
    path.write_bytes(gzip.compress(data) if packed else data)
    assert texts_of(made(tmp_path, path)) == sorted(stories)


def test_a_line_that_is_no_json_is_told_with_its_place(tmp_path: Path, tell: Tell) -> None:
    rows = [json.dumps({"text": story}) for story in tell(120)] * 90
    path = tmp_path / "tales.jsonl"
    path.write_text("\n".join([*rows, "{oops", *rows[:120]]), encoding="utf-8")
    with pytest.raises(TextError, match=r"from byte [\d,]+ on\) must have one JSON object a line, line [\d,]+ is not"):
        made(tmp_path, path, block=1 << 20)


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ";"), (".tsv", "\t"), (".csv.gz", ",")])
@pytest.mark.parametrize("header", [True, False])
def test_tables(tmp_path: Path, tell: Tell, suffix: str, delimiter: str, header: bool) -> None:
    stories = [f'{story}, "said\n{number}"' for number, story in enumerate(tell(120))]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter)
    if header:
        writer.writerow(["number", "story"])
    writer.writerows([number, story] for number, story in enumerate(stories))
    path = tmp_path / f"tales{suffix}"
    path.write_bytes(gzip.compress(out.getvalue().encode()) if suffix.endswith("gz") else out.getvalue().encode())
    assert texts_of(made(tmp_path, path)) == sorted(stories)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1251"])
def test_other_encodings(tmp_path: Path, encoding: str) -> None:
    told = "Жили-были дед да баба, и была у них курочка. " * 9
    stories = [f"# Сказка {number}\n\n{told}{number}" for number in range(60)]
    path = tmp_path / "tales.txt"
    path.write_bytes("\n\n".join(stories).encode(encoding))
    store = made(tmp_path, path)
    assert texts_of(store) == sorted(stories)


def test_a_character_may_lie_across_two_reads(tmp_path: Path) -> None:
    stories = [f"# 狐 {number}\n\n{'很久以前老鼠们开了一次大会。' * 400}{number}" for number in range(110)]
    path = tmp_path / "tales.txt"
    for lead in ("", "a"):
        path.write_bytes("\n\n".join([lead, *stories]).encode("gb18030"))
        assert path.stat().st_size > 1 << 20
        found = texts_of(made(tmp_path, path, block=1 << 19, encoding="gb18030"))
        assert sorted(text for text in found if text != "a") == sorted(stories)


@pytest.mark.parametrize("line", ["\r\n", "\r"])
def test_line_ends_become_plain(tmp_path: Path, tell: Tell, line: str) -> None:
    stories = tell(120)
    path = tmp_path / "tales.txt"
    path.write_bytes("\n\n".join(stories).replace("\n", line).encode())
    store = made(tmp_path, path)
    if line == "\r\n":
        assert texts_of(store) == sorted(stories)
    else:  # nobody has written such files for twenty years: blocks end where they can
        assert "".join("".join(texts_of(store)).split()) != ""
        assert not any("\r" in text for text in texts_of(store))


def test_small_files_of_all_kinds_together(tmp_path: Path, tell: Tell) -> None:
    folder = tmp_path / "library"
    (folder / "more").mkdir(parents=True)
    stories = tell(60)
    (folder / "a.txt").write_text("\n\n".join(stories[:20]), encoding="utf-8")
    (folder / "b.html").write_text("<p>An <b>owl</b> sat there.</p>", encoding="utf-8")
    (folder / ".hidden.txt").write_text("hidden", encoding="utf-8")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    (folder / "broken.epub").write_bytes(b"no zip")
    (folder / "more" / "c.jsonl").write_text("\n".join(json.dumps(one) for one in stories[20:40]), encoding="utf-8")
    with zipfile.ZipFile(folder / "more" / "d.zip", "w") as archive:
        archive.writestr("inside.txt", "\n\n".join(stories[40:]))
    store = made(tmp_path, folder, block=1 << 20)
    assert texts_of(store) == sorted([*stories, "An owl sat there."])
    assert any("1 .png" in note for note in store.notes)
    assert any("broken.epub" in note for note in store.notes)
    with pytest.raises(TextError, match="damaged or no zip file"):
        made(tmp_path, folder / "broken.epub")


def test_utf_8_that_ends_is_refused_and_a_damaged_place_is_noted(tmp_path: Path, tell: Tell) -> None:
    data = "\n\n".join(tell(120) * 90).encode()
    assert len(data) > BEGINNING
    path = tmp_path / "tales.txt"
    path.write_bytes(data[:-5000] + b"\xff" + data[-5000:])
    store = made(tmp_path, path, block=1 << 20)
    assert any("damaged places, read as U+FFFD" in note for note in store.notes)
    assert sum("\ufffd" in text for text in texts_of(store)) == 1
    path.write_bytes(data + "é à ".encode("cp1252") * 20_000)
    with pytest.raises(TextError, match="is not from byte"):
        made(tmp_path, path, block=1 << 20)


def test_a_packed_file_that_is_cut_off_is_one_line(tmp_path: Path, tell: Tell) -> None:
    path = tmp_path / "tales.txt.gz"
    path.write_bytes(gzip.compress("\n\n".join(tell(400)).encode())[:-3000])
    with pytest.raises(TextError, match="damaged"):
        made(tmp_path, path)


def test_rows_of_parquet(tmp_path: Path, tell: Tell) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    stories = tell(150)
    names = arrow.array([{"first": "Ann", "last": "Lee"}] * 150)
    table = arrow.table({"name": names, "tags": [["a", "b"]] * 150, "tale": stories, "note": [None] * 150})
    numbered = table.set_column(2, "tale", arrow.array(stories).dictionary_encode())
    small, large = tmp_path / "small.parquet", tmp_path / "large.parquet"
    parquet.write_table(table, small, row_group_size=10)
    parquet.write_table(table, large)
    for path in (small, large):
        assert is_large([str(path)])
        assert texts_of(made(tmp_path, path)) == sorted(stories)
        assert len(made(tmp_path, path).files) > 12, "several shards"
    parquet.write_table(numbered, tmp_path / "numbered.parquet", row_group_size=50)
    assert texts_of(made(tmp_path, tmp_path / "numbered.parquet")) == sorted(stories)
    with pytest.raises(TextError, match="no text in a field 'moral': its columns of texts are 'tale'"):
        made(tmp_path, small, field="moral")
    small.write_bytes(large.read_bytes()[:-500])
    with pytest.raises(TextError, match="damaged or no parquet file"):
        made(tmp_path, small)


def test_a_folder_of_the_datasets_library(tmp_path: Path, tell: Tell) -> None:
    datasets = pytest.importorskip("datasets")
    stories = tell(150)
    rows = datasets.Dataset.from_dict({"id": list(range(150)), "text": stories})
    rows.save_to_disk(str(tmp_path / "plain"))
    datasets.DatasetDict({"test": rows.select([1]), "train": rows}).save_to_disk(str(tmp_path / "parts"))
    rows.shuffle(seed=1).save_to_disk(str(tmp_path / "shuffled"))
    for name in ("plain", "parts", "shuffled"):
        assert is_large([str(tmp_path / name)])
        store = made(tmp_path, tmp_path / name)
        assert texts_of(store) == sorted(stories)
        assert len(store.files) > 12, "several shards"


def test_a_data_set_is_streamed(tmp_path: Path, tell: Tell) -> None:
    """The library takes a folder for a data set of the Hub: the same way, without a network."""
    pytest.importorskip("datasets")
    stories = tell(150)
    folder = tmp_path / "tales"
    folder.mkdir()
    rows = (json.dumps({"n": 1, "story": one}) for one in stories)
    (folder / "data.jsonl").write_text("\n".join(rows), encoding="utf-8")
    config = TextConfig(unit="bytes")
    store = build([f"hf:{folder}"], config, tmp_path / "store", processes=2, block=SMALL)
    assert texts_of(store) == sorted(stories)
    assert len(store.files) > 12, "several shards"
    assert build([f"hf:{folder}:train"], config, tmp_path / "named", block=SMALL).digest == store.digest
    with pytest.raises(TextError, match=r"cannot read 'hf:.*:test'"):
        build([f"hf:{folder}:test"], config, tmp_path / "other", block=SMALL)


def test_what_is_not_installed_is_named(tmp_path: Path, tell: Tell) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        (tmp_path / "tales.parquet").write_bytes(b"PAR1")
        with pytest.raises(MissingExtraError, match=r"fabula\[data\]"):
            made(tmp_path, tmp_path / "tales.parquet")
    else:
        (tmp_path / "tales.parquet").write_bytes(b"PAR1")
        with pytest.raises(TextError, match="no parquet file"):
            made(tmp_path, tmp_path / "tales.parquet")


@pytest.mark.parametrize("name", ["", "-", "missing.txt", "/dev/null", "folder"])
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    path = name if name in ("", "-", "/dev/null") else str(tmp_path / name)
    with pytest.raises(FabulaError) as caught:
        build([path], TextConfig(), tmp_path / "store")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "store").exists()
