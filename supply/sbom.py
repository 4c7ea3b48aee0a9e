"""The parts of an installation as CycloneDX 1.6: `python -m supply.sbom > sbom.json`. Knows what is installed.

The same installation gives the same bytes: no time and no machine stand in it.
"""

from __future__ import annotations

import json
import sys
import tomllib
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("train", "formats", "cjk", "track", "vectors")
"""What people install; `dev` is for those who work on it."""


def main() -> None:
    """Write it to standard output."""
    print(json.dumps(describe(), indent=1, ensure_ascii=False, sort_keys=True))


def describe() -> dict[str, Any]:
    """The program, every package that it needs and that is installed, and which needs which."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = _version()
    asked = [*project["dependencies"], *(line for name in EXTRAS for line in project["optional-dependencies"][name])]
    graph: dict[str, list[str]] = {}
    components: dict[str, dict[str, Any]] = {}
    waiting = [(f"pkg:pypi/fabula@{version}", asked, frozenset[str]())]
    while waiting:
        reference, lines, extras = waiting.pop()
        needs = graph.setdefault(reference, [])
        for requirement in map(Requirement, lines):
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
                continue
            try:
                part = metadata.distribution(requirement.name)
            except metadata.PackageNotFoundError:
                continue
            found = _component(part)
            if found["bom-ref"] not in needs:
                needs.append(found["bom-ref"])
            if found["bom-ref"] not in components:
                components[found["bom-ref"]] = found
                waiting.append((found["bom-ref"], part.requires or [], frozenset(requirement.extras)))
    body = {
        "metadata": {
            "component": {
                "type": "application", "name": "fabula", "version": version, "bom-ref": f"pkg:pypi/fabula@{version}",
                "purl": f"pkg:pypi/fabula@{version}", "licenses": [{"license": {"id": "MIT"}}],
            },
        },
        "components": [components[reference] for reference in sorted(components)],
        "dependencies": [{"ref": reference, "dependsOn": sorted(graph[reference])} for reference in sorted(graph)],
    }  # fmt: skip
    name = json.dumps(body, sort_keys=True)
    return {
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, name)}", **body,
    }  # fmt: skip


def _version() -> str:
    text = (ROOT / "src" / "fabula" / "version.py").read_text(encoding="utf-8")
    return text.rpartition('__version__ = "')[2].partition('"')[0]


def _component(part: metadata.Distribution) -> dict[str, Any]:
    name = canonicalize_name(part.metadata["Name"])
    reference = f"pkg:pypi/{name}@{part.version.replace('+', '%2B')}"
    found: dict[str, Any] = {
        "type": "library", "name": name, "version": part.version, "bom-ref": reference, "purl": reference,
    }  # fmt: skip
    if licence := part.metadata.get("License-Expression"):
        found["licenses"] = [{"expression": licence}]
    elif licence := (part.metadata.get("License") or "").strip().partition("\n")[0][:100]:
        found["licenses"] = [{"license": {"name": licence}}]
    return found


if __name__ == "__main__":
    sys.exit(main())
