"""A book as one self-contained HTML page, without any script."""

from __future__ import annotations

from html import escape

from fabula.book.chapters import Book, Chapter
from fabula.book.words import appendix_rows, cleaned, paragraphs, words_for

STYLE = """\
:root { color-scheme: light dark; --paper: #fbf9f4; --ink: #21201d; --soft: #645f55; --line: #d9d2c3; }
@media (prefers-color-scheme: dark) { :root { --paper: #17181b; --ink: #e9e5dc; --soft: #a9a498; --line: #3a3c41; } }
html { background: var(--paper); color: var(--ink); font: 19px/1.65 Georgia, "Noto Serif", serif; }
body { max-width: 38rem; margin: 0 auto; padding: 1rem 1.25rem 4rem; overflow-wrap: break-word; }
h1 { font-size: 2.4rem; line-height: 1.15; margin: 3rem 0 .5rem; }
h2 { font-size: 1.5rem; margin: 4.5rem 0 1.2rem; }
h2 small { display: block; color: var(--soft); font: .8rem system-ui, sans-serif; }
p { margin: 0; text-indent: 1.3em; }
p.first, p.soft, h2 + p { text-indent: 0; }
nav a { color: inherit; }
.soft, table { color: var(--soft); font: .85rem/1.5 system-ui, sans-serif; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); }
"""


def to_html(book: Book) -> str:
    """The whole page: title, contents, chapters, and what was copied."""
    say, title = words_for(book.language), escape(cleaned(book.title))
    contents = "\n".join(
        f'<li><a href="#c{number}">{escape(cleaned(chapter.title))}</a></li>'
        for number, chapter in enumerate(book.chapters, 1)
    )
    chapters = "\n".join(_chapter(number, chapter, say["chapter"]) for number, chapter in enumerate(book.chapters, 1))
    head = "".join(f"<th>{escape(name)}</th>" for name in say["columns"])
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in appendix_rows(book)
    )
    return f"""<!doctype html>
<html lang="{escape(book.language, quote=True)}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<p class="soft">{escape(cleaned(say["by"].format(model=book.model, seed=book.seed)))}</p>
<nav aria-label="{escape(say["contents"], quote=True)}"><h2>{escape(say["contents"])}</h2>
<ol>
{contents}
</ol></nav>
<main>
{chapters}
</main>
<h2 id="copied">{escape(say["appendix"])}</h2>
<p class="soft">{escape(say["explained"])}</p>
<table><thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody></table>
</body>
</html>
"""


def _chapter(number: int, chapter: Chapter, word: str) -> str:
    body = "\n".join(f"<p>{escape(one)}</p>" for one in paragraphs(chapter.text))
    heading = f"<small>{escape(word.format(number=number))}</small>{escape(cleaned(chapter.title))}"
    return f'<section id="c{number}"><h2>{heading}</h2>\n{body}\n</section>'
