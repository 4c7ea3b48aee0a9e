"""Files, folders, archives and standard input to documents."""

import gzip
import io
import os
import sys
import zipfile
from pathlib import Path

import pytest

from fabula.config import TextConfig
from fabula.errors import TextError
from fabula.text import files
from fabula.text.files import Document, printable, quoted, read_documents

AUTO = TextConfig()


def texts(documents: list[Document]) -> dict[str, str]:
    return {Path(d.source.path).name: "|".join(part.text for part in d.contents.parts) for d in documents}


def refusal(*paths: Path | str, config: TextConfig = AUTO) -> str:
    with pytest.raises(TextError) as caught:
        read_documents(paths, config)
    message = str(caught.value)
    assert len(message) < 200
    assert message.isprintable()
    return message


def test_every_format(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("the cat — sat".encode())
    (tmp_path / "b.MD").write_text("# The dog\n\nran", encoding="utf-8")
    (tmp_path / "c.jsonl").write_text('{"text": "a mouse"}\n{"text": "a rat"}\n', encoding="utf-8")
    (tmp_path / "d.csv").write_text("text,n\na cow,1\n", encoding="utf-8")
    (tmp_path / "e.html").write_bytes(b"<meta charset=iso-8859-1><p>No\xebl <b>night</b>")
    (tmp_path / "f.txt.gz").write_bytes(gzip.compress(b"a horse"))
    (tmp_path / "g.tsv").write_text("text\tn\na, hen\t1\n", encoding="utf-8")
    documents, notes = read_documents([tmp_path], AUTO)
    assert texts(documents) == {
        "a.txt": "the cat — sat", "b.MD": "# The dog\n\nran", "c.jsonl": "a mouse|a rat", "d.csv": "a cow",
        "e.html": "Noël night", "f.txt.gz": "a horse", "g.tsv": "a, hen",
    }  # fmt: skip
    assert notes == []
    source = documents[5].source
    assert (source.path, source.encoding, source.guessed, source.size) == (
        str(tmp_path / "f.txt.gz"),
        "utf-8",
        False,
        7,
    )


def test_folders_are_walked_in_order_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "sub/c.txt", ".hidden.txt", ".git/d.txt", "x.png", "y.png", "README"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"text of {name}", encoding="utf-8")
    (tmp_path / "broken.txt").write_bytes(b"\0\1\2")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    documents, notes = read_documents([tmp_path], AUTO)
    assert list(texts(documents)) == ["a.txt", "b.txt", "c.txt"]
    assert notes[0] == "left out 3 files of kinds that are not read: 2 .png, 1 without ending"
    assert notes[1] == "left out 2 files and folders with a hidden name"
    assert "left out 2 files that could not be read: " in notes[2]
    assert "binary" in notes[2]


def test_named_files_of_any_kind_are_read(tmp_path: Path) -> None:
    for name in (".hidden", "x.log", "wiki.train.tokens"):
        (tmp_path / name).write_text("the cat", encoding="utf-8")
        documents, _ = read_documents([str(tmp_path / name)], AUTO)
        assert texts(documents) == {name: "the cat"}


