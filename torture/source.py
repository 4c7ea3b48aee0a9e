"""Does any file of ours, or of the wheel made of them, hold a call that turns data into code, or writes where an archive says?"""

from __future__ import annotations

import ast
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from supply import wheel

from torture.runner import Answer

PROMISE = (
    "no file of the source or of the wheel holds a pickle, eval, exec, yaml.load, extractall or anything like them"
)
QUICK, FULL = 0, None
SOURCE = Path(__file__).resolve().parents[1] / "src"

MODULES = frozenset({
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "ruamel", "jsonpickle", "imp", "runpy",
    "code", "codeop", "xml.etree", "xml.dom", "xml.sax", "lxml", "tarfile", "shutil.unpack_archive", "subprocess", "ctypes", "cffi", "pty",
    "socket", "ssl", "urllib.request", "http", "ftplib", "smtplib", "telnetlib", "requests", "httpx", "aiohttp", "webbrowser",
    "multiprocessing.connection",
})  # fmt: skip
"""Not even imported: what makes code or entities of data, starts programs, or speaks to others; but for `MAY`."""

NAMES = frozenset({"eval", "exec", "compile", "__import__", "execfile"})
"""Builtins that are not called."""

METHODS = frozenset({
    "extract", "extractall", "unpack_archive", "full_load", "unsafe_load", "load_all", "system", "popen", "execv", "execve", "execvp",
    "spawnv", "startfile", "posix_spawn", "fork", "from_file", "read_pickle", "to_pickle", "loadtxt", "genfromtxt", "fromfile",
    "exec_module", "load_module", "runcode", "load_source",
})  # fmt: skip
"""Methods that are not called, whatever they belong to."""

LOADS = {"torch.load": "weights are read by safetensors", "np.load": "without allow_pickle=False", "numpy.load": "without allow_pickle=False",
         "torch.save": "weights are written by safetensors", "torch.jit.load": "it runs what it loads", "pickle.load": "a pickle"}  # fmt: skip

MAY = {
    "fabula/serve/transport.py": {"socket"}, "fabula/serve/supervisor.py": {"socket"}, "fabula/cli/serve.py": {"socket"},
    "fabula/studio/lessons.py": {"subprocess"}, "fabula/store/pool.py": {"subprocess"},
}  # fmt: skip
"""What a room exists for: `fabula serve` listens, its studio starts `fabula train`, a text is stored by processes."""

CONTROLS = {
    "pickle": "import pickle as p\np.loads(b'')",
    "torch.load": "import torch\ntorch.load('x')",
    "torch.load by another name": "from torch import load as read\nread('x')",
    "eval": "x = eval('1')",
    "exec by another name": "run = exec\nrun('1')",
    "yaml": "from yaml import load\nload('x')",
    "extractall": "import zipfile\nzipfile.ZipFile('x').extractall()",
    "numpy with pickles": "import numpy as np\nnp.load('x', allow_pickle=True)",
    "a module by its name": "import importlib\nimportlib.import_module(name)",
    "os.system": "from os import system\nsystem('id')",
    "getattr": "getattr(__builtins__, 'ev' + 'al')('1')",
}
"""Pieces of code that must be found."""


def ask(count: int | None, seed: int, work: Path, workers: int) -> Answer:  # noqa: ARG001 - as all questions are asked
    """Every file of the source, and every file of a wheel where one can be built."""
    began = time.perf_counter()
    files = {str(path.relative_to(SOURCE)): path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.py"))}
    failures = [f"{name}:{line}: {why}" for name, text in files.items() for line, why in found(text, name)]
    built = wheel.build(work)
    members: list[str] = []
    if built:
        with zipfile.ZipFile(built) as archive:
            members = archive.namelist()
            for name in members:
                if name.endswith(".py"):
                    text = archive.read(name).decode()
                    failures += [f"wheel {name}:{line}: {why}" for line, why in found(text, name)]
                elif not name.endswith(
                    (
                        ".html",
                        ".css",
                        ".js",
                        ".svg",
                        ".txt",
                        ".json",
                        ".typed",
                        "METADATA",
                        "WHEEL",
                        "RECORD",
                        "LICENSE",
                    )
                ):
                    failures.append(f"wheel {name}: a file of a kind that a wheel of ours does not need")
    controls = {name: bool(list(found(text))) for name, text in CONTROLS.items()}
    facts = {"files": len(files), "wheel": len(members) or "not built: hatchling is not installed"}
    return Answer(
        "source", PROMISE, len(files) + len(members), tuple(failures), controls, time.perf_counter() - began, facts
    )  # fmt: skip


def found(text: str, file: str = "") -> Iterator[tuple[int, str]]:
    """What must not be there: line and why."""
    forbidden = MODULES - MAY.get(file, set())
    tree = ast.parse(text)
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {
                one.asname or one.name.split(".")[0]: one.name if one.asname else one.name.split(".")[0]
                for one in node.names
            }
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            aliases |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
            names = [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if any(".".join(parts[:length]) in forbidden for length in range(1, len(parts) + 1)):
                yield node.lineno, f"imports {name}"
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Name)
            and node.id in NAMES
            and isinstance(node.ctx, ast.Load)
            and node.id not in aliases
        ):
            yield node.lineno, f"names {node.id}"
        if isinstance(node, ast.Name | ast.Attribute):
            said = _dotted(node, aliases)
            if said.startswith("__builtins__") or said.startswith("builtins."):
                yield node.lineno, f"reaches for {said}"
        if isinstance(node, ast.Call):
            said = _dotted(node.func, aliases)
            last = said.rpartition(".")[2]
            safe = any(
                key.arg == "allow_pickle" and isinstance(key.value, ast.Constant) and key.value.value is False
                for key in node.keywords
            )
            if said in LOADS and not (safe and "allow_pickle" in LOADS[said]):
                yield node.lineno, f"calls {said}: {LOADS[said]}"
            elif last in METHODS:
                yield node.lineno, f"calls {said or last}"
            elif last == "import_module" and not _is_own(node):
                yield node.lineno, "imports a module by a name that is not written there"


def _is_own(call: ast.Call) -> bool:
    """Whether the module's name is written out and ours, or stands in a table of the same file."""
    name = call.args[0] if call.args else None
    if isinstance(name, ast.Subscript) and isinstance(name.value, ast.Name) and name.value.id.isupper():
        return True
    if isinstance(name, ast.JoinedStr):
        name = name.values[0]
    return isinstance(name, ast.Constant) and str(name.value).startswith("fabula")


def _dotted(node: ast.AST, aliases: dict[str, str]) -> str:
    """`np.load` as `numpy.load`; what is no name at its root as `.load`."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    root = aliases.get(node.id, node.id) if isinstance(node, ast.Name) else ""
    return ".".join([root, *reversed(parts)])
