"""EPUB to chapters."""

import io
import zipfile

import pytest

from fabula.config import TextConfig
from fabula.errors import TextError
from fabula.text.books import read_book

CONTAINER = (
    '<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">'
    '<rootfiles><rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles>'
    "</container>"
)
PACKAGE = """<?xml version="1.0"?><opf:package xmlns:opf="http://www.idpf.org/2007/opf"><opf:manifest>
<opf:item id="b" href="text/second%20one.xhtml" media-type="application/xhtml+xml"/>
<opf:item id="a" href="text/../first.xhtml" media-type="application/xhtml+xml"/>
<opf:item id="n" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<opf:item id="p" href="cover.png" media-type="image/png"/>
</opf:manifest><opf:spine>
<opf:itemref idref="n"/><opf:itemref idref="p"/><opf:itemref idref="a"/><opf:itemref idref="b"/>
</opf:spine></opf:package>"""
PAGE = '<?xml version="1.0" encoding="{}"?><html xmlns="x"><head><title/></head><body>{}</body></html>'
BOOK = {
    "mimetype": "application/epub+zip",
    "META-INF/container.xml": CONTAINER,
    "OEBPS/book.opf": PACKAGE,
    "OEBPS/first.xhtml": PAGE.format("utf-8", "<h1>The Cat</h1><p>She sat — long.</p>").encode(),
    "OEBPS/text/second one.xhtml": PAGE.format("cp437", "<h2>Noël</h2><p>He ran.</p>").encode("cp437"),
    "OEBPS/nav.xhtml": PAGE.format("utf-8", "contents").encode(),
    "OEBPS/cover.png": b"\x89PNG",
}


def bound(**changes: str | bytes | None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in {**BOOK, **changes}.items():
            if data is not None:
                archive.writestr(name, data)
    return buffer.getvalue()


def read(data: bytes) -> list[str]:
    return [part.text for part in read_book(data, "'x'", TextConfig()).parts]


def test_chapters_come_in_reading_order() -> None:
    assert read(bound()) == ["# The Cat\n\nShe sat — long.", "# Noël\n\nHe ran."]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"META-INF/container.xml": None}, "no EPUB"),
        ({"META-INF/container.xml": "<container/>"}, "no EPUB"),
        ({"OEBPS/book.opf": None}, "no EPUB"),
        ({"OEBPS/book.opf": "<package><manifest>"}, "broken package"),
        ({"OEBPS/book.opf": "<package/>"}, "no chapters"),
        ({"OEBPS/first.xhtml": None}, "lacks 1 of its 2 pages"),
        ({"OEBPS/first.xhtml": b"", "OEBPS/text/second one.xhtml": b""}, "no chapters"),
        ({"OEBPS/first.xhtml": b"\0\1\2\3" * 99}, "binary"),
        ({"OEBPS/book.opf": PACKAGE.replace("text/../first.xhtml", "../../../../etc/passwd")}, "lacks 1 of its 2"),
    ],
)
def test_damaged_books_are_one_line(changes: dict[str, str | bytes | None], message: str) -> None:
    with pytest.raises(TextError, match=message) as caught:
        read(bound(**changes))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_document_types_and_entities_are_refused(encoding: str) -> None:
    bomb = '<!DOCTYPE p [<!ENTITY a "ha"><!ENTITY b "&a;&a;"><!ENTITY x SYSTEM "file:///etc/passwd">]>'
    evil = f'<?xml version="1.0" encoding="{encoding}"?>{bomb}<package>&b;&x;</package>'.encode(encoding)
    with pytest.raises(TextError, match="document type"):
        read(bound(**{"OEBPS/book.opf": evil}))


def test_a_page_that_is_named_a_thousand_times_is_read_once() -> None:
    many = PACKAGE.replace("</opf:spine>", '<opf:itemref idref="a"/>' * 1_000 + "</opf:spine>")
    assert read(bound(**{"OEBPS/book.opf": many})) == ["# The Cat\n\nShe sat — long.", "# Noël\n\nHe ran."]


def test_a_book_of_a_hundred_thousand_pages_is_refused() -> None:
    """A package of 16 MB held four million elements, and each became an object."""
    with pytest.raises(TextError, match="at most 100,000 pages"):
        read(bound(**{"OEBPS/book.opf": f"<package>{'<item/>' * 100_001}</package>"}))
    assert read(bound(**{"OEBPS/book.opf": PACKAGE.replace("</opf:spine>", "<x/>" * 200_000 + "</opf:spine>")}))
