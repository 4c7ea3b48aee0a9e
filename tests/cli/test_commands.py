"""The command as a user meets it: real processes, their output, their exit codes."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SMALL = ["--set", "training.threads=1", "--set", "model.hidden=16", "--set", "model.embedding=8"]


def fabula(*arguments: str, stdin: str | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fabula", *arguments], input=stdin, capture_output=True, text=True, cwd=cwd, check=False
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, fable: Path) -> Path:
    out = tmp_path_factory.mktemp("models") / "fable-model"
    done = fabula("train", str(fable), "-o", str(out), "--set", "training.threads=1", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert set(answer) == {
        "folder",
        "seconds",
        "steps",
        "train_accuracy",
        "held_out_bits_per_byte",
        "baseline_bits_per_byte",
        "forecast_bits_per_byte",
        "epochs",
        "mixture_bits_per_byte",
        "mixture_weight",
        "old_held_out_bits_per_byte",
        "old_held_out_bits_per_byte_before",
        "int8_cost",
        "stopped",
        "processes",
    }
    assert answer["train_accuracy"] == 1.0
    assert answer["held_out_bits_per_byte"] is None
    assert "known by heart" in done.stderr
    assert "no held-out" in done.stderr or "nothing was held out" in done.stderr
    return out


def test_the_folder_is_the_one_of_the_design(model: Path) -> None:
    assert {path.name for path in model.iterdir()} == {
        "config.json", "tokenizer.json", "model.safetensors", "training.toml", "metrics.jsonl", "samples.jsonl",
        "novelty.index", "README.md", "report.html", "manifest.json",
    }  # fmt: skip
    for name in ("metrics.jsonl", "samples.jsonl"):
        assert all(json.loads(line) for line in (model / name).read_text(encoding="utf-8").splitlines())


def test_write_streams_a_story_as_people_write_it(model: Path) -> None:
    done = fabula("write", str(model), "-p", "had a general", "--words", "32", "-t", "0")
    assert done.returncode == 0
    assert done.stderr.startswith(
        "copied: 100% of the words in runs of 4 or more, 100% in runs of 8 or more; the longest "
    )
    assert done.stdout.startswith("had a general council to consider what measures they could take to outwit")
    assert "enemy, the cat. some" in done.stdout


def test_write_json_repeats_with_a_seed(model: Path) -> None:
    runs = [
        fabula("write", str(model), "-p", "mouse mouse mouse", "-w", "30", "-t", "2", "--seed", s, "--json")
        for s in "113"
    ]
    answers = [json.loads(run.stdout) for run in runs]
    assert set(answers[0]) == {
        "text",
        "prompt",
        "tokens",
        "seconds",
        "copied_4",
        "copied_8",
        "longest_copy",
        "nats_per_token",
    }
    assert answers[0]["text"] == answers[1]["text"]
    assert answers[0]["text"] != answers[2]["text"]
    assert 0 <= answers[0]["copied_8"] <= answers[0]["copied_4"] <= 1


def test_write_many_and_from_stdin(model: Path) -> None:
    done = fabula("write", str(model), "-n", "3", "-w", "5", "--json", "-p", "-", stdin="the mice")
    stories = json.loads(done.stdout)["stories"]
    assert len(stories) == 3
    assert all(story["prompt"] == "the mice" for story in stories)


def test_evaluate(model: Path, fable: Path) -> None:
    answer = json.loads(fabula("evaluate", str(model), str(fable), "--json").stdout)
    assert set(answer) == {
        "bits_per_byte", "nats_per_char", "perplexity", "perplexity_per_word", "accuracy", "tokens", "bytes",
    }  # fmt: skip
    assert answer["accuracy"] == 1.0
    assert answer["tokens"] == 205
    assert "bits per byte" in fabula("evaluate", str(model), str(fable)).stdout


def test_inspect_and_doctor(fable: Path) -> None:
    assert "symbols" in fabula("inspect", str(fable)).stdout
    assert json.loads(fabula("inspect", str(fable), "--json").stdout)
    found = json.loads(fabula("doctor", "--json").stdout)
    assert {"fabula", "machine", "core", "extras"} == set(found)
    assert found["machine"]["training precision"] in {"fp32", "bf16"}


def test_standard_input_is_a_text(fable: Path, tmp_path: Path) -> None:
    text = fable.read_text(encoding="utf-8")
    assert "symbols" in fabula("inspect", "-", stdin=text).stdout
    done = fabula("train", "-", "-o", "m", *SMALL, "--steps", "2", "-q", stdin=text, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tokens" in fabula("evaluate", "m", "-", "--json", stdin=text, cwd=tmp_path).stdout


def test_writing_evaluating_and_inspecting_never_load_torch(model: Path, fable: Path) -> None:
    for arguments in (["write", str(model), "-w", "3"], ["evaluate", str(model), str(fable)], ["inspect", str(fable)]):
        code = (
            "import sys; from fabula.cli import main; assert main(sys.argv[1:]) == 0;"
            "assert not any(name.split('.')[0] == 'torch' for name in sys.modules), 'torch was loaded'"
        )
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def test_writing_works_where_torch_cannot_be_imported(model: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from fabula.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "write", str(model), "-w", "3"], capture_output=True, check=False
    )
    assert done.returncode == 0
    done = subprocess.run(
        [sys.executable, "-c", code, "train", str(model / "README.md"), "-o", str(model.parent / "never")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install 'fabula[train]'" in done.stderr


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with stories kept aside, and the text it learned from beside it."""
    place = tmp_path_factory.mktemp("mixed")
    beasts, places = ("fox", "hen", "mouse", "bear", "owl"), ("the mill", "the well", "a barn", "the hill")
    told = [
        f"# Story {n}\n\nA {beasts[n % 5]} went to {places[n % 4]}. There it met a {beasts[(n * 3 + 1) % 5]} who said: "
        f"friend, what do you seek? Bread, said the {beasts[n % 5]}, and a warm place to sleep.\n"
        for n in range(90)
    ]
    (place / "tales.txt").write_text("\n\n".join(told[:80]), encoding="utf-8")
    (place / "kept.txt").write_text("\n\n".join(told[80:]), encoding="utf-8")
    done = fabula("train", "tales.txt", "-o", "m", *SMALL, "--steps", "20", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    answer, about = json.loads(done.stdout), json.loads((place / "m" / "config.json").read_text("utf-8"))["about"]
    assert "both mixed" in done.stderr
    assert "both mixed" in (place / "m" / "README.md").read_text(encoding="utf-8")
    for name in ("baseline_bits_per_byte", "mixture_bits_per_byte", "mixture_weight"):
        assert answer[name] == pytest.approx(about[name], abs=1e-5)
    assert 0 < about["mixture_weight"] < 1
    assert answer["mixture_bits_per_byte"] < answer["held_out_bits_per_byte"]
    return place


def test_help_is_measured_apart_from_the_static_figures(mixed: Path) -> None:
    before = {path: path.read_bytes() for path in (mixed / "m").iterdir() if path.is_file()}
    plain = json.loads(fabula("evaluate", "m", "kept.txt", "--json", cwd=mixed).stdout)
    asked = ("--mixture", "--cache-size", "50", "--dynamic", "-q")
    done = fabula("evaluate", "m", "kept.txt", "--json", *asked, cwd=mixed)
    answer = json.loads(done.stdout)
    assert done.stderr == ""
    assert {name: answer[name] for name in plain} == plain
    assert set(answer) - set(plain) == {"mixture", "cache", "dynamic"}
    figures = {"bits_per_byte", "perplexity", "perplexity_per_word"}
    assert set(answer["mixture"]) == figures | {"weight"}
    assert set(answer["cache"]) == figures | {"size", "theta", "share"}
    assert set(answer["dynamic"]) == figures | {"rate", "decay", "length"}
    assert answer["cache"]["size"] == 50
    assert all(answer[name]["bits_per_byte"] < plain["bits_per_byte"] for name in ("mixture", "cache", "dynamic"))
    shown = fabula("evaluate", "m", "kept.txt", "--cache", "--mixture", cwd=mixed).stdout
    assert "bits per byte, with cache" in shown
    assert "bits per byte, with mixture" in shown
    assert "dynamic" not in shown
    assert {path: path.read_bytes() for path in before} == before


def test_a_mixture_writes_without_torch_and_only_dynamic_wants_it(mixed: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from fabula.cli import main; sys.exit(main(sys.argv[1:]))"

    def torchless(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=mixed)

    wrote = [torchless("write", "m", "-w", "12", "-t", "0", *flag) for flag in ((), ("--mixture",))]
    assert [done.returncode for done in wrote] == [0, 0]
    assert wrote[0].stdout != wrote[1].stdout
    assert torchless("evaluate", "m", "kept.txt", "--mixture", "--cache").returncode == 0
    refused = torchless("evaluate", "m", "kept.txt", "--dynamic", "-q")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "dynamic evaluation" in refused.stderr
    assert "pip install 'fabula[train]'" in refused.stderr


def test_a_mixture_needs_the_text_that_was_learned(mixed: Path, model: Path) -> None:
    tales, text = mixed / "tales.txt", (mixed / "tales.txt").read_text(encoding="utf-8")
    said = [fabula("write", str(model), "--mixture", "-q")]
    try:
        tales.write_text(text.replace("fox", "wolf"), encoding="utf-8")
        said.append(fabula("evaluate", "m", "kept.txt", "--mixture", "-q", cwd=mixed))
        tales.unlink()
        said.append(fabula("write", "m", "--mixture", "-q", cwd=mixed))
    finally:
        tales.write_text(text, encoding="utf-8")
    for done, words in zip(said, ("has no mixture", "has changed", "cannot read again"), strict=True):
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert words in done.stderr


BAD = {
    "missing file": (["train", "nowhere.txt"], "nowhere.txt"),
    "folder without text": (["train", "empty-folder"], "empty-folder"),
    "empty text": (["train", "empty.txt"], "empty.txt"),
    "one word": (["train", "one.txt"], "one.txt"),
    "binary": (["train", "binary.bin"], "binary.bin"),
    "unknown unit": (["train", "good.txt", "--unit", "syllables"], "symbols, words, subwords, chars, bytes"),
    "unknown size": (["train", "good.txt", "--size", "giant"], "tiny, small, medium, large"),
    "time too short": (["train", "good.txt", "--time", "soon"], "60s, 3m or 1h"),
    "unknown setting": (["train", "good.txt", "--set", "training.speed=9"], "unknown setting training.speed"),
    "nothing to learn from": (["train"], "expected a text"),
    "folder in the way": (["train", "good.txt", "-o", "taken"], "holds other files"),
    "nothing to resume": (["train", "--resume", "nowhere"], "no checkpoint"),
    "unknown option": (["train", "good.txt", "--fast"], "--fast"),
    "unknown command": (["trian"], "trian"),
    "bad number": (["write", "x", "-w", "many"], "many"),
    "no model": (["write", "empty-folder"], "expected a model folder"),
    "no folder": (["write", "nowhere"], "expected a model folder"),
    "a file as model": (["write", "good.txt"], "expected a model folder"),
    "no text to measure": (["evaluate", "MODEL"], "expected a text"),
    "bad share of a cache": (["evaluate", "MODEL", "good.txt", "--cache-share", "2"], "cache.share must be between"),
    "bad dynamic rate": (["evaluate", "MODEL", "good.txt", "--dynamic-rate", "-1"], "dynamic.rate must be between"),
    "unknown symbol": (["write", "MODEL", "-p", "had a generale"], "general"),
    "bad temperature": (["write", "MODEL", "-t", "-1"], "temperature"),
    "unknown until": (["write", "MODEL", "--until", "midnight"], "sentence"),
    "unknown report": (["train", "good.txt", "--report-to", "paper"], "tensorboard"),
    "start from nowhere": (["train", "good.txt", "--from", "nowhere"], "expected a model folder"),
    "start from and into one": (["train", "good.txt", "--from", "MODEL", "-o", "MODEL"], "--from and -o are both"),
    "start in another unit": (["train", "good.txt", "--from", "MODEL", "--unit", "chars"], "reads symbols"),
    "start in another size": (["train", "good.txt", "--from", "MODEL", "--size", "tiny"], "--size tiny means 128"),
    "freeze what is not there": (["train", "good.txt", "--set", "training.freeze=feet"], "embedding, cells.0, head"),
    "vectors for chars": (["train", "good.txt", "--unit", "chars", "--vectors", "v.txt"], "--unit words"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_bad_input_is_one_line_and_nothing_is_written(case: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty-folder").mkdir()
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "one.txt").write_text("mouse")
    (tmp_path / "binary.bin").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "good.txt").write_text("the mouse and the cat and the bell and the mouse")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("years")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    arguments, says = BAD[case]
    done = fabula(*[str(model) if word == "MODEL" else word for word in arguments], cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("fabula: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_an_existing_model_needs_force_or_resume(model: Path, fable: Path) -> None:
    before = (model / "model.safetensors").read_bytes()
    done = fabula("train", str(fable), "-o", str(model))
    assert done.returncode == 2
    assert "--force" in done.stderr
    assert "--resume" in done.stderr
    assert (model / "model.safetensors").read_bytes() == before


def test_errors_with_json_are_one_object(tmp_path: Path) -> None:
    done = fabula("train", str(tmp_path / "nowhere.txt"), "--json")
    assert json.loads(done.stdout) == {"error": done.stderr.strip().removeprefix("fabula: "), "exit_code": 2}


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path, fable: Path) -> None:
    """A real process, a real SIGINT: exit code 130, a model that writes, and a training that goes on."""
    text = tmp_path / "long.txt"
    text.write_text(fable.read_text(encoding="utf-8") * 200, encoding="utf-8")
    out = tmp_path / "model"
    command = [sys.executable, "-m", "fabula", "train", str(text), "-o", str(out), "--steps", "100000", *SMALL]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = []
        for line in process.stderr:
            said.append(line)
            if "parameters" in line:
                time.sleep(1.5)
                process.send_signal(signal.SIGINT)
                break
        said.extend(process.stderr)
        assert process.wait() == 130, said
    assert f"fabula train --resume {out}" in "".join(said)
    assert fabula("write", str(out), "-w", "3").returncode == 0
    steps = json.loads((out / "config.json").read_text(encoding="utf-8"))["about"]["steps"]
    done = fabula("train", "--resume", str(out), "--steps", str(steps + 3), "--json", "-q")
    assert json.loads(done.stdout)["steps"] == steps + 3


def test_a_broken_pipe_is_silent(model: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-m", "fabula", "write", str(model), "-w", "5000"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert writer.stdout
    assert writer.stderr
    writer.stdout.read(20)
    writer.stdout.close()
    assert writer.stderr.read() == b""
    assert writer.wait() == 0
    writer.stderr.close()


def test_a_terminal_sees_a_bar_and_a_pipe_does_not(tmp_path: Path, fable: Path) -> None:
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "fabula", "train", str(fable), "-o", str(tmp_path / "m"), *SMALL, "--steps", "60"]
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
    assert b"learning" in seen
    assert b"left" in seen
    piped = fabula("train", str(fable), "-o", str(tmp_path / "n"), *SMALL, "--steps", "20")
    assert "left" not in piped.stderr


def test_no_color_is_respected(tmp_path: Path, fable: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fabula", "train", str(fable), "-o", str(tmp_path / "m"), *SMALL, "--steps", "5"],
        capture_output=True, env={**os.environ, "NO_COLOR": "1", "FORCE_COLOR": ""}, check=True,
    )  # fmt: skip
    assert b"\x1b[3" not in done.stderr


def test_a_model_to_start_from(model: Path, fable: Path, tmp_path: Path) -> None:
    text = tmp_path / "dog.txt"
    text.write_text(fable.read_text(encoding="utf-8").replace("cat", "dog"), encoding="utf-8")
    done = fabula(
        "train", str(text), "--from", str(model), "-o", str(tmp_path / "m"), "--json", "--set", "training.threads=1"
    )
    assert done.returncode == 0, done.stderr
    assert f"inherited 113 of 114 units from {model}" in done.stderr
    assert "cannot be measured: it kept no stories aside" in done.stderr
    answer = json.loads(done.stdout)
    assert answer["stopped"] == "learned"
    assert answer["old_held_out_bits_per_byte"] is None
    told = fabula("write", str(tmp_path / "m"), "-p", "some said this , and some", "-w", "5", "-t", "0")
    assert told.returncode == 0, told.stderr


def test_settings_by_precedence(tmp_path: Path, fable: Path) -> None:
    """Flag over --set over environment over file."""
    (tmp_path / "x.toml").write_text("[training]\nseed = 2\nlr = 0.002\nclip = 0.5\nbatch = 4\n")
    done = subprocess.run(
        [sys.executable, "-m", "fabula", "train", str(fable), "-o", str(tmp_path / "m"), *SMALL, "--steps", "2", "-q",
         "--config", str(tmp_path / "x.toml"), "--set", "training.lr=0.003", "--set", "training.seed=8", "--seed", "9"],
        env={**os.environ, "FABULA_TRAINING_CLIP": "0.25", "FABULA_TRAINING_LR": "0.9"}, check=True,
    )  # fmt: skip
    assert done.returncode == 0
    text = (tmp_path / "m" / "training.toml").read_text(encoding="utf-8")
    for line in ("seed = 9 ", "lr = 0.003 ", "clip = 0.25 ", "batch = 4 "):
        assert line in text


def test_version_and_help() -> None:
    assert fabula("-V").stdout.strip() == "0.1.0"
    for arguments in ([], ["-h"], ["train", "-h"], ["write", "--help"]):
        done = fabula(*arguments)
        assert done.returncode == 0
        assert "fabula train" in done.stdout or "fabula write" in done.stdout


@pytest.mark.parametrize("name", [b"bad\xff.txt", b"red\x1b[31m\x07.txt", b"\xc2\x9b6n.txt"])
def test_a_file_may_be_called_anything(name: bytes, tmp_path: Path, fable: Path) -> None:
    """A name that is no UTF-8 lost the model at the very end; control characters in one went to the terminal."""
    (tmp_path / os.fsdecode(name)).write_bytes(fable.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "fabula", "train", name, "--steps", "2", *SMALL],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not any(evil in done.stderr for evil in (b"\x1b", b"\x07", "\x9b".encode()))
    folder = tmp_path / os.fsdecode(name.removesuffix(b".txt") + b"-model")
    assert fabula("write", str(folder), "--words", "3").returncode == 0
    assert (folder / "report.html").exists()


def test_a_prompt_from_stdin_that_is_no_text_is_one_line(model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-m", "fabula", "write", str(model), "-p", "-"],
        input=b"the \xff\xfe mouse", capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == b"fabula: a prompt on standard input must be UTF-8, got other bytes\n"


@pytest.mark.parametrize("path", ["/dev/zero", "fifo"])
def test_a_story_to_verify_is_a_file(path: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = fabula("verify", path, cwd=tmp_path)
    assert done.returncode == 2
    assert "not a file" in done.stderr
