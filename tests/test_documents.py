"""What the public documents tell people to type is typed here."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "README.zh.md", "docs/python.md", "docs/store.md")
QUICK = {
    "FABULA_TRAINING_STEPS": "3",
    "FABULA_TRAINING_THREADS": "1",
    "FABULA_MODEL_HIDDEN": "16",
    "FABULA_MODEL_EMBEDDING": "8",
}


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def place(tmp_path: Path, fable: Path) -> Path:
    """A folder as the documents suppose it."""
    story = fable.read_text(encoding="utf-8")
    for name in ("my-stories", "library"):
        (tmp_path / name).mkdir()
        for number in range(12):
            (tmp_path / name / f"{number}.txt").write_text(f"{story} The end of story {number}.\n" * 3)
    for name in ("kept-aside.txt", "story.txt"):
        (tmp_path / name).write_text(story, encoding="utf-8")
    (tmp_path / "belling_the_cat.txt").write_text(story, encoding="utf-8")
    return tmp_path


def commands(document: str) -> list[list[str]]:
    lines = [line.split("  #")[0].strip() for block in blocks(document, "sh") for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("fabula ")]


def test_commands(place: Path) -> None:
    english, chinese = commands("README.md"), commands("README.zh.md")
    assert min(len(english), len(chinese)) >= 8
    for command in english + [command for command in chinese if command not in english]:
        if command[0] == "lesson":
            command += ["--iterations", "120"]
        given, target = (command[:-2], command[-1]) if ">" in command else (command, None)
        done = subprocess.run(
            [sys.executable, "-m", "fabula", *given], cwd=place, env={**os.environ, **QUICK}, capture_output=True,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (command, done.stderr.decode())
        if target:
            (place / target).write_bytes(done.stdout)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python(document: str, place: Path) -> None:
    code = "\n".join(blocks(document, "python"))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env={**os.environ, **QUICK},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "document", ["README.md", "README.zh.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("http"):
            assert ((ROOT / document).parent / target).exists(), target


def test_generated_pages_are_fresh() -> None:
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], cwd=ROOT, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
