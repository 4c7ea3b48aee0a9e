"""The model folder: what is written comes back, what is damaged is said in one line, what stands there is not lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fabula import folder
from fabula.config import Settings, resolve
from fabula.errors import DivergedError, FolderError
from fabula.novelty import Index
from fabula.tokens import build

SETTINGS = resolve({"model": {"layers": 1, "hidden": 4, "embedding": 3, "head": "full", "dropout": 0.0}})
TOKENIZER = build("symbols", ["the mouse and the cat"])
V = TOKENIZER.size


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {
        "embedding.weight": (V, 3), "cells.0.weight_ih": (16, 3), "cells.0.weight_hh": (16, 4),
        "cells.0.bias_ih": (16,), "cells.0.bias_hh": (16,), "head.weight": (V, 4), "head.bias": (V,),
    }  # fmt: skip
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    folder.claim(path, force=False)
    folder.append(path, "metrics.jsonl", {"step": 1})
    write(path)
    return path


def write(path: Path, settings: Settings = SETTINGS, about: str = "x") -> None:
    facts = {"name": about}
    folder.write_model(path, settings=settings, tokenizer=TOKENIZER, weights=weights(), about=facts, card=about)


def resign(path: Path) -> None:
    """Make the manifest true again, as an attacker would, so that the deeper checks are reached."""
    manifest = json.loads((path / "manifest.json").read_text())
    for name in manifest["files"]:
        manifest["files"][name] = folder.digest((path / name).read_bytes())
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_what_is_written_comes_back(model: Path) -> None:
    read = folder.read_model(model)
    assert read.settings.model == SETTINGS.model
    assert read.tokenizer.to_json() == TOKENIZER.to_json()
    assert read.about == {"name": "x"}
    for name, tensor in weights().items():
        np.testing.assert_array_equal(read.weights[name], tensor)


def test_nothing_else_is_left_behind(model: Path) -> None:
    assert {entry.name for entry in model.iterdir()} == {
        "config.json", "tokenizer.json", "model.safetensors", "training.toml", "README.md", "metrics.jsonl",
        "manifest.json",
    }  # fmt: skip


@pytest.mark.parametrize("name", folder.NETWORK)
def test_every_flipped_byte_is_noticed(model: Path, name: str) -> None:
    data = (model / name).read_bytes()
    for place in np.random.default_rng(1).integers(0, len(data), 20):
        broken = bytearray(data)
        broken[place] ^= 1
        (model / name).write_bytes(broken)
        with pytest.raises(FolderError, match="is not what the manifest says"):
            folder.read_model(model)


@pytest.mark.parametrize("name", (*folder.NETWORK, "manifest.json"))
@pytest.mark.parametrize("damage", ["gone", "empty", "half", "link", "pipe", "folder"])
def test_damage_is_one_line(model: Path, name: str, damage: str) -> None:
    path = model / name
    data = path.read_bytes()
    path.unlink()
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "half":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "link":
        (model.parent / "elsewhere").write_bytes(data)
        path.symlink_to(model.parent / "elsewhere")
    elif damage == "pipe":
        os.mkfifo(path)
    elif damage == "folder":
        path.mkdir()
    with pytest.raises(FolderError) as caught:
        folder.read_model(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 2), ("vocabulary", 10**9), ("vocabulary", 3), ("model", {"layers": 1, "hidden": 5, "embedding": 3}),
        ("model", {"layers": 99}), ("model", {"surprise": 1}), ("model", None), ("sampling", {"temperature": -1}),
        ("about", 3),
    ],
)  # fmt: skip
def test_a_config_that_does_not_fit_is_refused_even_when_signed(model: Path, key: str, value: object) -> None:
    config = json.loads((model / "config.json").read_text())
    config[key] = value
    (model / "config.json").write_text(json.dumps(config))
    resign(model)
    with pytest.raises(FolderError):
        folder.read_model(model)


@pytest.mark.parametrize("change", ["nan", "shape", "missing", "extra", "type"])
def test_weights_that_do_not_fit_are_refused_even_when_signed(model: Path, change: str) -> None:
    from safetensors.numpy import save

    tensors = weights()
    if change == "nan":
        tensors["head.bias"][0] = np.nan
    elif change == "shape":
        tensors["head.bias"] = np.zeros(V + 1, np.float32)
    elif change == "missing":
        del tensors["head.bias"]
    elif change == "extra":
        tensors["surprise"] = np.zeros(3, np.float32)
    else:
        tensors["head.bias"] = tensors["head.bias"].astype(np.float64)
    (model / "model.safetensors").write_bytes(save(tensors))
    resign(model)
    with pytest.raises(FolderError):
        folder.read_model(model)


def test_a_header_that_lies_about_its_length_is_refused(model: Path) -> None:
    data = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes((2**62).to_bytes(8, "little") + data[8:])
    resign(model)
    with pytest.raises(FolderError, match="no sound header"):
        folder.read_model(model)


def test_what_is_no_model_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(FolderError, match="expected a model folder"):
            folder.read_model(path)


def test_a_folder_in_the_way_is_not_touched(model: Path, tmp_path: Path) -> None:
    before = {entry.name: entry.read_bytes() for entry in model.iterdir()}
    with pytest.raises(FolderError, match="--resume"):
        folder.claim(model, force=False)
    assert {entry.name: entry.read_bytes() for entry in model.iterdir()} == before
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(FolderError, match="holds other files"):
            folder.claim(other, force=force)
    assert (other / "thesis.txt").read_text() == "years of work"


def test_force_keeps_the_old_model_until_the_new_one_is_there(model: Path) -> None:
    folder.claim(model, force=True)
    assert folder.read_model(model).about == {"name": "x"}
    assert not (model / "metrics.jsonl").exists()


def checkpoint(step: int) -> folder.Checkpoint:
    return folder.Checkpoint(step, {"a": np.arange(step + 1, dtype=np.float32)}, {"seconds": 1.5})


def test_checkpoints_come_back_and_old_ones_go(tmp_path: Path) -> None:
    for step in (1, 5, 9, 10):
        folder.write_checkpoint(tmp_path, checkpoint(step))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        "step-000000000009",
        "step-000000000010",
    ]
    read, skipped = folder.read_checkpoint(tmp_path)
    assert read
    assert (read.step, read.state, skipped) == (10, {"seconds": 1.5}, [])
    np.testing.assert_array_equal(read.tensors["a"], np.arange(11, dtype=np.float32))


def test_a_damaged_checkpoint_is_skipped_and_said(tmp_path: Path) -> None:
    for step in (3, 4):
        folder.write_checkpoint(tmp_path, checkpoint(step))
    tensors = tmp_path / "checkpoints" / "step-000000000004" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    read, skipped = folder.read_checkpoint(tmp_path)
    assert read
    assert (read.step, skipped) == (3, ["step-000000000004"])


def test_a_damaged_checkpoint_makes_way_for_the_same_step_and_for_later_ones(tmp_path: Path) -> None:
    """It used to stay in the way of its own step, and to push a sound one out."""
    for step in (2, 3, 4):
        folder.write_checkpoint(tmp_path, checkpoint(step))
    home = tmp_path / "checkpoints"
    for step in (3, 4):
        (home / f"step-{step:012d}" / "state.json").write_bytes(b"{}")
    folder.write_checkpoint(tmp_path, checkpoint(1))
    assert [path.name for path in home.iterdir()] == ["step-000000000001"]  # what is newer was passed over as damaged
    folder.write_checkpoint(tmp_path, checkpoint(3))
    (home / "step-000000000003" / "state.json").write_bytes(b"{}")
    folder.write_checkpoint(tmp_path, checkpoint(3))
    read, skipped = folder.read_checkpoint(tmp_path)
    assert read
    assert (read.step, skipped) == (3, [])


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_no_number_is_not_written(model: Path, number: float) -> None:
    before = {entry.name: entry.read_bytes() for entry in model.iterdir()}
    poisoned = {**weights(), "head.bias": np.array([number], np.float32)}
    with pytest.raises(DivergedError, match=r"head\.bias"):
        folder.write_model(model, settings=SETTINGS, tokenizer=TOKENIZER, weights=poisoned, about={}, card="#")
    with pytest.raises(DivergedError, match=r"head\.bias"):
        folder.write_checkpoint(model, folder.Checkpoint(1, poisoned, {}))
    assert {entry.name: entry.read_bytes() for entry in model.iterdir()} == before


KILLED = """
import os, pathlib, signal, sys
sys.path.insert(0, sys.argv[2])
import test_folder as t
path = pathlib.Path(sys.argv[1])
def count_down(number):
    def counted(plain):
        def call(*given, **named):
            nonlocal number
            number -= 1
            if number == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(*given, **named)
        return call
    for name in ("replace", "rename", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
for number in range(1, 30):
    t.write(path, about="x")
    process = os.fork()
    if process == 0:
        count_down(number)
        t.write(path, about="new")
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    name, card = t.folder.read_model(path).about["name"], t.folder.read_text(path, "README.md")
    print(code, name, t.folder.fingerprint(path), card)
    if code == 0:
        break
"""


def test_a_new_model_killed_between_its_files_is_the_old_one_or_the_new_one(model: Path) -> None:
    """The new files used to come one by one under the old manifest: a kill between two of them left neither model."""
    command = [sys.executable, "-c", KILLED, str(model), str(Path(__file__).parent)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    codes, names, prints, cards = zip(*(line.split() for line in said), strict=True)
    assert set(codes[:-1]) == {"-9"}
    assert codes[-1] == "0"
    assert names == ("x",) * names.count("x") + ("new",) * names.count("new")
    assert names.count("x") > 0
    assert names.count("new") > 5
    assert cards == names
    assert len(set(prints)) == 2


def test_a_write_that_fails_leaves_no_half_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_checkpoint(tmp_path, checkpoint(3))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        folder.write_checkpoint(tmp_path, checkpoint(4))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000000003"]


def test_an_index_comes_back_and_only_to_its_own_model(model: Path, tmp_path: Path) -> None:
    assert folder.read_index(model) is None
    words, other = ["the", "mouse", "and", "the", "cat", "and", "the", "mouse"], tmp_path / "other"
    index = Index.of([words])

    def save(path: Path, digest: str) -> None:
        about = {"name": "x", "digest": digest}
        folder.write_model(
            path, settings=SETTINGS, tokenizer=TOKENIZER, weights=weights(), about=about, card="# x", index=index
        )

    save(model, "1")
    read = folder.read_index(model)
    assert read is not None
    assert read.copied(words).longest == len(words)
    assert b"mouse" not in (model / folder.INDEX).read_bytes()
    other.mkdir()
    save(other, "2")
    (model / folder.INDEX).write_bytes((other / folder.INDEX).read_bytes())
    with pytest.raises(FolderError, match="not what the manifest says"):
        folder.read_index(model)
    resign(model)
    with pytest.raises(FolderError, match="of another model"):
        folder.read_index(model)
    (model / folder.INDEX).unlink()
    with pytest.raises(FolderError, match="copy the model anew"):
        folder.read_index(model)
    write(model)  # without one
    assert folder.read_index(model) is None


@pytest.mark.parametrize("damage", ["order", "follows", "length", "type"])
def test_a_damaged_index_is_refused_even_when_signed(model: Path, damage: str) -> None:
    index = Index.of([["the", "mouse", "and", "the", "cat", "and", "the", "mouse", "and", "the", "dog"]])
    hashes, follows = index.hashes.copy(), index.follows.copy()
    if damage == "order":
        hashes = hashes[::-1].copy()
    elif damage == "follows":
        follows[0] = 2**31
    elif damage == "length":
        follows = follows[1:].copy()
    else:
        hashes = hashes.astype(np.int64)
    about = {"name": "x", "digest": "1"}
    folder.write_model(
        model, settings=SETTINGS, tokenizer=TOKENIZER, weights=weights(), about=about, card="# x",
        index=Index(hashes, follows),
    )  # fmt: skip
    with pytest.raises(FolderError, match=r"novelty\.index of .* cannot be used"):
        folder.read_index(model)


def test_a_flipped_letter_in_the_manifest_does_not_take_the_index_away(model: Path) -> None:
    """`novelty.indey` in the manifest made a model without an index of it, and nothing guarded against copies."""
    index = Index.of([["the", "mouse", "and", "the", "cat"]])
    folder.write_model(
        model, settings=SETTINGS, tokenizer=TOKENIZER, weights=weights(), about={"digest": "1"}, card="# x", index=index
    )
    manifest = (model / "manifest.json").read_text()
    (model / "manifest.json").write_text(manifest.replace("novelty.index", "novelty.indey"))
    for read in (folder.read_model, folder.read_index):
        with pytest.raises(FolderError, match="lists other things"):
            read(model)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("model.safetensors", b""), ("model.safetensors", b"\x00" * 7), ("config.json", b"[" * 100_000),
        ("config.json", b'{"a":' * 100_000), ("tokenizer.json", b"[" * 100_000), ("config.json", b"9" * 10_000),
        ("tokenizer.json", b'{"unit": "bytes", "unit": "bytes"}'), ("config.json", b" " * (5 << 20)),
        ("tokenizer.json", b"[" + b"{}," * 4_000_000 + b"{}]"),
    ],
    ids=range(9),
)  # fmt: skip
def test_files_that_no_training_writes_are_one_line_even_when_signed(model: Path, name: str, data: bytes) -> None:
    (model / name).write_bytes(data)
    resign(model)
    with pytest.raises(FolderError) as caught:
        folder.read_model(model)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("size", ["1e999", "1e30", "null", "-1", str(2**80)])
def test_a_size_that_no_file_has_is_one_line(model: Path, size: str) -> None:
    text = (model / "manifest.json").read_text()
    (model / "manifest.json").write_text(text.replace('"size": ', f'"size": {size}, "was": '))
    with pytest.raises(FolderError):
        folder.read_model(model)


def test_sparse_giants_are_refused_before_they_are_read(model: Path) -> None:
    """A manifest may promise anything: what the network cannot have is not read, let alone allocated."""
    for name in folder.NETWORK:
        data = (model / name).read_bytes()
        manifest = (model / "manifest.json").read_text()
        os.truncate(model / name, 1 << 40)
        (model / "manifest.json").write_text(manifest.replace(f'"size": {len(data)}', f'"size": {1 << 40}'))
        with pytest.raises(FolderError, match="larger than"):
            folder.read_model(model)
        (model / name).write_bytes(data)
        (model / "manifest.json").write_text(manifest)
    folder.read_model(model)


def test_a_network_that_memory_cannot_hold_is_said(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fabula.folder.model.free_memory", lambda: 100)
    with pytest.raises(FolderError, match="GB of memory"):
        folder.read_model(model)


def test_an_index_of_tables_is_refused_even_when_signed(model: Path) -> None:
    """Two tables of one shape passed for two lists, and the first word that was looked up ended in a traceback."""
    from safetensors.numpy import save

    for shape in ((2, 2), (), (1, 1, 1)):
        parts = {"hashes": np.zeros(shape, np.uint64), "follows": np.zeros(shape, np.uint32)}
        folder.write_model(
            model, settings=SETTINGS, tokenizer=TOKENIZER, weights=weights(), about={"digest": "1"}, card="# x",
            index=Index.of([["a", "b", "c", "d"]]),
        )  # fmt: skip
        (model / folder.INDEX).write_bytes(save(parts, {"digest": "1"}))
        resign(model)
        with pytest.raises(FolderError, match="no lists"):
            folder.read_index(model)


def test_a_path_that_is_no_unicode_is_saved_and_comes_back(model: Path) -> None:
    """A text called bad\\xff.txt was learned from to the end, and then its model could not be saved."""
    from fabula.config import from_toml

    settings = resolve({"model": SETTINGS.model.__dict__, "text": {"paths": ("bad\udcff.txt",)}})
    folder.write_model(
        model,
        settings=settings,
        tokenizer=TOKENIZER,
        weights=weights(),
        about={"name": "bad\udcff"},
        card="# bad\udcff",
    )
    assert folder.read_model(model).about == {"name": "bad\udcff"}
    assert from_toml(model / "training.toml")["text"]["paths"] == ["bad\udcff.txt"]
