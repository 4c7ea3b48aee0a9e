"""A text cut into parts has the same stories as the whole, wherever it is cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabula.errors import TextError
from fabula.text.cutting import CUTS, find_cut, find_way, stories_in

LINES = {
    "title": ["# One", "# Two", "words of a story", "", "#hash", " # no title"],
    "separator": ["***", "words of a story", "", "- - -", "a --- b", "⁂"],
    "gap": ["", "", "", "words of a story", "more of it"],
    "separator or gap": ["***", "", "", "words of a story", "more — of it"],
    "endoftext": ["<|endoftext|>", "words of a story", "", "more", "<|endoftext|>so"],
}


@pytest.mark.parametrize("way", LINES)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@settings(deadline=None)
@given(data=st.data())
def test_parts_have_the_stories_of_the_whole(way: str, end: str, data: st.DataObject) -> None:
    lines = data.draw(st.lists(st.sampled_from(LINES[way]), min_size=1, max_size=30))
    raw = end.join(lines).encode()
    place = data.draw(st.integers(1, len(raw) + 1))
    found, whole = find_cut(raw[place - 1 :], way)
    cut = place - 1 + found
    assert place <= cut <= max(place, len(raw)) or place > len(raw)
    if whole:
        parts = [part.decode().replace("\r\n", "\n") for part in (raw[:cut], raw[cut:])]
        apart = [story for part in parts for story in stories_in(part, way)]
        assert apart == stories_in(raw.decode().replace("\r\n", "\n"), way)


@settings(deadline=None)
@given(st.text(min_size=1), st.integers(0, 20))
def test_a_text_without_stories_is_cut_between_characters(text: str, start: int) -> None:
    raw = text.encode("utf-8", "replace")[start:]
    found, whole = find_cut(raw, "whole")
    assert not whole
    assert 0 < found <= len(raw) or not raw
    if start == 0:
        assert raw[:found].decode() + raw[found:].decode() == raw.decode()


def test_soft_cuts_take_the_best_place() -> None:
    text = b"One two. Three\nfour five.\n\nSix"
    assert text[: find_cut(text, "whole")[0]] == b"One two. Three\nfour five.\n\n"
    assert find_cut(b"One two. Three\nfour", "file")[0] == 15
    assert find_cut(b"One two. Three four", "file")[0] == 9
    assert find_cut(b"One two three", "file")[0] == 4
    assert find_cut("狐狸".encode(), "file")[0] == 3


def test_the_way_is_that_of_the_beginning() -> None:
    assert find_way("a\n\n<|endoftext|>\nb", "auto", alone=True) == "endoftext"
    assert find_way("a b c", "auto", alone=True) == "whole"
    assert find_way("a b c", "auto", alone=False) == "file"
    assert find_way("a", "separator", alone=True) == "separator or gap"
    assert {find_way("a", mode, alone=True) for mode in ("title", "endoftext", "file", "whole")} <= CUTS.keys()
    with pytest.raises(TextError, match="stories by field"):
        find_way("a", "field", alone=True)
