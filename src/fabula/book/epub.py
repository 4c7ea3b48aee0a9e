"""A book as EPUB 3: a zip of pages that every reader opens.

Source: EPUB 3.3, W3C Recommendation 2023.
"""

from __future__ import annotations

import hashlib
import io
import time
import zipfile
from html import escape

from fabula.book.chapters import Book
from fabula.book.words import appendix_rows, cleaned, paragraphs, words_for

CONTAINER = """<?xml version="1.0" encoding="utf-8"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles><rootfile full-path="book/package.opf" media-type="application/oebps-package+xml"/></rootfiles>
</container>
"""
STYLE = """h1 { margin: 3em 0 1em; line-height: 1.2; }
h1 small { display: block; font-size: .6em; font-weight: normal; }
p { margin: 0; text-indent: 1.3em; }
h1 + p { text-indent: 0; }
table { border-collapse: collapse; font-size: .85em; }
th, td { text-align: left; vertical-align: top; padding: .2em .6em .2em 0; }
"""


def to_epub(book: Book, now: float | None = None) -> bytes:
    """The file's bytes; `now` is the time of writing in seconds since 1970."""
    say = words_for(book.language)
    pages = {"title": _page(book, book.title, _title_page(book))}
    names = {"title": book.title}
    for number, chapter in enumerate(book.chapters, 1):
        name = f"chapter-{number:03d}"
        heading = f"<small>{_text(say['chapter'].format(number=number))}</small>{_text(chapter.title)}"
        body = "\n".join(f"<p>{_text(one)}</p>" for one in paragraphs(chapter.text))
        pages[name] = _page(book, chapter.title, f"<h1>{heading}</h1>\n{body}")
        names[name] = chapter.title
    pages["copied"] = _page(book, say["appendix"], _appendix(book))
    names["copied"] = say["appendix"]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)  # first and plain, as the format asks
        archive.writestr("META-INF/container.xml", CONTAINER)
        archive.writestr("book/package.opf", _package(book, list(pages), now))
        archive.writestr("book/contents.xhtml", _contents(book, names, say["contents"]))
        archive.writestr("book/style.css", STYLE)
        for name, page in pages.items():
            archive.writestr(f"book/{name}.xhtml", page)
    return file.getvalue()


def _package(book: Book, names: list[str], now: float | None) -> str:
    text = "\n".join(chapter.text for chapter in book.chapters)
    mark = hashlib.sha256(f"{book.title}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()
    uuid = f"{mark[:8]}-{mark[8:12]}-8{mark[13:16]}-a{mark[17:20]}-{mark[20:32]}"
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    items = "\n".join(f'<item id="{name}" href="{name}.xhtml" media-type="application/xhtml+xml"/>' for name in names)
    spine = "\n".join(f'<itemref idref="{name}"/>' for name in names)
    return f"""<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">urn:uuid:{uuid}</dc:identifier>
<dc:title>{_text(book.title)}</dc:title>
<dc:language>{_text(book.language)}</dc:language>
<dc:creator>{_text(book.model)}</dc:creator>
<meta property="dcterms:modified">{moment}</meta>
</metadata>
<manifest>
<item id="contents" href="contents.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="style" href="style.css" media-type="text/css"/>
{items}
</manifest>
<spine>
{spine}
</spine>
</package>
"""


def _contents(book: Book, names: dict[str, str], title: str) -> str:
    rows = "\n".join(f'<li><a href="{name}.xhtml">{_text(told)}</a></li>' for name, told in names.items())
    return _page(book, title, f'<nav epub:type="toc"><h1>{_text(title)}</h1>\n<ol>\n{rows}\n</ol></nav>')


def _title_page(book: Book) -> str:
    say = words_for(book.language)
    return f"<h1>{_text(book.title)}</h1>\n<p>{_text(say['by'].format(model=book.model, seed=book.seed))}</p>"


def _appendix(book: Book) -> str:
    say = words_for(book.language)
    head = "".join(f"<th>{_text(name)}</th>" for name in say["columns"])
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in appendix_rows(book)
    )
    return f"""<h1>{_text(say["appendix"])}</h1>
<p>{_text(say["explained"])}</p>
<table><thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody></table>"""


def _page(book: Book, title: str, body: str) -> str:
    language = _text(book.language)
    return f"""<?xml version="1.0" encoding="utf-8"?>
<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops" lang="{language}"
xml:lang="{language}">
<head><title>{_text(title)}</title><link rel="stylesheet" href="style.css"/></head>
<body>
{body}
</body>
</html>
"""


def _text(text: str) -> str:
    """Text as XML may hold it."""
    return escape(cleaned(text))
