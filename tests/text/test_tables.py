"""JSON Lines and CSV to rows."""

import csv
import json

import pytest

from fabula.config import TextConfig
from fabula.errors import TextError
from fabula.text.contents import Contents
from fabula.text.tables import read_csv, read_jsonl, read_tsv

AUTO = TextConfig()


def texts(contents: Contents) -> list[str]:
    return [part.text for part in contents.parts]


def test_jsonl_finds_the_text_and_the_title() -> None:
    data = b'{"id": 1, "title": "Cat", "text": "the cat\\nsat"}\r\n\n{"text": "a dog", "title": null}\n'
    contents = read_jsonl(data, "x", AUTO)
    assert contents.kind == "rows"
    assert [tuple(part) for part in contents.parts] == [("the cat\nsat", "Cat"), ("a dog", None)]


def test_jsonl_of_bare_strings_and_of_unusual_fields() -> None:
    assert texts(read_jsonl(b'"one cat"\n"two cats"', "x", AUTO)) == ["one cat", "two cats"]
    assert texts(read_jsonl(b'{"id": "7", "tale": "the longest field"}', "x", AUTO)) == ["the longest field"]


def test_the_field_can_be_named() -> None:
    data = b'{"text": "x y", "tale": "a b"}\n{"tale": 7}\n{"text": "z"}'
    assert texts(read_jsonl(data, "x", TextConfig(field="tale"))) == ["a b", "", ""]
    with pytest.raises(TextError, match="'text', 'tale'"):
        read_jsonl(data, "x", TextConfig(field="story"))


def test_line_separators_inside_json_do_not_end_a_line() -> None:
    assert texts(read_jsonl('{"text": "a\u2028b\x85c"}'.encode(), "x", AUTO)) == ["a\u2028b\x85c"]


def test_json_surrogates() -> None:
    assert texts(read_jsonl(rb'{"text": "\ud83d\udc31 \ud800 cat"}', "x", AUTO)) == ["🐱 \ufffd cat"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"text": "a b"}\n{"text": ', "line 2 is not JSON"),
        (b"[" * 100_000, "line 1 is not JSON"),
        (b'{"text": ' + b"9" * 5_000 + b"}", "line 1 is not JSON"),
        (b'["a", "b"]', "line 1 is a list"),
        (b"3\n", "line 1 is a int"),
        (b"{}\n{}", "no text in its rows"),
        (b'{"n": 1}', "no text in its rows"),
        (b"\n\n", "no text in its rows"),
    ],
)
def test_bad_jsonl_is_one_line(data: bytes, message: str) -> None:
    with pytest.raises(TextError, match=message) as caught:
        read_jsonl(data, "'x'", AUTO)
    assert len(str(caught.value)) < 200


def test_csv_with_quotes_and_line_breaks() -> None:
    data = b'id,title,text\n1,Cat,"the ""cat"",\r\nsat"\n\n2,,a dog\n3,short\n'
    contents = read_csv(data, "x", AUTO)
    assert [tuple(part) for part in contents.parts] == [('the "cat",\nsat', "Cat"), ("a dog", None), ("", "short")]


@pytest.mark.parametrize("delimiter", list(",;|\t"))
def test_csv_delimiters(delimiter: str) -> None:
    data = delimiter.join(["nr", "story"]) + "\n" + delimiter.join(["1", "the cat sat"])
    assert texts(read_csv(data.encode(), "x", AUTO)) == ["the cat sat"]


def test_tsv_keeps_commas() -> None:
    assert texts(read_tsv(b"story\tn\na, b; c\t1\n", "x", AUTO)) == ["a, b; c"]


def test_a_table_without_a_header() -> None:
    assert texts(read_csv(b'1,"the cat sat on the mat"\n2,"the dog, too"', "x", AUTO)) == [
        "the cat sat on the mat",
        "the dog, too",
    ]


def test_long_cells_and_the_limit_of_the_csv_module() -> None:
    csv.field_size_limit(131_072)
    long = "cat " * 100_000
    assert texts(read_csv(f'text\n"{long}"\n'.encode(), "x", AUTO)) == [long]
    assert csv.field_size_limit() == 131_072


@pytest.mark.parametrize("data", [b'text\n"never closed', b'text\n"a"b\n'])
def test_irregular_csv_is_one_line(data: bytes) -> None:
    csv.field_size_limit(131_072)
    with pytest.raises(TextError, match="quotes near line"):
        read_csv(data, "'x'", AUTO)
    assert csv.field_size_limit() == 131_072


def test_field_names_cannot_break_the_message() -> None:
    row = json.dumps({"\x1b[31m" + "k" * 900: "a b", **{str(i) * 90: "" for i in range(9)}})
    with pytest.raises(TextError) as caught:
        read_jsonl(row.encode(), "'x'", TextConfig(field="y" * 900))
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()
