"""`fabula chat` as one meets it: real processes, a real terminal, real keys; killed, resumed, resized, redirected."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fabula.cli.canvas import HINT, OFFER, TELLING
from fabula.cli.keys import help_page

OPENING = "long ago, the mice had a general council"
SENTENCE = "long ago, the mice had a general council to consider what measures they could take to outwit"
Start = Callable[..., Any]


def fabula(*arguments: str, stdin: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fabula", *arguments], input=stdin, capture_output=True, text=True, cwd=cwd, check=False
    )


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, fable: Path) -> dict[str, Path]:
    """The fable by heart in symbols; in bytes hardly looked at, so that it says whatever bytes there are."""
    home = tmp_path_factory.mktemp("models")
    for name, more in (("symbols", []), ("bytes", ["--steps", "2", "--unit", "bytes"])):
        done = fabula("train", str(fable), "-o", str(home / name), "-q", "--set", "training.threads=1", *more)
        assert done.returncode == 0, done.stderr
    return {name: home / name for name in ("symbols", "bytes")}


@pytest.fixture
def model(models: dict[str, Path]) -> str:
    return str(models["symbols"])


def kept(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def words(path: Path) -> list[str]:
    """All words that a table holds, in the order in which they were told."""
    return [word[1] for word in kept(path)["words"]]


# --- line by line --------------------------------------------------------------------------------------------------


def test_a_line_is_answered(model: str, tmp_path: Path) -> None:
    done = fabula("chat", model, "-t", "0", stdin="long ago , the mice\n\nthe cat\n", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first.startswith("had a general council to consider")
    assert first.endswith("the cat.")
    assert second.startswith("some said this")
    assert third
    assert done.stderr.startswith("copied ")
    assert not list(tmp_path.iterdir())  # without --table nothing is kept


def test_plain_repeats_with_a_seed_and_keeps_a_table(model: str, tmp_path: Path) -> None:
    def tell(seed: str, *more: str) -> str:
        return fabula(
            "chat", model, "--plain", "-t", "2", "--seed", seed, *more, stdin="the mice\n\n", cwd=tmp_path
        ).stdout

    assert tell("1") == tell("1") != tell("2")
    first = tell("1", "--table", "a.json")
    done = fabula("chat", model, "--table", "a.json", stdin="/story\n", cwd=tmp_path)
    assert done.stdout == f"the mice {' '.join(first.split())}\n"


def test_commands_line_by_line(model: str) -> None:
    lines = [
        "long ago , the mice", "/back 1", "/words", "/take 2", "/story", "/mark here", "/undo", "/story", "/go here",
        "/again", "/bits", "/marks", "/temperature 0", "/word", "/back 1", "/next", "/end", "/help", "/on 99",
    ]  # fmt: skip
    done = fabula("chat", model, "-t", "0", stdin="\n".join(lines))
    assert done.returncode == 0, done.stderr
    out, said = done.stdout.splitlines(), done.stderr.splitlines()
    assert out[0].endswith("the cat.")
    assert out[1] != out[2]
    assert out[2].endswith("the cat")  # the story up to the cursor, which /undo brought back
    assert said[1].startswith("1 ")
    assert said[1].endswith("%")
    assert "bookmark: here" in said
    assert any(line.strip().startswith(("0.", "1.", "2.", "3.", "4.", "5.", "6.")) for line in said)
    assert "a line of text   goes into the story, and the model answers; an empty line lets it go on" in said
    assert "there is nothing further that way" in said


def test_a_sitting_ends_when_somebody_says_so(model: str) -> None:
    done, whole = (
        fabula("chat", model, "--plain", "-q", "-t", "0", stdin=lines)
        for lines in ("the mice\n/quit\nthe cat\n", "the mice\n")
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, whole.stdout, whole.stderr)


def test_json_tells_each_word_and_its_bits(model: str, tmp_path: Path) -> None:
    done = fabula("chat", model, "--json", "-t", "0", "--table", "a.json", stdin="long ago , the mice\n", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert set(answer) == {"text", "copied_4", "longest_copy", "words", "told", "bookmarks", "table"}
    assert "".join(word["word"] for word in answer["words"]) == answer["text"]
    assert [word["own"] for word in answer["words"][:6]] == [True] * 5 + [False]
    assert all(word["bits"] >= 0 for word in answer["words"])
    assert answer["copied_4"] == 1.0
    assert answer["longest_copy"] >= 20
    assert (answer["told"], answer["table"]) == (len(answer["words"]), "a.json")


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        ([], "the dragon\n", "symbols must be of the training text, got 'dragon'"),
        ([], "/dance\n", "/dance is no command here: /help lists them"),
        ([], "/take 1\n", "/take must have a number of the last /words, got 1"),
        ([], "/back x\n", "this command must have a number, got 'x'"),
        ([], "/temperature hot\n", "/temperature must have a number, got 'hot'"),
        ([], "/temperature -1\n", "sampling.temperature must be"),
        ([], "/go nowhere\n", "/go must have the name of a bookmark, got 'nowhere'"),
        (["--until", "page"], "", "--until must be one of word, sentence, paragraph, story, got 'page'"),
        (["--table", "no/such.json"], "", "its folder is not there"),
        (["--set", "sampling.require=snow"], "", "leave sampling.require to fabula write"),
        (["--max-copy", "2"], "", "sampling.max_copy must be"),
    ],
)
def test_mistakes_are_one_line(model: str, tmp_path: Path, arguments: list[str], stdin: str, message: str) -> None:
    done = fabula("chat", model, *arguments, stdin=stdin, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_table_of_another_model_or_a_damaged_one(models: dict[str, Path], tmp_path: Path) -> None:
    bytes_, symbols = str(models["bytes"]), str(models["symbols"])
    assert fabula("chat", symbols, "--table", "a.json", stdin="the mice\n", cwd=tmp_path).returncode == 0
    before = (tmp_path / "a.json").read_bytes()
    done = fabula("chat", bytes_, "--table", "a.json", stdin="x\n", cwd=tmp_path)
    assert done.returncode == 2
    assert "was told with another model, 'symbols': --adopt goes on with its words" in done.stderr
    assert (tmp_path / "a.json").read_bytes() == before
    done = fabula("chat", bytes_, "--table", "a.json", "--adopt", stdin="/story\n", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the mice ")
    (tmp_path / "a.json").write_bytes(before[:100])
    done = fabula("chat", symbols, "--table", "a.json", stdin="x\n", cwd=tmp_path)
    assert done.returncode == 2
    assert "is damaged" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "a.json").read_bytes() == before[:100]


def test_plain_saves_after_every_line_and_when_it_is_stopped(model: str, tmp_path: Path) -> None:
    for number, expected in ((signal.SIGTERM, 130), (signal.SIGINT, 130), (signal.SIGKILL, -9)):
        path = tmp_path / f"{number.name}.json"
        process = subprocess.Popen(
            [sys.executable, "-m", "fabula", "chat", model, "--table", str(path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert process.stdin
        assert process.stdout
        process.stdin.write("the mice\nthe cat\n")
        process.stdin.flush()
        assert process.stdout.readline()
        answer = process.stdout.readline().strip()
        if number is signal.SIGKILL:  # what was answered before the last line is kept for certain
            process.stdin.write("the\n")
            process.stdin.flush()
            assert process.stdout.readline()
        process.send_signal(number)
        assert process.wait(60) == expected
        process.stdin.close()
        process.stdout.close()
        assert f"thecat{answer}".replace(" ", "") in "".join(words(path)).replace(" ", "")


# --- on a screen ---------------------------------------------------------------------------------------------------


def test_writing_together(seated: Start, model: str, tmp_path: Path) -> None:
    seat = seated("chat", model, "-t", "0")
    seat.see("type a beginning, or let the model begin with Enter", "copied nothing")
    seat.press("long ago , the mice")
    seat.see("long ago , the mice")
    seat.press("enter")
    seat.see("long ago, the mice", '"mice" ', " bits, ")
    seat.press("enter")
    seat.see("enemy, the cat.", "copied 100%, longest run 2")
    assert "4" in seat.glass.looks("general").split(";")  # underlined: copied
    assert "1" in seat.glass.looks("long").split(";")  # bold: the writer's own
    assert "1" not in seat.glass.looks("general").split(";")
    seat.press("backspace")
    seat.see('"mice" ', gone="general")
    seat.press("^R")
    seat.see("enemy, the cat.")
    seat.press("^Q")
    assert seat.end() == 0
    table = tmp_path / "symbols-table.json"
    assert "saved in symbols-table.json; copied 100%" in seat.glass.text
    assert "".join(words(table)).startswith(OPENING)
    assert seat.glass.raw == []


def test_other_words_branches_undo_and_bookmarks(seated: Start, model: str, tmp_path: Path) -> None:
    seat = seated("chat", model, "-t", "0", "--table", "my.json")
    seat.see("type a beginning")
    seat.press("long ago , the mice had a", "enter")
    seat.see('"a" ')
    seat.press("^W", "^K")
    seat.see("general", "bookmark: ... ago, the mice had a general")
    seat.press("left", "tab")
    seat.see("in place of 'general': Tab chooses, Enter takes", "1 general 9", "2 ")
    other = next(line.split()[1] for line in seat.glass.lines if line.startswith("2 "))
    seat.see(f"mice had a {other}")  # it is shown in its place
    seat.press("enter")
    seat.see(f"had a {other}", gone="in place of")
    seat.press("left")
    seat.see("branch 2 of 2")
    seat.press("^N")
    seat.see("mice had a general", "branch 1 of 2")
    seat.press("^Z", "^Z")
    seat.see("had a general", gone="branch 2")
    seat.press("^Y")
    seat.see(f"had a {other}")
    seat.press("^O")
    seat.see("bookmarks: Tab chooses", "... ago, the mice had a general")
    seat.press("enter")
    seat.see("had a general", gone="bookmarks:")
    seat.press("left", "tab", "3")
    seat.see(gone="in place of")
    seat.press("home", "^F")
    seat.see("branch 3 of 3")
    seat.press("^Q")
    assert seat.end() == 0
    assert {" general", f" {other}"} <= set(words(tmp_path / "my.json"))
    assert kept(tmp_path / "my.json")["bookmarks"] == {"... ago, the mice had a general": 7}


def test_stopping_at_any_time_changes_nothing(seated: Start, model: str, tmp_path: Path) -> None:
    seat = seated("chat", model, "-t", "1.5", "--seed", "4", "--table", "stopped.json")
    seat.see("type a beginning")
    seat.press("the mice", "enter")
    for _ in range(3):
        seat.see("the mice", gone="telling:")
        before = seat.glass.text
        seat.press("^G")
        seat.see("telling: Esc stops", until=lambda before=before: seat.glass.lines[0] != before.splitlines()[0])
        seat.press("escape")
    seat.see(gone="telling:")
    text = seat.glass.lines[:3]
    for shown in ("1.6", "1.5") * 10:
        seat.press("f10" if shown == "1.6" else "f9")
        seat.see(f"temperature {shown}")
    assert seat.glass.lines[:3] == text  # stopped is stopped
    seat.press("^Q")
    assert seat.end() == 0
    stopped = words(tmp_path / "stopped.json")
    lines = "the mice\n" + "/word\n" * (len(stopped) + 9)
    fabula("chat", model, "-t", "1.5", "--seed", "4", "--until", "word", "--table", "b.json", stdin=lines, cwd=tmp_path)
    assert words(tmp_path / "b.json")[: len(stopped)] == stopped
    assert len(stopped) > 4


def test_help_temperature_export_and_mistakes(seated: Start, model: str, tmp_path: Path) -> None:
    seat = seated("chat", model, "--table", "my.json")
    seat.see("type a beginning", "temperature 0.8")
    seat.press("?")
    seat.see("put down what you typed", "Underlined: copied.", "^Q         leave")
    seat.press("escape")
    seat.see(gone="put down what you typed")
    seat.press("f10", "f10", "f9")
    seat.see("temperature 0.9")
    seat.press("the dragon", "enter")
    seat.see("symbols must be of the training text, got 'dragon'", "the dragon")
    for _ in range(6):
        seat.press("backspace")
    seat.see(gone="dragon")
    seat.press("cat", "enter", "^X")
    seat.see("the story as text: my.txt")
    assert (tmp_path / "my.txt").read_text() == "the cat\n"
    seat.press("^Z", "^X")
    seat.see("the story as text: my.txt", gone="the cat")
    assert (tmp_path / "my.txt").read_text() == "\n"
    seat.press("^N", "^S")
    seat.see("saved: my.json", "the cat")
    seat.press("^C")
    assert seat.end() == 130


def test_a_text_that_was_there_is_not_written_over(seated: Start, model: str, tmp_path: Path) -> None:
    (tmp_path / "my.txt").write_text("mine")
    seat = seated("chat", model, "--table", "my.json")
    seat.see("type a beginning")
    seat.press("the cat", "enter", "^X")
    seat.see("the story as text: my-2.txt")
    assert (tmp_path / "my.txt").read_text() == "mine"


def test_the_help_fits_a_small_screen() -> None:
    page = help_page()
    assert len(page) <= 22
    assert max(map(len, page)) <= 80
    assert max(map(len, (HINT, OFFER, TELLING))) <= 80


def test_only_chat_loads_what_draws_screens() -> None:
    code = "import sys, fabula.cli.write, fabula.cli.chat, fabula.cli.plain; print('prompt_toolkit' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_what_draws_screens_may_be_missing(seated: Start, model: str, tmp_path: Path) -> None:
    (tmp_path / "prompt_toolkit.py").write_text("raise ModuleNotFoundError(name='prompt_toolkit')")
    seat = seated("chat", model, columns=200, PYTHONPATH=str(tmp_path))
    assert seat.end() == 2
    assert "pip install 'fabula[chat]'" in seat.glass.text
    assert "--plain" in seat.glass.text
    assert not (tmp_path / f"{Path(model).name}-table.json").exists()


def test_shades_are_colours_and_no_color_is_none(seated: Start, model: str) -> None:
    for more, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)):
        seat = seated("chat", model, "--table", f"{len(more)}{coloured}.json", **more)
        seat.see("type a beginning")
        seat.press("the the the cat", "enter")
        seat.see('"cat" ')
        assert ("48" in seat.glass.looks("the cat").split(";")) is coloured
        looks = {look for row in seat.glass.cells for _, look in row}
        assert any("38;" in look or "48;" in look for look in looks) is coloured
        seat.press("^Q")
        assert seat.end() == 0


def test_it_follows_the_size_and_says_when_there_is_no_room(seated: Start, model: str) -> None:
    seat = seated("chat", model, "-t", "0")
    seat.see("type a beginning")
    seat.press("long ago , the mice", "enter", "enter")
    seat.see("enemy, the cat.")
    seat.resize(40, 10)
    seat.see("long ago, the mice had a general council\nto consider", "the\ncat.")
    seat.see(until=lambda: seat.glass.lines[8].startswith("copied 100%"))
    seat.resize(20, 4)
    seat.see("too small: 40x8", gone="mice")
    seat.resize(100, 30)
    seat.see(SENTENCE, gone="too small")
    seat.press("^Q")
    assert seat.end() == 0


def test_a_long_story_scrolls_with_the_cursor(seated: Start, model: str) -> None:
    seat = seated("chat", model, "-t", "0", columns=40, rows=10)
    seat.see("type a beginning")
    seat.press("long ago , the mice", "enter")
    for _ in range(4):
        seat.tell("^T")
    seat.press("home")
    seat.see("long ago, the mice", until=lambda: (seat.glass.row, seat.glass.column) == (0, 0))
    seat.press("right", "right", "right", "right")  # on "mice", in column 14
    seat.see(until=lambda: (seat.glass.row, seat.glass.column) == (0, 14))
    seat.press("down", "down")
    seat.see(until=lambda: seat.glass.row == 2 and 4 < seat.glass.column <= 14)
    seat.press("up")
    seat.see(until=lambda: seat.glass.row == 1)
    seat.press("end")
    seat.see(until=lambda: seat.glass.row > 1)


def test_the_story_goes_to_stdout_where_that_is_no_screen(seated: Start, model: str) -> None:
    seat = seated("chat", model, "-t", "0", REDIRECT="1")
    seat.see("type a beginning")
    seat.press("long ago , the mice", "enter", "enter")
    seat.see("enemy, the cat.")
    seat.press("^Q")
    assert seat.end() == 0
    assert seat.out.read_text().startswith(SENTENCE)
    assert "\x1b" not in seat.out.read_text()


@pytest.mark.parametrize("how", ["SIGTERM", "SIGHUP", "SIGINT", "closed"])
def test_nothing_is_lost_when_it_is_made_to_leave(seated: Start, model: str, tmp_path: Path, how: str) -> None:
    seat = seated("chat", model, "-t", "0", "--table", "my.json")
    seat.see("type a beginning")
    seat.press("long ago , the mice", "enter", "^W", "^W")
    seat.see("the mice had a", gone="telling:")
    if how == "closed":
        seat.hang_up()
        assert seat.process.wait(60) == 130
    else:
        os.kill(seat.process.pid, getattr(signal, how))
        assert seat.end() == 130
    assert "".join(words(tmp_path / "my.json")) == "long ago, the mice had a"


def test_kill_9_loses_the_last_words_at_most_and_another_day_goes_on(seated: Start, model: str, tmp_path: Path) -> None:
    seat = seated("chat", model, "-t", "0", "--table", "my.json")
    seat.see("type a beginning")
    seat.press("long ago , the mice", "enter", "^W", "^K")
    seat.see("bookmark: long ago, the mice had")
    path = tmp_path / "my.json"
    seat.wait(lambda: path.exists() and " had" in words(path) and bool(kept(path)["bookmarks"]))
    os.kill(seat.process.pid, signal.SIGKILL)
    assert seat.process.wait(60) == -9
    again = seated("chat", model, "-t", "0", "--table", "my.json")
    again.see("welcome back: my.json", "long ago, the mice had")
    again.press("enter")
    again.see("enemy, the cat.")
    again.press("^O")
    again.see("bookmarks: Tab chooses", "long ago, the mice had")
    again.press("enter")
    again.see("enemy, the cat.", '"a" ')  # the cursor is where the bookmark was
    again.press("^Q")
    assert again.end() == 0
    assert not list(tmp_path.glob(".*"))


def test_what_cannot_be_saved_is_said_and_shown_at_the_end(seated: Start, model: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    seat = seated("chat", model, "-t", "0", "--table", "there/my.json")
    seat.see("type a beginning")
    (tmp_path / "there").rmdir()
    seat.press("the mice", "enter")
    seat.see("cannot save 'there/my.json': No such file or directory: name another file with\n--table")
    seat.press("^Q")
    assert seat.end() == 2
    assert "the mice\nfabula: cannot save 'there/my.json'" in seat.glass.text
    assert "Traceback" not in seat.glass.text


def test_two_screens_on_one_table_keep_both_stories(seated: Start, model: str, tmp_path: Path) -> None:
    one, other = (seated("chat", model, "--table", "my.json") for _ in range(2))
    for seat in (one, other):  # both have looked for the file before either writes it
        seat.see("type a beginning")
    for seat, word in ((one, "the"), (other, "cat")):
        seat.press(word, "enter", "^S")
        seat.see("saved: my" if seat is one else "my-2.json")
        seat.press("^Q")
        assert seat.end() == 0
    assert [words(tmp_path / name) for name in ("my.json", "my-2.json")] == [["the"], ["cat"]]


def test_no_byte_of_a_model_reaches_the_terminal_raw(seated: Start, models: dict[str, Path], tmp_path: Path) -> None:
    seat = seated("chat", str(models["bytes"]), "-t", "1.5", "--table", "my.json")
    seat.see("type a beginning")
    seat.press("老鼠说：cafe\u0301 ", "enter")
    seat.see("老鼠说：cafe\u0301")
    seat.press("^P")
    path = tmp_path / "my.json"
    seat.wait(lambda: path.exists() and any(ord(c) < 32 for word in words(path) for c in word))
    seat.press("escape", "tab")
    seat.see("the next word:", gone="telling:")
    seat.press("^Q")
    assert seat.end() == 0
    assert seat.glass.raw == []


def test_what_is_pasted_is_text_and_no_keys(seated: Start, models: dict[str, Path]) -> None:
    seat = seated("chat", str(models["bytes"]))
    seat.see("type a beginning")
    seat.press("\x1b[200~one\x11 two\r\nthree\x1b[201~")
    seat.see("one two\nthree")
    seat.press("left", "left", "!", "enter")
    seat.see("one two\nthr!ee", '"ee" ')
    seat.press("four", "enter")
    seat.see("thr!ee four")
