"""A store that is damaged, written elsewhere or made to deceive is one line, and nothing outside of it is opened."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fabula.config import TextConfig
from fabula.errors import FolderError
from fabula.store import build, is_store, open_store, verify

SMALL = 10_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tell: Callable[..., list[str]]) -> Path:
    """A store of six shards or so."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "library.txt").write_text("\n\n".join(tell(120)), encoding="utf-8")
    build([folder / "library.txt"], TextConfig(), folder / "store", processes=1, block=SMALL)
    return folder / "store"


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    """A copy of it to be harmed."""
    return Path(shutil.copytree(made, tmp_path / "store"))


def test_a_sound_one_is_verified(made: Path) -> None:
    parts: list[float] = []
    found = verify(made, parts.append)
    assert parts[-1] == 1.0
    assert len(parts) == len(found.files) > 15
    assert is_store(made)
    assert not is_store(made.parent)
    assert not is_store(made / "missing")


def test_every_file_that_has_changed_is_named(store: Path) -> None:
    for name in sorted(path.name for path in store.iterdir() if path.name != "manifest.json"):
        data = (store / name).read_bytes()
        (store / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(FolderError, match=rf"({name} is not what the manifest says|is damaged)"):
            verify(store)
        (store / name).write_bytes(data)
    verify(store)


def test_every_file_that_is_cut_off_or_gone_is_seen_at_once(store: Path) -> None:
    for path in sorted(path for path in store.iterdir() if path.name != "manifest.json"):
        data = path.read_bytes()
        path.write_bytes(data[:-1])
        with pytest.raises(FolderError, match="is damaged"):
            open_store(store)
        path.unlink()
        with pytest.raises(FolderError, match="is damaged"):
            open_store(store)
        path.write_bytes(data)
    open_store(store)


def first(said: dict[str, Any]) -> dict[str, Any]:
    shard: dict[str, Any] = said["train"]["shards"][0]
    return shard


HARMS: dict[str, Callable[[dict[str, Any]], object]] = {
    "another format": lambda said: said.update(format=2),
    "no format": lambda said: said.pop("format"),
    "a path that leaves": lambda said: first(said).update(name="../store/shard-00000-00000"),
    "an absolute path": lambda said: first(said).update(name="/etc/passwd"),
    "a shard twice": lambda said: said["train"]["shards"].append(first(said)),
    "no shards": lambda said: said["train"].update(shards=[]),
    "stories below none": lambda said: first(said).update(stories=-1),
    "endless stories": lambda said: first(said).update(stories=2**70),
    "half a story": lambda said: first(said).update(stories=1.5),
    "more stories than units": lambda said: first(said).update(tokens=1),
    "other sizes": lambda said: first(said)["files"]["tokens"].update(size=5),
    "no sizes": lambda said: first(said)["files"].pop("kept"),
    "more of a file": lambda said: first(said)["files"]["kept"].update(path="/etc/passwd"),
    "no counts": lambda said: said["train"].pop("counts"),
    "counts that are none": lambda said: said["train"]["counts"].update(bytes="many"),
    "no notes": lambda said: said.update(notes=None),
    "another tokenizer": lambda said: said["tokenizer"].update(sha256="0" * 64),
    "shards that are none": lambda said: said["train"].update(shards=5),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_manifest_that_deceives_is_one_line(store: Path, harm: str) -> None:
    said = json.loads((store / "manifest.json").read_text(encoding="utf-8"))
    HARMS[harm](said)
    (store / "manifest.json").write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(FolderError, match="is damaged") as caught:
        open_store(store)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


NONE = ["", "{", "[]", "null", "5", '"fabula store"', '{"kind": "fabula store"}', "[" * 10_000]


@pytest.mark.parametrize("text", NONE)
def test_a_manifest_that_is_none_is_one_line(store: Path, text: str) -> None:
    (store / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(FolderError, match="is damaged"):
        open_store(store)


def test_more_stories_than_a_shard_has_are_seen_when_it_is_read(store: Path) -> None:
    said = json.loads((store / "manifest.json").read_text(encoding="utf-8"))
    first(said)["tokens"] += 1
    (store / "manifest.json").write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(FolderError, match="does not fit together"):
        open_store(store).train[0]


def test_frequencies_that_do_not_fit_are_seen(store: Path) -> None:
    counts = np.load(store / "frequencies.npy")
    counts[3] += 1
    np.save(store / "frequencies.npy", counts)
    opened = open_store(store)
    with pytest.raises(FolderError, match="frequencies do not fit"):
        opened.train.frequencies(opened.tokenizer.end)


@pytest.mark.parametrize("name", ["manifest.json", "tokenizer.json", "frequencies.npy", "shard-00000-00001.kept.npy"])
def test_links_are_not_followed(store: Path, tmp_path: Path, name: str) -> None:
    shutil.move(store / name, tmp_path / "elsewhere")
    (store / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderError):
        opened = open_store(store)
        opened.train.frequencies(opened.tokenizer.end)
        list(opened.train)
