"""`fabula serve` as a user meets it: one address, one line for every mistake, an end that is no fault."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from fabula import folder
from fabula.config import resolve
from fabula.engine import expected_shapes
from fabula.tokens import build


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, tokenizer, rng = tmp_path_factory.mktemp("models") / "tales", build("bytes", []), np.random.default_rng(1)
    settings = resolve({"model": {"layers": 1, "hidden": 8, "embedding": 4, "head": "full", "dropout": 0.0}})
    shapes = expected_shapes(settings.model, tokenizer.size)
    weights = {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}
    path.mkdir()
    folder.write_model(path, settings=settings, tokenizer=tokenizer, weights=weights, about={}, card="")
    return path


def start(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "fabula", "serve", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
    )  # fmt: skip


def test_stdout_gets_the_address_alone(model: Path) -> None:
    for arguments, number in ((["--quiet"], signal.SIGTERM), ([], signal.SIGINT), (["--json", "-q"], signal.SIGTERM)):
        with start(str(model), "--port", "0", *arguments) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            url = json.loads(line)["url"] if "--json" in arguments else line.strip()
            with urllib.request.urlopen(f"{url}/v1/models") as answer:
                assert json.load(answer)["data"][0]["id"] == "tales"
            process.send_signal(number)
            out, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert out == ""
        assert url.startswith("http://127.0.0.1:")
        assert (errors == "") == bool(arguments)
        assert len(errors.splitlines()) <= 1


def test_it_needs_neither_torch_nor_time_to_say_what_it_cannot_do(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "tales"
    shutil.copytree(model, other)
    (other / "empty").mkdir()
    short = tmp_path / "short"
    short.write_bytes(b"too short\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        rows = [
            ([str(model), "--host", "0.0.0.0"], "can be reached by others: give an --api-key"),
            ([str(model), "--host", "example.org", "--api-key", ""], "printable ASCII"),
            ([str(model), "--api-key", "a b"], "printable ASCII"),
            ([str(model), "--port", "70000"], "--port must be between 0 and 65535"),
            ([str(model), "--port", port], f"cannot listen on 127.0.0.1, port {port}"),
            ([str(model), "--port", port, "--workers", "2"], f"cannot listen on 127.0.0.1, port {port}"),
            ([str(model), "--workers", "0"], "--workers must be between 1 and 256, got 0"),
            ([str(model), "--key-file", str(tmp_path / "no-key")], "--key-file cannot be read: No such file"),
            ([str(model), "--key-file", str(short)], "--key-file must hold 16 to 4,096 bytes"),
            ([str(model), str(other)], "two models are called 'tales'"),
            ([str(other / "empty")], "holds neither a model nor folders of models"),
            ([str(other / "none")], "none"),
        ]
        for arguments, why in rows:
            with start(*arguments) as process:
                out, errors = process.communicate(timeout=60)
            assert process.returncode == 2, errors
            assert why in errors
            assert len(errors.splitlines()) == 1
            assert out == ""


def test_a_missing_part_is_named(model: Path) -> None:
    code = (
        "import sys; sys.modules['fastapi'] = None; from fabula.cli import main; sys.exit(main(['serve', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert (
        done.stderr
        == "fabula: fabula serve needs an optional part that is not installed: pip install 'fabula[serve]'\n"
    )


def test_serving_loads_no_torch() -> None:
    code = "import sys, fabula.serve.app, fabula.serve.transport; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
