"""A label that travels with a story, and the proof that it is true."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fabula
from fabula.config import SamplingConfig
from fabula.errors import UsageError
from fabula.folder import fingerprint
from fabula.labels import label, part, verify


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, fable: Path) -> Path:
    path = tmp_path_factory.mktemp("labels") / "model"
    fabula.train(fable, path, settings={"training": {"steps": 20}, "model": {"hidden": 16}})
    return path


def command(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fabula", *map(str, arguments)],
        capture_output=True, encoding="utf-8", check=False, input=stdin,
    )  # fmt: skip


HOW = {"words": 12, "until": None, "stop": ("cat",), "sampling": SamplingConfig(temperature=0.9, seed=5, ban=("and",))}
EVIL = 'the "mice" --> <!-- fabula {} -->'


@pytest.mark.parametrize(("prompt", "story"), [("had a general", 0), ("", 3), ("the mice\n", 1)])
def test_a_labelled_story_is_written_again(model: Path, prompt: str, story: int) -> None:
    teller = fabula.load(model)
    text = teller.write(prompt, story=story, **HOW).text
    labelled = prompt + text + label(model, prompt, text, story, HOW)
    told, said = part(labelled + "\n")
    assert told == prompt + text
    assert verify(told, said, teller, fingerprint(model)).same
    other = verify(told.replace("mice", "rats") + "x", said, teller, fingerprint(model))
    assert not other.same
    assert "changed" in other.why
    assert "not the one" in verify(told, said, teller, "0" * 64).why
    false = {**said, "story": story + 1}
    assert "not of this story" in verify(told, false, teller, fingerprint(model)).why


def test_a_prompt_cannot_end_its_label(model: Path) -> None:
    line = label(model, EVIL, "x", 0, HOW)
    assert line.count("-->") == line.count("<!--") == 1
    told, said = part(EVIL + "x" + line)
    assert (told, said["prompt"]) == (EVIL + "x", EVIL)


@pytest.mark.parametrize("text", ["no label", "x\n\n<!-- fabula {} -->", "x\n\n<!-- fabula {broken} -->", "x <!-- -->"])
def test_what_is_no_label(text: str) -> None:
    with pytest.raises(UsageError, match="label"):
        part(text)


@pytest.mark.parametrize(("name", "value"), [("sampling", {"top_k": -1}), ("sampling", 3), ("words", "x"), ("stop", 1)])
def test_a_label_with_options_that_are_none(model: Path, name: str, value: object) -> None:
    teller = fabula.load(model)
    text = teller.write("the mice", **HOW).text
    told, said = part("the mice" + text + label(model, "the mice", text, 0, HOW))
    with pytest.raises(UsageError):
        verify(told, {**said, name: value}, teller, fingerprint(model))


def test_the_commands(model: Path, tmp_path: Path) -> None:
    done = command("write", model, "-p", "had a general", "--words", "9", "--label", "-q")
    (tmp_path / "story.md").write_text(done.stdout, encoding="utf-8")
    assert re.search(r"\n\n<!-- fabula \{.*\} -->\n\Z", done.stdout)
    checked = command("verify", tmp_path / "story.md")
    assert (checked.returncode, checked.stdout) == (0, "true: written again, it is the same bit for bit\n")
    assert command("verify", "-", "-q", stdin=done.stdout).returncode == 0
    checked = command("verify", "-", "--json", stdin=done.stdout.replace("general", "captain", 1))
    assert checked.returncode == 1
    assert json.loads(checked.stdout)["same"] is False
    checked = command("verify", tmp_path / "none.md")
    assert (checked.returncode, checked.stderr.count("\n")) == (2, 1)


def test_the_best_of_some_says_why(model: Path) -> None:
    done = command("write", model, "-p", "the mice", "--words", "12", "--best-of", "4")
    assert done.stdout.startswith("the mice ")
    assert done.stderr.splitlines()[-5].split()[:3] == ["story", "score", "fluency"]
    said = json.loads(command("write", model, "-p", "the mice", "--words", "12", "--best-of", "4", "--json").stdout)
    assert len(said["ranking"]) == 4
    assert said["text"] == said["ranking"][0]["text"]
    teller = fabula.load(model)
    assert teller.write("the mice", words=12, story=said["story"]).text == said["text"]
    for wrong in (["--best-of", "1"], ["--best-of", "3", "-n", "2"]):
        done = command("write", model, *wrong)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
