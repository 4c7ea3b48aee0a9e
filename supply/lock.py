"""Writes locks/: every package that development needs, with the hashes of its files; `python -m supply.lock`, needs uv.

dev.txt holds all but what the CUDA build of torch brings with it, which is in cuda.txt. torch is built in several ways
under one version: `--also FOLDER` adds the hashes of wheels that lie there, such as a CPU build, to those that are known.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "locks"
CUDA = ("nvidia-", "cuda-", "triton")
HEAD = "# Written by python -m supply.lock. Install with: pip install --require-hashes -r locks/{}\n"


def main() -> None:
    """Ask uv, and write."""
    parser = argparse.ArgumentParser(prog="python -m supply.lock", description=__doc__)
    parser.add_argument("--also", type=Path, help="folder of other builds, whose hashes are as good")
    also = parser.parse_args().also
    text = subprocess.run(
        ["uv", "pip", "compile", "pyproject.toml", "--extra", "dev", "--universal", "--python-version", "3.11",
         "--generate-hashes", "--no-header", "--no-annotate", "--constraint", "constraints.txt"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    blocks = [block for block in re.split(r"(?m)^(?=\S)", text) if block.strip() and not block.startswith("#")]
    before = hashes((LOCKS / "dev.txt").read_text(encoding="utf-8")) if (LOCKS / "dev.txt").exists() else {}
    for number, block in enumerate(blocks):
        pin = block.split(" ")[0]
        more = before.get(pin, set()) if pin.startswith("torch==") else set()
        for wheel in sorted(also.glob("*.whl")) if also else ():
            name, version = wheel.name.split("-")[:2]
            if pin == f"{name.replace('_', '-')}=={version.partition('+')[0]}":
                more.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
        known = hashes(block)[pin]
        blocks[number] = block.rstrip() + "".join(f" \\\n    --hash=sha256:{one}" for one in sorted(more - known)) + "\n"
    LOCKS.mkdir(exist_ok=True)
    cuda = [block for block in blocks if block.startswith(CUDA)]
    others = [block for block in blocks if not block.startswith(CUDA)]
    (LOCKS / "dev.txt").write_text(HEAD.format("dev.txt") + "".join(others), encoding="utf-8")
    (LOCKS / "cuda.txt").write_text(HEAD.format("dev.txt -r locks/cuda.txt") + "".join(cuda), encoding="utf-8")


def hashes(lock: str) -> dict[str, set[str]]:
    """What a lock knows: `name==version` and the hashes of its files."""
    found: dict[str, set[str]] = {}
    for block in re.split(r"(?m)^(?=\S)", lock):
        if "==" in block.split(" ")[0]:
            found.setdefault(block.split(" ")[0], set()).update(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))
    return found


if __name__ == "__main__":
    main()
