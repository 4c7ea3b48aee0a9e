"""Where the program comes from: locks, the wheel, the list of parts; and that it needs no network."""

import hashlib
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from supply import sbom, wheel
from supply.lock import LOCKS, hashes

PROJECT = tomllib.loads((wheel.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_locks_hold_what_development_asks_for() -> None:
    known = {
        name: hashes((LOCKS / name).read_text(encoding="utf-8")) for name in ("dev.txt", "torch.txt", "torch-cpu.txt")
    }
    for pins in known.values():
        assert all(pins.values())
    extras = PROJECT["optional-dependencies"]
    lines = [
        *PROJECT["dependencies"],
        *(line for name in extras for line in extras[name] if not line.startswith("fabula[")),
    ]
    locked = {canonicalize_name(pin.split("==")[0]): pin.split("==")[1] for pins in known.values() for pin in pins}
    for line in map(Requirement, lines):
        assert line.specifier.contains(locked[canonicalize_name(line.name)]), line
    torch = re.search(r"^torch==(\S+)", (wheel.ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert torch
    assert all(f"torch=={torch[1]}" in known[name] for name in ("torch.txt", "torch-cpu.txt"))


def test_two_builds_have_the_same_bytes_and_no_files_of_others(tmp_path: Path) -> None:
    first, second = wheel.build(tmp_path / "1"), wheel.build(tmp_path / "2")
    if first is None or second is None:
        pytest.skip("hatchling is not installed")
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, second)}
    assert len(digests) == 1
    with zipfile.ZipFile(first) as archive:
        assert {name.split("/")[0] for name in archive.namelist()} == {"fabula", f"fabula-{sbom._version()}.dist-info"}


def test_the_list_of_parts_names_all_that_writing_needs() -> None:
    said = sbom.describe()
    assert sbom.describe() == said
    assert (said["bomFormat"], said["specVersion"]) == ("CycloneDX", "1.6")
    names = {part["name"] for part in said["components"]}
    assert {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]} <= names
    references = {part["bom-ref"] for part in (*said["components"], said["metadata"]["component"])}
    assert {row["ref"] for row in said["dependencies"]} == references
    assert references >= {needed for row in said["dependencies"] for needed in row["dependsOn"]}


UNPLUGGED = """
import sys
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind"):
        sys.stderr.write(f"ASKED THE NETWORK: {event}\\n")
        raise OSError("unplugged")
sys.addaudithook(hook)
if sys.argv[1] == "control":
    import socket
    socket.create_connection(("localhost", 9))
from fabula.cli import main
sys.exit(main(sys.argv[1:]))
"""


def unplugged(*arguments: str, place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", UNPLUGGED, *arguments], cwd=place, capture_output=True, text=True, check=False
    )  # fmt: skip


def test_training_and_writing_need_no_network(tmp_path: Path, fable: Path) -> None:
    assert "ASKED THE NETWORK" in unplugged("control", place=tmp_path).stderr
    small = ("--set", "model.hidden=16", "--set", "training.threads=1", "--steps", "2")
    for command in (("train", str(fable), "-o", "m", *small), ("write", "m", "-p", "the mouse", "--words", "5")):
        done = unplugged(*command, place=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "ASKED" not in done.stderr