def test_zip_members_are_documents(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("deep.txt", "deep")
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("b.txt", "two")
        archive.writestr("in/a.jsonl", '{"text": "one"}')
        archive.writestr("../../evil.txt", "outside")
        archive.writestr("c.txt.gz", gzip.compress(b"three"))
        archive.writestr("inner.zip", inner.getvalue())
        archive.writestr("book.epub", inner.getvalue())
        archive.writestr("__MACOSX/b.txt", "junk")
        archive.writestr("bad.txt", b"\0\0\0")
    documents, notes = read_documents([path], AUTO)
    assert [d.source.path for d in documents] == [f"{path}:{name}" for name in ("b.txt", "c.txt.gz", "in/a.jsonl")]
    assert [part.text for d in documents for part in d.contents.parts] == ["two", "three", "one"]
    assert notes[0] == "left out 2 files of kinds that are not read: 1 .epub, 1 .zip"
    assert len(notes) == 3
    assert list(tmp_path.iterdir()) == [path]  # nothing was written


def test_an_archive_without_text(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x.png", "x")
    assert "no text in" in refusal(tmp_path / "a.zip")
    (tmp_path / "b.zip").write_bytes(b"PK nonsense")
    assert "damaged" in refusal(tmp_path / "b.zip")


def test_standard_input() -> None:
    documents, _ = read_documents(["-"], AUTO, io.BytesIO(b"the cat"))
    assert documents[0].source.path == "-"
    assert documents[0].contents.parts[0].text == "the cat"
    rows, _ = read_documents(["-"], TextConfig(field="tale"), io.BytesIO(b'{"tale": "a b"}'))
    assert rows[0].contents.kind == "rows"


def test_standard_input_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("é".encode("cp1252") + b"t\xe9")))
    assert read_documents(["-"], AUTO)[0][0].contents.parts[0].text == "été"
    monkeypatch.setattr(sys, "stdin", None)
    assert "no standard input" in refusal("-")


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    assert "no file or folder" in refusal(tmp_path / "gone.txt")
    assert "no file or folder" in refusal(tmp_path / ("long" * 40 + "\x1b[31m\n.txt"))
    assert "cannot read" in refusal("x" * 5000)
    assert "cannot read" in refusal("a\0b")
    assert "give a text" in refusal()
    assert "give a text" in refusal("")
    (tmp_path / "empty").mkdir()
    assert "no text in the folder" in refusal(tmp_path / "empty")
    (tmp_path / "a.txt").write_text("x y", encoding="utf-8")
    assert "cannot read" in refusal(tmp_path / "a.txt" / "b")
    (tmp_path / "empty" / "bin.txt").write_bytes(b"\0")
    assert "binary" in refusal(tmp_path / "empty")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_pipes_and_devices_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert "pipe or a device" in refusal(tmp_path / "pipe.txt")
    assert "pipe or a device" in refusal("/dev/null")
    assert "pipe or a device" in refusal(tmp_path)
    (tmp_path / "a.txt").write_text("x y", encoding="utf-8")
    assert list(texts(read_documents([tmp_path], AUTO)[0])) == ["a.txt"]


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_a_forbidden_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x y", encoding="utf-8")
    (tmp_path / "a.txt").chmod(0)
    assert "permission denied" in refusal(tmp_path / "a.txt")


def test_names_are_safe_to_print() -> None:
    assert quoted("a\x1b[31m\n'.txt") == "'a\\x1b[31m\\n'.txt'"
    assert len(quoted("猫" * 500)) < 70
    assert printable(os.fsdecode(b"caf\xe9.txt")) == "caf\\udce9.txt"


def test_a_folder_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    try:
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"x y")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    documents, _ = read_documents([tmp_path], AUTO)
    documents[0].source.path.encode()
    assert documents[0].source.path.endswith("caf\\udce9.txt")


def test_a_sparse_giant_is_refused_by_its_beginning_or_its_first_hole(tmp_path: Path) -> None:
    for beginning in (b"", b"the mouse sat\n" * 100_000):
        with (tmp_path / "giant.txt").open("wb") as file:
            file.write(beginning)
            file.truncate(1 << 40)
        assert "NUL" in refusal(tmp_path / "giant.txt")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom"])
def test_an_endless_standard_input_is_not_read_to_its_end(device: str) -> None:
    with Path(device).open("rb") as stream, pytest.raises(TextError, match="binary"):
        read_documents(["-"], AUTO, stream)


def test_more_than_a_text_may_have_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 3 << 20)
    (tmp_path / "long.txt").write_bytes(b"the mouse sat\n" * 400_000)
    monkeypatch.setattr(files, "_CHUNK", 1 << 20)
    assert "split it" in refusal(tmp_path / "long.txt")


def test_long_texts_in_wide_encodings_are_read_whole(tmp_path: Path) -> None:
    text = "the mouse sat — 猫\n" * 60_000
    for encoding in ("utf-16", "utf-16-le", "utf-32", "utf-8"):
        (tmp_path / "long.txt").write_bytes(text.encode(encoding))
        documents, _ = read_documents([tmp_path / "long.txt"], AUTO)
        assert documents[0].contents.parts[0].text == text
