"""Small model folders to break, of every unit, cell and head, made without learning; knows no way to break them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fabula import folder
from fabula.config import resolve
from fabula.engine import expected_shapes
from fabula.engine.weights import INTEGERS
from fabula.novelty import Index
from fabula.text import words_of
from fabula.tokens import build

STORY = (
    "Long ago, the mice had a general council to consider what measures they could take to outwit their common enemy, "
    "the cat. Some said this, and some said that; but at last a young mouse got up and said he had a proposal to make. "
)
KINDS: tuple[dict[str, Any], ...] = (
    {"unit": "symbols", "cell": "lstm", "head": "full"},
    {"unit": "words", "cell": "gru", "head": "tied"},
    {"unit": "subwords", "cell": "lstm", "head": "adaptive", "layers": 2},
    {"unit": "chars", "cell": "lstm", "head": "sampled", "ngrams": 2, "buckets": 16},
    {"unit": "bytes", "cell": "gru", "head": "full", "window": 3},
)


def make(path: Path, unit: str, **model: Any) -> None:
    """A model folder as a training leaves it, with random weights."""
    shape = {"layers": 1, "hidden": 6, "embedding": 4, "dropout": 0.0, **model}
    settings = resolve({"model": shape, "text": {"unit": unit, "paths": ["story.txt"]}})
    tokenizer = build(unit, [STORY])
    rng = np.random.default_rng(1)
    weights: dict[str, Any] = {}
    for name, size in expected_shapes(settings.model, tokenizer.size).items():
        drawn = rng.permutation(size[0]) if name in INTEGERS else rng.normal(size=size) / 4
        weights[name] = drawn.astype(np.int64 if name in INTEGERS else np.float32)
    folder.claim(path, force=True)
    folder.append(path, "metrics.jsonl", {"step": 1, "loss": 2.5})
    folder.append(path, "samples.jsonl", {"step": 1, "prompt": "the", "text": " mice"})
    about = {
        "name": path.name,
        "unit": unit,
        "digest": "0" * 16,
        "learned_from": {"bytes": len(STORY)},
        "int8_cost": None,
    }
    folder.write_model(
        path, settings=settings, tokenizer=tokenizer, weights=weights, about=about, card="# A model\n",
        index=Index.of([words_of(STORY)]),
    )  # fmt: skip


def contents(path: Path) -> dict[str, bytes]:
    """Its files by name."""
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def lay(path: Path, files: dict[str, bytes], lying: dict[str, bytes]) -> None:
    """Put these files there and nothing else; `lying` are those that lie there unchanged, and is kept true."""
    path.mkdir(exist_ok=True)
    for name in [name for name in lying if lying[name] != files.get(name)]:
        del lying[name]
    for entry in path.iterdir():
        if entry.name in lying:
            continue
        if entry.is_dir() and not entry.is_symlink():
            entry.rmdir()
        else:
            entry.unlink()
    for name in files.keys() - lying.keys():
        (path / name).write_bytes(files[name])
        lying[name] = files[name]


def sign(files: dict[str, bytes]) -> None:
    """Make the manifest true again, as somebody would who means harm."""
    listed = {name: folder.digest(data) for name, data in files.items() if name not in ("manifest.json", "report.html")}
    files["manifest.json"] = folder.as_json({"format": folder.FORMAT, "files": listed})
