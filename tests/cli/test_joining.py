"""`fabula write --end` and `fabula train --both-ways` as a user meets them: real processes."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROMPT, END = "long ago , the mice", "the mice looked at one another and nobody spoke ."


def fabula(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fabula", *map(str, arguments)],
        input=stdin, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, fable: Path) -> Path:
    out = tmp_path_factory.mktemp("models") / "m"
    done = fabula("train", fable, "-o", out, "--both-ways", "--set", "training.threads=1", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["train_accuracy"] == answer["backward"]["train_accuracy"] == 1.0
    assert answer["backward"]["folder"] == f"{out}/backward"
    assert "forward, learned: " in done.stderr
    assert "backward, learned: " in done.stderr
    assert f'next: fabula write {out} -p "long ago ," --end "impossible remedies ."' in done.stderr
    return out


def test_a_story_ends_with_the_line_that_was_given(model: Path) -> None:
    done = fabula("write", model, "-p", PROMPT, "--end", END, "-w", "30")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(PROMPT + " ")
    assert done.stdout.endswith(f" {END}\n")
    said = done.stderr.splitlines()
    assert said[0].startswith("met at: ...")
    assert said[1].startswith("copied: 100% of the words")
    again = fabula("write", model, "-p", PROMPT, "--end", END, "-w", "30", "-q")
    assert (again.stdout, again.stderr) == (done.stdout, "")
    other = fabula("write", model, "-p", PROMPT, "--end", END, "-w", "30", "-q", "--seed", "2", "-t", "2")
    assert other.stdout != done.stdout


def test_json_says_where_the_two_met(model: Path) -> None:
    asked = ("write", model, "--end", "-", "-w", "12", "-p", PROMPT, "--json")
    one = json.loads(fabula(*asked, stdin=END).stdout)
    assert set(one) == {
        "text", "prompt", "end", "seam", "tokens", "seconds", "copied_4", "copied_8", "longest_copy", "nats_per_token",
        "backward_nats_per_token",
    }  # fmt: skip
    assert (one["prompt"], one["end"]) == (PROMPT, END)
    assert 0 < one["seam"] <= len(one["text"])
    two = json.loads(fabula(*asked, "-n", "2", "-t", "1.5", stdin=END).stdout)["stories"]
    assert len(two) == 2
    assert two[0]["text"] != two[1]["text"]
    plain = fabula("write", model, "--end", END, "-w", "12", "-p", PROMPT, "-n", "2", "-t", "1.5", "-q").stdout
    assert plain == "\n".join(f"{PROMPT}{one['text']}{END}\n" for one in two)


def test_a_label_holds_the_end_and_is_verified(model: Path, tmp_path: Path) -> None:
    done = fabula(
        "write", model, "-p", PROMPT, "--end", END, "-w", "15", "--label", "-q", "--max-copy", "30", "-t", "1.2"
    )
    (tmp_path / "story.md").write_text(done.stdout, encoding="utf-8")
    assert json.loads(done.stdout.split("<!-- fabula ")[1].split(" -->")[0])["end"] == END
    assert fabula("verify", tmp_path / "story.md").stdout.startswith("true: ")
    changed = fabula("verify", "-", stdin=done.stdout.replace("nobody spoke", "somebody spoke", 1))
    assert (changed.returncode, "changed after it was written" in changed.stdout) == (1, True)
    shutil.copytree(model, tmp_path / "other")
    config = tmp_path / "other" / "backward" / "manifest.json"
    listed = json.loads(config.read_text(encoding="utf-8"))
    listed["files"]["config.json"]["sha256"] = "0" * 64
    config.write_text(json.dumps(listed), encoding="utf-8")
    damaged = fabula("verify", tmp_path / "story.md", "--model", tmp_path / "other")
    assert (damaged.returncode, damaged.stderr.count("\n")) == (2, 1)


def test_writing_needs_no_torch(model: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from fabula.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "write", model, "-p", PROMPT, "--end", END, "-w", "5"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0


BAD = {
    "one way": (["write", "ONE", "--end", END], "train it with --both-ways"),
    "no model": (["write", "nowhere", "--end", END], "expected a model folder"),
    "no folder": (["write", "--end", END], "--end needs one model folder, got 0"),
    "two models": (["write", "MODEL", "MODEL", "--end", END], "--end needs one model folder, got 2"),
    "empty end": (["write", "MODEL", "--end", ""], "an end must be a text"),
    "white end": (["write", "MODEL", "--end", " \t\n"], "an end must be a text"),
    "unknown symbol": (["write", "MODEL", "--end", "the cat flew"], "flew"),
    "control characters": (["write", "MODEL", "--end", "the\x1b[31m cat"], "U+001B"),
    "enormous end": (["write", "MODEL", "--end", "-"], "65,536 characters, got 1,048,576"),
    "both from stdin": (["write", "MODEL", "-p", "-", "--end", "-"], "cannot both be read from stdin"),
    "damaged": (["write", "DAMAGED", "--end", END], "is damaged"),
    "unfinished": (["write", "UNFINISHED", "--end", END], "--resume"),
    "too many words": (["write", "MODEL", "--end", END, "-w", "2000"], "between 1 and 1,000"),
    "stop": (["write", "MODEL", "--end", END, "--stop", "cat"], "--end and --stop"),
    "until": (["write", "MODEL", "--end", END, "--until", "sentence"], "--end and --until"),
    "mixture": (["write", "MODEL", "--end", END, "--mixture"], "--end and --mixture"),
    "best of": (["write", "MODEL", "--end", END, "--best-of", "5"], "--end and --best-of"),
    "book": (["write", "MODEL", "--end", END, "--book", "500"], "--end and --book"),
    "dry": (["write", "MODEL", "--end", END, "--dry", "0.8"], "dry looks back"),
    "the half alone": (["write", "MODEL/backward", "-p", "the"], "name the folder it lies in"),
    "from one way": (["train", "FABLE", "--from", "ONE", "--both-ways", "-o", "new"], "train it with --both-ways"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_input_is_one_line(case: str, model: Path, fable: Path, tmp_path: Path) -> None:
    for name in ("ONE", "DAMAGED", "UNFINISHED"):
        if name in BAD[case][0]:
            shutil.copytree(model, tmp_path / name)
    if (tmp_path / "ONE").exists():
        shutil.rmtree(tmp_path / "ONE" / "backward")
    if (tmp_path / "DAMAGED").exists():
        weights = tmp_path / "DAMAGED" / "backward" / "model.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
    if (tmp_path / "UNFINISHED").exists():
        (tmp_path / "UNFINISHED" / "backward" / "manifest.json").unlink()
    places = {name: str(tmp_path / name) for name in ("ONE", "DAMAGED", "UNFINISHED", "new")}
    places |= {"MODEL": str(model), "MODEL/backward": f"{model}/backward", "FABLE": str(fable)}
    arguments, says = BAD[case]
    done = fabula(*[places.get(word, word) for word in arguments], stdin="x" * (1 << 20))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith("fabula: ")
    assert says in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_terminal_sees_which_one_learns(tmp_path: Path, fable: Path) -> None:
    parent, child = pty.openpty()
    small = ["--set", "training.threads=1", "--set", "model.hidden=16", "--set", "model.embedding=8", "--steps", "60"]
    command = [sys.executable, "-m", "fabula", "train", str(fable), "-o", str(tmp_path / "m"), "--both-ways", *small]
    with subprocess.Popen(command, stderr=child, stdout=child, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(child)
        seen = b""
        while True:
            try:
                part = os.read(parent, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
        assert process.wait() == 0
    os.close(parent)
    assert b"learning forward" in seen
    assert b"learning backward" in seen
