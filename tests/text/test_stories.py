"""Documents to stories."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.errors import TextError
from fabula.text.contents import Contents, Kind, Part
from fabula.text.files import Document, Source
from fabula.text.stories import Story, find_stories
from fabula.text.stories import trimmed as trim

TALE = "Once there was a mouse who lived in a wall and the cat who sat before it never moved all day long."


def document(*texts: str, path: str = "x.txt", kind: Kind = "text") -> Document:
    return Document(Source(path, "utf-8", False, 1), Contents(tuple(map(Part, texts)), kind, "utf-8"))


def found(text: str, mode: str = "auto") -> tuple[list[str], str]:
    stories, how, _ = find_stories([document(text)], mode)
    return [story.text for story in stories], how


def test_titles() -> None:
    stories, how, dropped = find_stories(
        [document(f"preface\n\n# The Mouse\n\n{TALE}\n\n\n# Empty\n\n# The Cat \n{TALE}\n#no title\n## nor this\n")],
        "auto",
    )
    assert how == "3 stories, by '# Title' lines"
    assert dropped == 1
    assert [story.title for story in stories] == [None, "The Mouse", "The Cat"]
    assert stories[1] == Story(f"# The Mouse\n\n{TALE}", "x.txt", "The Mouse")
    assert stories[2].text == f"# The Cat \n{TALE}\n#no title\n## nor this"


@pytest.mark.parametrize("line", ["---", "***", "=====", "~~~~", "* * *", " - - - ", "⁂", "\f", "___"])
def test_separator_lines(line: str) -> None:
    assert found(f"\n{line}\n\n".join([TALE] * 3)) == ([TALE] * 3, "3 stories, by separator lines")


def test_gaps_of_blank_lines() -> None:
    assert found("\n\n\n".join([TALE] * 5)) == ([TALE] * 5, "5 stories, by gaps of two or more blank lines")


@pytest.mark.parametrize(
    "text",
    [
        f"{TALE}\n---\n{TALE}",  # one line may be anything
        "\n---\n".join(["too short"] * 50),
        "\n\n\n".join([TALE] * 4),
        "\n\n\n".join([TALE] * 5 + [TALE * 30]),  # a play with some gaps
        f"a preface\n\n# The only title\n\n{TALE}",
        f"#\n\n{TALE}\n\n#hash\n\n{TALE}",
        f"{TALE} the token <|endoftext|> stands inside {TALE}",
        " = Heading = \n \n text \n \n \n = = Other = = \n" * 9,
        "the cat\n" + "\n" * 10_000 + "the mouse",
    ],
)
def test_weak_marks_fool_nobody(text: str) -> None:
    assert found(text)[1] == "one text"


def test_endoftext() -> None:
    text = f"{TALE}\n<|endoftext|>\n\n{TALE} 2<|endoftext|>\n"
    assert found(text) == ([TALE, f"{TALE} 2"], "2 stories, by <|endoftext|>")
    assert find_stories([document(text)], "auto")[2] == 0
    assert found("a b <|endoftext|> c", "endoftext") == (["a b ", " c"], "2 stories, by <|endoftext|>")


def test_rows_and_chapters() -> None:
    stories, how, dropped = find_stories([document("a b", " \n", "c d", kind="rows")], "auto")
    assert ([story.text for story in stories], how, dropped) == (["a b", "c d"], "2 stories, one a row", 1)
    assert find_stories([document("# A\n\nb", "c", kind="chapters")], "auto")[1] == "2 stories, by chapters"
    assert find_stories([document("# A\n\nb", "c", kind="chapters")], "auto")[0][0].title == "A"
    tales = f"# A\n\n{TALE}\n\n# B\n\n{TALE}"
    assert find_stories([document(tales, TALE, kind="chapters")], "auto")[1] == "3 stories, by chapters"
    assert find_stories([document("a", "b", kind="rows")], "file")[0][0].text == "a\n\nb"


def test_field_needs_rows() -> None:
    with pytest.raises(TextError, match="jsonl"):
        find_stories([document("a b")], "field")


def test_many_short_files_keep_their_scene_breaks() -> None:
    scenes = "\n---\n".join([TALE] * 4)
    stories, how, _ = find_stories([document(scenes, path=f"{i}.txt") for i in range(30)], "auto")
    assert how == "30 stories, one a file"
    assert [story.source for story in stories[:2]] == ["0.txt", "1.txt"]


def test_long_files_among_others_are_cut_at_their_separators() -> None:
    long = "\n---\n".join([TALE] * 200)
    assert find_stories([document(long), document(TALE)], "auto")[1] == (
        "201 stories: 200 by separator lines, 1 one a file"
    )


def test_whole_and_file() -> None:
    both = [document("# A\n\nb\n", path="a"), document("\n\n# C\n\nd", path="b")]
    assert find_stories(both, "whole")[0] == [Story("# A\n\nb\n\n\n\n\n# C\n\nd", "a", None)]
    assert [story.text for story in find_stories(both, "file")[0]] == ["# A\n\nb", "# C\n\nd"]


def test_explicit_modes() -> None:
    text = "a b\n---\nc d\n\n\n\ne f\n"
    assert found(text, "separator")[0] == ["a b", "c d", "e f"]
    assert found("# A\nx\n# B\ny", "title")[0] == ["# A\nx", "# B\ny"]
    assert found("# A\nx\n# B\ny", "file")[0] == ["# A\nx\n# B\ny"]


@pytest.mark.parametrize(
    ("text", "trimmed"),
    [
        ("", ""),
        (" \n\t\n", ""),
        ("\n\n  a\n b \n \n", "  a\n b "),
        ("　　a\n", "　　a"),
        ("a", "a"),
        (" ", " "),
        ("\n \n a", " a"),
    ],
)
def test_trimmed(text: str, trimmed: str) -> None:
    assert trim(text) == trimmed


@given(st.text(st.sampled_from("a \n\t　"), max_size=12))
def test_trimming_loses_only_blank_lines(text: str) -> None:
    lines = text.split("\n")
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    if text.strip():
        assert trim(text) == "\n".join(lines)


@given(
    st.lists(st.sampled_from(["# T", "---", "", "a b", "<|endoftext|>", " ", "\f"])),
    st.sampled_from(["auto", "title", "separator", "endoftext", "file", "whole"]),
)
def test_no_word_is_lost_and_no_story_is_empty(lines: list[str], mode: str) -> None:
    stories, _, _ = find_stories([document("\n".join(lines))], mode)
    assert sum(story.text.count("a b") for story in stories) == lines.count("a b")
    assert all(story.text.strip() for story in stories)
