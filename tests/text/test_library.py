"""Reading whole libraries: real ones, and the worst there are."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fabula.config import TextConfig
from fabula.errors import FabulaError, TextError
from fabula.text import Library, inspect_library, read_library, split

AUTO = TextConfig()


@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("aesop", "842 stories, by '# Title' lines"),
        ("tales", "437 stories, by '# Title' lines"),
        ("tinystories/valid.txt", "1,558 stories, by <|endoftext|>"),
        ("liaozhai", "495 stories, by '# Title' lines"),
        ("shakespeare/train.txt", "one text"),
        ("wikitext2/wiki.valid.tokens", "one text"),
        ("other_languages/neko_clean_ja.txt", "one text"),
        ("other_languages/lafontaine_fables_fr.txt", "247 stories, by '# Title' lines"),
        ("other_languages", "1,081 stories: 746 by <|endoftext|>, 334 by '# Title' lines, 1 one a file"),
    ],
)
def test_stories_of_real_libraries(shared_data: Path, path: str, how: str) -> None:
    library = read_library([shared_data / path], AUTO)
    assert library.how == how
    assert library.notes == ()
    assert not split(library).by_heart


def test_the_fable_is_one_short_text(fable: Path) -> None:
    library = read_library([fable], AUTO)
    assert [story.text for story in library.stories] == [fable.read_text(encoding="utf-8").rstrip("\n")]
    assert (library.how, library.notes) == ("one text", ())
    assert split(library).by_heart


def test_a_guess_is_said_aloud_and_can_be_overruled(tmp_path: Path) -> None:
    path = tmp_path / "conte.txt"
    path.write_bytes("Il était une fois une reine\n".encode("cp1252"))
    library = read_library([path], AUTO)
    assert library.stories[0].text == "Il était une fois une reine"
    assert len(library.notes) == 1
    assert "read as cp1252, a guess: --encoding NAME overrules it" in library.notes[0]
    told = read_library([path], TextConfig(encoding="cp1251"))
    assert told.stories[0].text == "Il йtait une fois une reine"
    assert told.notes == ()


def test_guesses_of_many_files_are_one_note(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.txt").write_bytes("Où était-elle passée, la reine ?".encode("cp1252"))
    (tmp_path / "z.txt").write_bytes("很久以前".encode()[:-1])
    (tmp_path / "empty.txt").write_bytes(b"\n")
    notes = read_library([tmp_path], AUTO).notes
    assert len(notes) == 3
    assert notes[0].startswith("3 files, the first '")
    assert "a damaged place" in notes[1]
    assert notes[2] == "left out 1 empty story"


@pytest.mark.parametrize(
    ("data", "got"),
    [(b"", "nothing"), (b"\xef\xbb\xbf", "nothing"), (b" \n\t\n", "only white space"), (b"mouse\n", "one word"),
     ("猫\n".encode(), "one word"), (b"# mouse and cat\n", "only white space")],
)  # fmt: skip
def test_two_words_are_needed(tmp_path: Path, data: bytes, got: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(TextError, match="at least two words") as caught:
        read_library([tmp_path / "a.txt"], AUTO)
    if not data.startswith(b"#"):
        assert str(caught.value).endswith(f"got {got}")


def test_two_characters_or_words_are_enough() -> None:
    for text in ("猫だ", "the mouse"):
        assert read_library(["-"], AUTO, stdin=io.BytesIO(text.encode())).stories[0].text == text


def test_rows_become_stories(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"title": "Cat", "text": "\\nthe cat\\n"}\n{"text": ""}\n{"text": "a dog"}\n', encoding="utf-8")
    library = read_library([path], TextConfig(stories="field"))
    assert [(story.text, story.title) for story in library.stories] == [("the cat", "Cat"), ("a dog", None)]
    assert library.notes == ("left out 1 empty story",)


def test_newlines_become_one_kind_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("a\r\nb\rc\u2028d\x85e\x0bf\u0301 \ufeff«É»".encode())
    assert read_library([path], AUTO).stories[0].text == "a\nb\nc\u2028d\x85e\x0bf\u0301 \ufeff«É»"


def test_opening() -> None:
    library = read_library(["-"], AUTO, stdin=io.BytesIO(b"# A\n\nthe cat\n# B\n\nthe dog"))
    assert library.opening() == "# A\n\nthe cat\n# B\n\nthe dog"
    assert library.opening(8) == "# A\n\nthe"


@pytest.fixture(scope="module")
def bad_files(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    script = shared_data / "adversarial" / "make_adversarial.py"
    subprocess.run([sys.executable, script, folder], check=True, capture_output=True)
    for path in (shared_data / "adversarial").glob("*.txt"):
        shutil.copy(path, folder)
    return folder


def test_bad_files_give_a_library_or_one_line(bad_files: Path) -> None:
    paths = sorted(bad_files.iterdir())
    assert len(paths) > 50
    refused = set()
    for path in paths:
        try:
            library = read_library([path], AUTO)
        except FabulaError as error:
            assert isinstance(error, TextError)
            assert len(str(error)) < 200
            assert str(error).isprintable()
            refused.add(path.stem)
        else:
            assert isinstance(library, Library)
            assert all(story.text.strip() for story in library.stories)
            split(library)
            inspect_library(library).to_json()
    assert refused == {
        "bom_only", "control_chars", "empty", "invalid_bytes", "mixed_utf8_latin1", "nul_bytes", "one_char",
        "one_newline", "one_word", "one_word_nl", "only_spaces", "overlong_utf8", "random_binary_64k",
        "surrogates_cesu8", "utf8_stress_kuhn", "very_long_word_1MB",
    }  # fmt: skip


def test_bad_files_in_one_folder_leave_the_good_ones(bad_files: Path) -> None:
    library = read_library([bad_files], AUTO)
    assert len(library.documents) > 40
    assert any("could not be read" in note for note in library.notes)


def test_a_text_of_ten_megabytes_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    path.write_text("很久以前，老鼠们开了一次大会。 the cat sat\n" * 200_000, encoding="utf-8")
    library = read_library([path], AUTO)
    assert library.how == "one text"
    assert len(library.stories[0].text) == 200_000 * 28 - 1
