"""What is kept for the processes to come: made once, never trusted when it is damaged, never in anybody's way."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from fabula import keeping
from fabula.config import resolve
from fabula.engine import Engine, described, expected_shapes


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(keeping, "folder", lambda: tmp_path / "user" / "fabula")
    return tmp_path / "user" / "fabula"


def made(name: str, made: list[str], what: bytes = b"bytes") -> bytes:
    def make() -> bytes:
        made.append(name)
        return what

    return keeping.kept(name, make)


def test_what_is_kept_is_made_once(place: Path) -> None:
    seen: list[str] = []
    assert made("a", seen) == made("a", seen) == made("b", seen) == b"bytes"
    assert seen == ["a", "b"]
    assert sorted(path.name for path in place.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("damage", [b"", b"bytes", b"x" * 40])
def test_what_was_damaged_is_made_anew(place: Path, damage: bytes) -> None:
    seen: list[str] = []
    made("a", seen)
    (place / "a").write_bytes(damage)
    assert made("a", seen) == made("a", seen) == b"bytes"
    assert seen == ["a", "a"]


def test_a_link_is_not_followed(place: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    made("a", seen)
    (place / "a").rename(tmp_path / "elsewhere")
    (place / "a").symlink_to(tmp_path / "elsewhere")
    assert made("a", seen) == b"bytes"
    assert seen == ["a", "a"]
    assert not (place / "a").is_symlink()


def test_where_nothing_can_be_kept_it_is_made_every_time(place: Path) -> None:
    place.parent.write_text("a file where a folder should be")
    seen: list[str] = []
    assert made("a", seen) == made("a", seen) == b"bytes"
    assert seen == ["a", "a"]


@pytest.mark.parametrize("old", [False, True])
def test_who_has_no_home_leaves_nothing_behind(tmp_path: Path, old: bool) -> None:
    """The user of many a container, whom nobody knows; of old a folder of the name ~ came up where one stood."""
    code = f"""
import pathlib, platformdirs, pwd
def getpwuid(user):
    raise KeyError(user)
pwd.getpwuid = getpwuid
if {old}:
    platformdirs.user_cache_path = lambda *names, **options: pathlib.Path("~/.cache/fabula")
from fabula import keeping
print(keeping.folder(), keeping.kept("a", lambda: b"made"))
"""
    environment = {name: value for name, value in os.environ.items() if name not in {"HOME", "XDG_CACHE_HOME"}}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "None b'made'\n"
    assert not list(tmp_path.iterdir())


def test_the_oldest_go_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MOST", 3)
    for age, name in enumerate("abcde"):
        made(name, [])
        os.utime(place / name, (age, age))
    assert sorted(path.name for path in place.iterdir()) == ["c", "d", "e"]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("int8", [False, True])
def test_a_graph_that_was_kept_says_the_same(
    place: Path, cell: str, int8: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = {"cell": cell, "layers": 2, "hidden": 8, "embedding": 4, "head": "tied", "dropout": 0.0, "ngrams": 3}
    model = resolve({"model": shape}).model
    rng = np.random.default_rng(0)
    weights = {name: rng.random(size, np.float32) for name, size in expected_shapes(model, 10).items()}

    def say() -> np.ndarray:
        engine = Engine(model, 10, weights, int8=int8)
        ids = np.array([[1, 2, 3]])
        return engine.step(ids[:, 0], engine.read(ids, engine.initial_state(1)))[0]

    said = say()
    assert list(place.iterdir())
    monkeypatch.setattr(described, "_model", None)  # nothing is made any more
    assert np.array_equal(said, say())


def test_another_description_has_another_name(place: Path) -> None:
    ends = (described.Array("x", "float32", ("N", 2)),), (described.Array("y", "float32", ("N", 2)),)
    graphs = [
        described.Described((described.Node(operator, ("x",), ("y",), ()),), *ends) for operator in ("Tanh", "Sigmoid")
    ]
    first, second = map(described.serialized, graphs)
    assert [onnx.load_from_string(data).graph.node[0].op_type for data in (first, second)] == ["Tanh", "Sigmoid"]
    assert described.serialized(graphs[0]) == first
    assert len(list(place.iterdir())) == 2


def test_who_writes_again_needs_no_onnx(tmp_path: Path) -> None:
    """It takes a fifth of the time to the first word."""
    code = """
import sys
import numpy as np
from fabula.config import resolve
from fabula.engine import Engine, expected_shapes
model = resolve({"model": {"layers": 1, "hidden": 8, "embedding": 4, "head": "tied", "dropout": 0.0}}).model
weights = {name: np.zeros(shape, np.float32) for name, shape in expected_shapes(model, 10).items()}
engine = Engine(model, 10, weights)
engine.step(np.zeros(1, int), engine.initial_state(1))
print("onnx" in sys.modules)
"""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    runs = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert [run.stdout for run in runs] == ["True\n", "False\n"]
