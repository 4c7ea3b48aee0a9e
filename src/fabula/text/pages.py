"""HTML to the text that a reader of the page sees; knows no files and no stories.

Paragraphs are separated by a blank line, headings of the page's highest level become `# Title` lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fabula.errors import MissingExtraError, TextError

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_UNSEEN = frozenset({
    "script", "style", "nav", "head", "title", "template", "noscript", "svg", "math", "iframe", "object", "button",
    "select", "textarea", "-comment",
})  # fmt: skip
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_PARAGRAPHS = frozenset({
    "p", "div", "section", "article", "main", "aside", "header", "footer", "blockquote", "pre", "figure", "figcaption",
    "hr", "ul", "ol", "dl", "table", "form", "fieldset", "address", "details", "summary", "body", *_HEADINGS,
})  # fmt: skip
_LINES = frozenset({"br", "li", "tr", "dt", "dd"})
_CELLS = frozenset({"td", "th"})
_VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr",
})  # fmt: skip
_SELF_CLOSING = frozenset({"p", "li", "dt", "dd", "tr", "td", "th", "thead", "tbody", "option"})
_WHITE = re.compile(r"[ \t\n\r\f]+")
# Possessive: a tag that never ends is passed over once, not once more for each of its letters.
_TAG = re.compile(r"<(/?)([a-zA-Z][\w:-]*+)([^<>]*+)>")
_DEEPEST = 5_000  # the parser takes quadratic time in the depth
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]{2,40})""", re.IGNORECASE)


def declared_encoding(data: bytes) -> str | None:
    """The encoding that the head of an HTML or XML file names."""
    found = _DECLARED.search(data, 0, 2048)
    return found[1].decode("ascii", "replace") if found else None


def page_text(html: str, name: str) -> str:
    """The visible text of a page. Errors: TextError when it is nested absurdly deep, MissingExtraError.

    >>> page_text("<h1>The Cat</h1><p>She <b>sat</b>.<p>She\\n slept.<script>x()</script>", "cat.html")
    '# The Cat\\n\\nShe sat.\\n\\nShe slept.'
    """
    try:
        from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("reading .html and .epub", "formats") from None
    if html.lstrip()[:5].lower() == "<?xml":
        html = _TAG.sub(_open_and_close, html)
    _check_depth(html, name)
    body = LexborHTMLParser(html).body
    text = "".join(_pieces(body)) if body is not None else ""
    text = re.sub(r" *\n *", "\n", re.sub(r" {2,}", " ", text))
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"(?m)^# *$", "", text)).strip("\n ")


def _pieces(body: LexborNode) -> Iterator[str]:
    """The texts of a page in order, with line ends where blocks begin and end."""
    top = next((tag for tag in _HEADINGS if body.css_first(tag) is not None), None)
    heading = verbatim = False
    for node, entered in _walk(body):
        tag = node.tag or ""
        if tag == "-text":
            text = node.text_content or "" if entered else ""
            yield text if verbatim else _WHITE.sub(" ", text)
        elif tag in _HEADINGS:
            heading = entered
            yield "\n\n# " if entered and tag == top else "\n\n"
        elif tag in _PARAGRAPHS:
            verbatim = entered if tag == "pre" else verbatim
            yield " " if heading else "\n\n"
        elif entered and tag in _LINES:
            yield " " if heading else "\n"
        elif entered and tag in _CELLS:
            yield " "


def _walk(top: LexborNode) -> Iterator[tuple[LexborNode, bool]]:
    """Every seen node when it is entered (True) and when it is left (False); no recursion, pages can be deep."""
    node, entered = top, True
    while True:
        yield node, entered
        if entered and node.first_child is not None and node.tag not in _UNSEEN:
            node = node.first_child
        elif entered:
            entered = False
        elif node.mem_id == top.mem_id or node.parent is None:
            return
        elif node.next is not None:
            node, entered = node.next, True
        else:
            node = node.parent


def _open_and_close(tag: re.Match[str]) -> str:
    """`<a/>` of XHTML as `<a></a>`: HTML would leave it open."""
    closing, tag_name, rest = tag.groups()
    if closing or not rest.endswith("/") or tag_name.lower() in _VOID:
        return tag[0]
    return f"<{tag_name}{rest[:-1]}></{tag_name}>"


def _check_depth(html: str, name: str) -> None:
    """Errors: TextError when more elements are open at once than any honest page has."""
    depth = 0
    for found in _TAG.finditer(html):
        closing, tag, rest = found.groups()
        if tag.lower() in _VOID or tag.lower() in _SELF_CLOSING or rest.endswith("/"):
            continue
        depth = max(0, depth - 1) if closing else depth + 1
        if depth > _DEEPEST:
            raise TextError(f"{name} has more than {_DEEPEST:,} elements inside each other: give its text instead")
