"""Writes locks/: every package that development needs, with the hashes of its files; `python -m supply.lock`, by uv.

dev.txt holds all but torch, which is built in several ways under one version: torch.txt is the one that registries
have, with what its CUDA build brings, torch-cpu.txt the CPU build. pip takes a file whose hash its index names before
one that only lies in a folder, so the two cannot stand in one lock. `--cpu FOLDER` adds the hashes of the CPU builds
that lie there.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "locks"
TORCH = ("torch==", "nvidia-", "cuda-", "triton")


def main() -> None:
    """Ask uv, and write."""
    parser = argparse.ArgumentParser(prog="python -m supply.lock", description=__doc__)
    parser.add_argument("--cpu", type=Path, help="folder with CPU builds of torch")
    folder = parser.parse_args().cpu
    text = subprocess.run(
        ["uv", "pip", "compile", "pyproject.toml", "--extra", "dev", "--universal", "--python-version", "3.11",
         "--generate-hashes", "--no-header", "--no-annotate", "--constraint", "constraints.txt"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    blocks = [block for block in re.split(r"(?m)^(?=\S)", text) if block.strip() and not block.startswith("#")]
    torch = [block for block in blocks if block.startswith(TORCH)]
    _write("dev.txt", [block for block in blocks if block not in torch])
    _write("torch.txt", torch)
    pin = next(block.split(" ")[0] for block in torch if block.startswith("torch=="))
    before = LOCKS / "torch-cpu.txt"
    known = hashes(before.read_text(encoding="utf-8")).get(pin, set()) if before.exists() else set()
    for wheel in folder.glob(f"{pin.replace('==', '-')}*.whl") if folder else ():
        known.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
    if known:
        _write("torch-cpu.txt", [pin + "".join(f" \\\n    --hash=sha256:{one}" for one in sorted(known)) + "\n"])


def _write(name: str, blocks: list[str]) -> None:
    LOCKS.mkdir(exist_ok=True)
    others = {"dev.txt": "dev.txt -r locks/torch.txt"}.get(name, f"dev.txt -r locks/{name}")
    head = f"# Written by python -m supply.lock. Install with: pip install --require-hashes -r locks/{others}\n"
    (LOCKS / name).write_text(head + "".join(blocks), encoding="utf-8")


def hashes(lock: str) -> dict[str, set[str]]:
    """What a lock knows: `name==version` and the hashes of its files."""
    found: dict[str, set[str]] = {}
    for block in re.split(r"(?m)^(?=\S)", lock):
        if "==" in block.split(" ")[0]:
            found.setdefault(block.split(" ")[0], set()).update(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))
    return found


if __name__ == "__main__":
    main()
