"""HTML to the text a reader sees."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.errors import FabulaError, MissingExtraError, TextError
from fabula.text.encodings import decode
from fabula.text.pages import declared_encoding, page_text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("<p>", ""),
        ("just text", "just text"),
        ("<h1>The Cat</h1><p>She <b>sat</b>.<p>She\n  slept.", "# The Cat\n\nShe sat.\n\nShe slept."),
        ("<title>t</title><nav>menu</nav><p>a<script>x()</script><style>p{}</style>b<!-- c --></p>", "ab"),
        ("<p>one<br>two<br/><br>three</p>tail", "one\ntwo\n\nthree\n\ntail"),
        ("<ul><li>x<li>y</ul><table><tr><td>a</td><td>b</td></tr></table>", "x\ny\n\na b"),
        ("<h2>Chapter<br>One</h2><p>x</p><h3>Part</h3>y<h2></h2>", "# Chapter One\n\nx\n\nPart\n\ny"),
        ("<h1><p>x</p></h1>y", "# x\n\ny"),
        ("<h2>T<small>HE</small> cat</h2>z", "# THE cat\n\nz"),
        ("<pre>a\n b\n</pre>c", "a\nb\n\nc"),
        ("&eacute;&lt;p&gt;&amp;&nbsp;猫&#xD800;", "é<p>&\xa0猫\ufffd"),
        ("<?xml version='1.0'?><html><head><title/></head><body><p><a id='x'/>Hi<br/>you</p></body></html>", "Hi\nyou"),
        ("<frameset><frame></frameset>", ""),
    ],
)
def test_page_text(html: str, text: str) -> None:
    assert page_text(html, "x") == text


@given(
    st.lists(
        st.sampled_from([*"a \n", "<p>", "</p>", "<b>", "<div>", "</div>", "<h1>", "</h1>", "<table>", "<td>", "<pre>"])
    )
)
def test_any_tags_give_clean_text(pieces: list[str]) -> None:
    text = page_text("".join(pieces), "x")
    assert text == text.strip("\n ")
    assert "\n\n\n" not in text
    assert text.replace("#", "").count("a") == pieces.count("a")


@pytest.mark.parametrize("html", ["<div>" * 200_000, "<b>" * 10_000 + "x", "<?xml?>" + "<i>" * 9_000])
def test_absurd_depth_is_refused(html: str) -> None:
    with pytest.raises(TextError, match="inside each other"):
        page_text(html, "'x'")


@pytest.mark.parametrize(
    "html", ["<p>" * 50_000 + "x", "<a/>" * 10_000 + "x", "<div/>" * 4_000 + "x", "<" * 100_000 + " x"]
)
def test_sloppy_pages_are_read(html: str) -> None:
    assert page_text(html, "x").endswith("x")


def test_declared_encoding() -> None:
    assert declared_encoding(b'<meta charset="gb2312">') == "gb2312"
    assert declared_encoding(b"<meta http-equiv='Content-Type' content='text/html; charset=koi8-r'>") == "koi8-r"
    assert declared_encoding(b"<?xml version='1.0' encoding='iso-8859-1'?>") == "iso-8859-1"
    assert declared_encoding(b"<p>" + b" " * 5000 + b"charset=x") is None


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "selectolax.lexbor", None)
    with pytest.raises(MissingExtraError, match=r"fabula\[formats\]") as caught:
        page_text("<p>x", "x")
    assert isinstance(caught.value, FabulaError)


@pytest.mark.parametrize(
    "html", ["<" + "a" * 1_000_000, "<a" * 500_000, "<?xml?><" + "a" * 1_000_000, "</" + "-" * 1_000_000]
)
def test_tags_that_never_end_take_no_time(html: str) -> None:
    """The pattern for tags tried each ending anew for each letter: 60,000 letters took minutes."""
    page_text(f"<p>the cat</p>{html}", "x")


@pytest.mark.parametrize(
    "name", ["punycode", "idna", "utf-7", "unicode_escape", "raw_unicode_escape", "undefined", "hex"]
)
def test_a_page_is_not_read_as_what_no_page_is_written_in(name: str) -> None:
    """punycode takes quadratic time, and utf-7 hides from a reader what a browser would not see either."""
    data = f"<meta charset={name}><p>the cat \\u0041 +AGE- é</p>".encode()
    assert decode(data, "x", None, declared_encoding(data)).encoding == "utf-8"
