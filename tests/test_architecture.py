"""The house keeps its direction: an import may only go down the layers, and some rooms never see torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "fabula"

LAYERS = [
    {"errors", "version", "data", "disk", "stopping", "regular", "processes"},
    {"config", "pages", "machine", "keeping"},
    {"text", "tokens", "vectors", "sampling", "novelty", "ngram", "clusters", "hashing", "forecast"},
    {"endings", "engine", "streams", "cells", "heads", "optimizers", "precision", "schedule", "penalties", "lesson"},
    {"evaluation", "model", "mixture", "footprint", "processor", "distributed", "fineness", "constraints"},
    {"store"},
    {"adaptation", "corpus", "folder", "recipe", "card", "rounding", "tale"},
    {"outcome", "events", "pretrained", "inheritance", "storyteller", "baseline", "source", "dynamic"},
    {"tuning", "byteview", "meeting"},
    {"run"},
    {"checkpoints"},
    {"assembly", "saving"},
    {"training"},
    {
        "launch",
        "narration",
        "ways",
        "trackers",
        "diagnosis",
        "report",
        "comparison",
        "ranking",
        "labels",
        "ensemble",
        "book",
        "table",
        "serve",
    },
    {"studio"},
    {"api"},
    {"article"},
    {"cli"},
    {"__init__", "__main__"},
]
"""Lowest first; each room may import from the layers below its own, and inside itself."""

WITHOUT_TORCH = {
    "errors", "version", "regular", "processes", "config", "pages", "machine", "keeping", "text", "tokens", "vectors",
    "sampling", "clusters", "hashing", "forecast", "endings", "novelty", "ngram", "mixture",
    "fineness", "adaptation", "baseline", "engine", "footprint",
    "streams", "evaluation", "corpus", "folder", "recipe", "card", "events", "inheritance", "storyteller", "narration",
    "report", "api", "constraints", "source", "comparison", "ranking", "labels", "ensemble", "book", "rounding",
    "serve", "store", "studio", "table", "tale", "__init__",
}  # fmt: skip

LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def room_of(path: Path) -> str:
    """The room a file belongs to: its first folder, or its own name."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """All modules a file imports anywhere, those for the type checker alone left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= (
                {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "fabula" else {node.module}
            )
    return found


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_only_go_down(path: Path) -> None:
    room = room_of(path)
    assert room in LEVEL, f"{room} has no layer: give it one in LAYERS"
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "fabula" and len(parts) > 1 and parts[1] != room:
            other = parts[1] if parts[1] in LEVEL else "__init__"
            assert LEVEL[other] < LEVEL[room], f"{room} (layer {LEVEL[room]}) imports {other} (layer {LEVEL[other]})"


@pytest.mark.parametrize(
    "path", [p for p in FILES if room_of(p) in WITHOUT_TORCH], ids=lambda p: str(p.relative_to(SOURCE))
)
def test_rooms_without_torch(path: Path) -> None:
    assert not any(module.split(".")[0] == "torch" for module in imports(path))


LARGE = {"torch", "onnxruntime", "onnx", "tokenizers", "rich", "fabula.text"}


@pytest.mark.parametrize(
    ("rooms", "large"), [("fabula.cli", {*LARGE, "numpy"}), ("fabula.cli.write, fabula.storyteller", LARGE)]
)
def test_starting_loads_nothing_large(rooms: str, large: set[str]) -> None:
    code = f"import sys, {rooms}; print(*(sys.modules.keys() & {large}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
