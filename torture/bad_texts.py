"""Makers of what people and their machines call a text, each as bad as a number says; knows no command."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

from torture.characters import TEXTS, WRITTEN
from torture.models import STORY

Maker = Callable[[random.Random, Path], list[str]]
"""Makes a corpus in a folder, and says what is put behind the command."""

EVIL = "\x07\x1b]0;pwned\x07\x1b[666m\x9b6n"
"""Rings, renames the window, and asks the terminal to type something."""


def _prose(rng: random.Random) -> str:
    """Something that can be learned from."""
    text = rng.choice([*TEXTS.values(), STORY])
    return (text + rng.choice((" ", "\n", "\n\n", "\r\n"))) * rng.choice((1, 3, 40, 400))


def _in_any_encoding(rng: random.Random, place: Path) -> list[str]:
    language = rng.choice(list(TEXTS))
    text = (TEXTS[language] + "\n") * rng.choice((1, 5, 100))
    encoding = rng.choice(("utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-32-be", "utf-7", "cp037",
                           *WRITTEN[language]))  # fmt: skip
    (place / "t.txt").write_bytes(text.encode(encoding, "ignore"))
    named = rng.random() < 0.2
    return ["t.txt", *(["--encoding", rng.choice((encoding, "klingon", "zlib", "utf-8", "x" * 300))] if named else [])]


def _damaged(rng: random.Random, place: Path) -> list[str]:
    data = bytearray(_prose(rng).encode(rng.choice(("utf-8", "utf-16", "gb18030")), "ignore"))
    for _ in range(rng.choice((1, 3, 50, 5000))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                data[at : at + 1] = rng.randbytes(1)
            case 1:
                del data[at : at + rng.choice((1, 2, 100))]
            case 2:
                data[at:at] = rng.choice(
                    (b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\xbd", b"\x1b$B", b"~{", b"\xc0\xaf")
                )
            case 3:
                data[at:at] = EVIL.encode()
            case _:
                data = data[: max(1, at)]
    (place / "t.txt").write_bytes(data)
    return ["t.txt"]


def _mixed(rng: random.Random, place: Path) -> list[str]:
    parts = [
        _prose(rng).encode(rng.choice(("utf-8", "cp1252", "utf-16", "koi8_r", "big5")), "ignore") for _ in range(3)
    ]
    (place / "t.txt").write_bytes(b"\n".join(parts))
    return ["t.txt"]


def _hardly_anything(rng: random.Random, place: Path) -> list[str]:
    (place / "t.txt").write_bytes(rng.choice((
        b"", b"\n", b" \t\n\r\n ", b"\xef\xbb\xbf", b"\xff\xfe", b"a", b"mouse", b"the mouse", "\u3000\u2003\u200b".encode(),
        "猫".encode(), "猫鼠".encode(), b"\0", b"\0" * 5000, b"\x1b" * 300, EVIL.encode() * 99, b"# \n# \n# \n", b"---\n" * 99,
        b"<|endoftext|>" * 99, b"\f\f\f", "\u202eabc def".encode(), b"\r" * 9999, b"a " * 5, b"\x85\xa0\xad", b"% % %",
    )))  # fmt: skip
    return ["t.txt"]


def _noise(rng: random.Random, place: Path) -> list[str]:
    size = rng.choice((1, 10, 1000, 100_000, 3_000_000))
    alphabet = rng.choice((bytes(range(256)), bytes(range(128, 256)), bytes(range(32)), b"\xe4\xb8\xad\xff", b"ab \n"))
    name = rng.choice(("t.txt", "t", "t.jpg", "t.html", "t.csv", "t.jsonl", "t.zip", "t.epub", "t.txt.gz", "t.md"))
    (place / name).write_bytes(bytes(rng.choices(alphabet, k=size)))
    return [name]


def _names(rng: random.Random, place: Path) -> list[str]:
    name = rng.choice((
        b"\x1b[666mred\x07.txt", b"bad\xff\xfe.txt", b"line\nbreak.txt", b"-o", b"--resume.txt", b"sp ace.txt", b"\xe2\x80\xae.txt",
        b"%s{0}$HOME.txt", b"\xc2\x9b6n.txt", b"x" * 250 + b".txt", b"[bold]red[red].txt", b"'\".txt", b"a:0.5", b"\\u001b.txt",
    ))  # fmt: skip
    (place / os.fsdecode(name)).write_text(_prose(rng), encoding="utf-8")
    return [f"./{os.fsdecode(name)}" if rng.random() < 0.7 or name.startswith(b"-") else "."]


def _no_file(rng: random.Random, place: Path) -> list[str]:
    match rng.randrange(14):
        case 0:
            os.mkfifo(place / "t.txt")
        case 1:
            return [rng.choice(("/dev/zero", "/dev/full", "/dev/null", "/dev/urandom", "/dev/tty", "/dev/fd/0"))]
        case 2:
            with socket.socket(socket.AF_UNIX) as plug:
                plug.bind("t.txt")
        case 3:
            (place / "t.txt").mkdir()
        case 4:
            (place / "t.txt").symlink_to("t.txt")
        case 5:
            (place / "t.txt").symlink_to(rng.choice(("/dev/zero", "nowhere", ".", "/proc/self/mem")))
        case 6:
            return [rng.choice(("", "nowhere.txt", "x" * 5000, "a\0b", "/proc/self/mem", "/proc/1/root", "~"))]
        case 7:
            (place / "t.txt").write_text(STORY)
            (place / "t.txt").chmod(0)
            return ["t.txt", "!nobody"]
        case 8:
            (place / "d").mkdir()
            (place / "d" / "t.txt").write_text(STORY)
            (place / "d").chmod(0)
            return ["d", "!nobody"]
        case 9:
            for name in ("a.txt", "b.txt", "c.txt.gz"):
                os.mkfifo(place / name)
            (place / "d.txt").symlink_to("/dev/zero")
            (place / "e.txt").write_text(STORY * rng.choice((0, 1, 9)))
            return ["."]
        case 10:
            with (place / "t.txt").open("wb") as file:
                file.write(STORY.encode() * rng.choice((0, 1, 9_000)))
                file.truncate(rng.choice((1 << 24, 1 << 33, 1 << 40)))
        case 11:
            deep = place.joinpath(*["d"] * rng.choice((3, 200, 900)))
            deep.mkdir(parents=True)
            (deep / "t.txt").write_text(STORY * 3)
            return ["."]
        case 12:
            (place / "loop").symlink_to(".")
            (place / "t.txt").write_text(STORY * 3)
            return [".", "loop", "./loop/loop/loop"]
        case _:
            return [rng.choice(("</dev/null", "</dev/zero", "</dev/urandom"))]
    return ["t.txt"]


def _moving_files(rng: random.Random, place: Path) -> list[str]:
    if rng.random() < 0.5:
        (place / "grows.txt").write_text(STORY * 100)
        return ["grows.txt", "!grow"]
    (place / "many").mkdir()
    for number in range(60):
        (place / "many" / f"{number}.txt").write_text(f"{STORY} {number}")
    return ["many", "!vanish"]


def _jsonl(rng: random.Random, place: Path) -> list[str]:
    strange = rng.choice((
        '{"text": "\\ud83d alone and \\udc00 too"}', '{"text": "' + "a b " * 9 + '"} trailing', '{"text": 5}', "[]", "null", '"a b"',
        '{"text": "a", "text": "b c d"}', '{"a":' * 100_000, "[" * 100_000, '{"text": 1' + "0" * 9_999 + "}", '{"text": NaN}',
        '{"text": "a\tb"}', "{'text': 'a'}", '{"text": "\\u0000\\u0007\\u001b[666m bell and title"}', "\ufeff" + '{"text": "a b"}',
        json.dumps({EVIL: "a story of a mouse", "n": EVIL}), '{"text": "' + "long " * 99_999 + '"}', '{"": "a b c"}', "{}",
        json.dumps({"text": ["a", {"b": "c"}]}), '{"text": "a b"}\x1e', '{"text": 1e999}', '{"story": "a b c", "text": ""}',
        '{"text": "a b", "x": ' + "[]," * 0 + "[" + "{}," * 300_000 + "{}]}",
    ))  # fmt: skip
    lines = [json.dumps({"text": STORY})] * rng.choice((0, 1, 50)) + [strange] * rng.choice(
        (1, 1, 100 if len(strange) < 999 else 1)
    )
    rng.shuffle(lines)
    data = "\n".join(lines).encode(rng.choice(("utf-8", "utf-8", "utf-16")), "surrogatepass")
    if rng.random() < 0.3:
        (place / "t.txt.gz" if rng.random() < 0.2 else place / "t.jsonl.gz").write_bytes(gzip.compress(data))
        return [next(iter(place.glob("*.gz"))).name]
    (place / "t.jsonl").write_bytes(data)
    return ["t.jsonl"]


def _csv(rng: random.Random, place: Path) -> list[str]:
    (place / "t.csv").write_bytes(rng.choice((
        b"text\n" + STORY.encode(), b'text,n\n"' + b"a b " * 99_999, b'"a""b",c\n"d', b"a,b\n" * 9999, b"," * 99_999, b'text\n"\0"\n', b"",
        b"text;title\nA cat sat;" + EVIL.encode() + b"\n", b"\xef\xbb\xbftext,title\nthe cat,one\n", b'text\n"' + b"x" * 3_000_000 + b'"',
        b"text\r\rthe cat\rthe dog\r", b"a\tb|c;d,e\nf", b"text,text\na cat,the dog\n", EVIL.encode() + b",b\nthe cat sat,1\n",
    )))  # fmt: skip
    return ["t.csv"]


def _page(rng: random.Random, place: Path) -> list[str]:
    inner = rng.choice((
        "<p>" + STORY, "<" + "a" * 300_000, "<div>" * 200_000, "<div>" * 4_900 + STORY, "<p>" * 100_000 + STORY, "<!--" + STORY, "<script>" + STORY,
        "&#x7;&#27;[666m&#155;6n a bell, a title", "&lt;" * 99_999, "<a " + "x=y " * 99_999 + ">a b", "<" * 300_000, "&" + "a" * 300_000, "<b><i>" * 9999,
        "<table>" * 3_000 + STORY, "<p title='" + "y" * 300_000, "<svg><text>a b</text></svg>", "<template>" * 999 + STORY, "</p>" * 99_999 + STORY,
        "<plaintext>" + STORY, "<pre>" + " " * 300_000 + STORY, "<p>a b" + "\n" * 300_000, "<a<a<a" * 50_000, "<p/>" * 50_000 + STORY,
    ))  # fmt: skip
    charset = rng.choice(
        (
            "",
            "utf-8",
            "windows-1252",
            "punycode",
            "idna",
            "utf-7",
            "unicode_escape",
            "zlib",
            "os",
            "x" * 99,
            "utf-16",
            "undefined",
        )
    )
    head = f"<meta charset={charset}>" if charset else ""
    xml = "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]>" if rng.random() < 0.3 else ""
    (place / "t.html").write_text(f"{xml}<html><head>{head}</head><body>{inner}", encoding="utf-8")
    return ["t.html"]


def _archive(rng: random.Random, place: Path) -> list[str]:
    out = io.BytesIO()
    method = rng.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    kind = rng.randrange(8)
    with zipfile.ZipFile(out, "w", method) as archive:
        for name in ("../../evil.txt", "/etc/evil.txt", "C:\\evil.txt", "a.txt", "a\x1b[666m.txt", "b.txt.gz", "n.zip"):
            if rng.random() < 0.5:
                archive.writestr(name, gzip.compress(STORY.encode() * 9) if name.endswith("gz") else STORY * 9)
        if kind == 0:
            archive.writestr("bomb.txt", bytes(rng.choice((50, 200)) << 20))
        elif kind == 1:
            inner = gzip.compress(bytes(60 << 20))
            archive.writestr("bomb.txt.gz", inner)
        elif kind == 2:
            link = zipfile.ZipInfo("link.txt")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
        elif kind == 3:
            for number in range(2_000):
                archive.writestr(f"{number}.txt", "")
        elif kind == 4:
            archive.writestr("zeros.txt", b"a b " * (1 << 18))
    data = bytearray(out.getvalue())
    if rng.random() < 0.4:
        for _ in range(rng.choice((1, 5, 100))):
            data[rng.randrange(len(data))] = rng.randrange(256)
    if rng.random() < 0.1:
        data = data[: rng.randrange(len(data))]
    (place / "t.zip").write_bytes(data)
    return ["t.zip"]


def _gzip(rng: random.Random, place: Path) -> list[str]:
    data = bytearray(rng.choice((
        gzip.compress(STORY.encode() * 9), gzip.compress(b"") * 9_999, gzip.compress(bytes(100 << 20)), gzip.compress(gzip.compress(b"a b")),
        b"\x1f\x8b\x08\x08\0\0\0\0\0\0" + b"n" * 999_999, b"\x1f\x8b", gzip.compress(b"a b ") + b"trailing", gzip.compress(b"the cat ")[:-5],
    )))  # fmt: skip
    if rng.random() < 0.4:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    (place / "t.txt.gz").write_bytes(data)
    return ["t.txt.gz"]


def _book(rng: random.Random, place: Path) -> list[str]:
    doctype = rng.choice(
        ("", "", '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;"><!ENTITY x SYSTEM "file:///etc/passwd">]>')
    )
    item = rng.choice(
        (
            "c.xhtml",
            "../../../../etc/passwd",
            "/etc/passwd",
            "%2e%2e%2fc.xhtml",
            "C.xhtml",
            "\x07",
            "file:///etc/passwd",
        )
    )
    refs = '<itemref idref="a"/>' * rng.choice((1, 1, 3, 300_000)) + "<x>" * rng.choice((0, 0, 100_000))
    package = f'<package><manifest><item id="a" href="{item}" media-type="application/xhtml+xml"/></manifest><spine>{refs}</spine></package>'
    page = rng.choice(
        (
            f"<html><body><h1>One</h1><p>{STORY}</p></body></html>",
            "",
            "<div>" * 99_999,
            "&b;&x;",
            "\0",
            f"{doctype}<p>a b &b;</p>",
        )
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "META-INF/container.xml",
            f'<?xml version="1.0"?>{doctype}<container><rootfile full-path="p.opf"/></container>',
        )
        archive.writestr(
            "p.opf", f'<?xml version="1.0"?>{doctype}{package}'.replace("\x07", rng.choice(("\x07", "&#7;")))
        )
        archive.writestr("c.xhtml", page)
    data = bytearray(out.getvalue())
    if rng.random() < 0.2:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    (place / "t.epub").write_bytes(data)
    return ["t.epub"]


def _long(rng: random.Random, place: Path) -> list[str]:
    """One line, one word, one letter, and what makes patterns go round in circles."""
    unit = rng.choice((
        "the cat ", "x", "ab", "- ", "* ", "=", "''", "\u0301", "# ", "\n", " ", "\t", "猫", "ก", "\U0001f63a", "~{", "\x1b$", ".,", "a'", "１", "<|", "\n\n\n",
    ))  # fmt: skip
    size = rng.choice((1_000, 100_000, 1_000_000))
    (place / "t.txt").write_text(unit * (size // len(unit)) + rng.choice(("", " end of it", "\n")), encoding="utf-8")
    return ["t.txt"]


MAKERS: tuple[Maker, ...] = (
    _in_any_encoding, _damaged, _mixed, _hardly_anything, _noise, _names, _no_file, _moving_files, _jsonl, _csv, _page, _archive,
    _gzip, _book, _long, _no_file, _page,
)  # fmt: skip
