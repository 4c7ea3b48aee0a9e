"""Asks pip-audit for known weaknesses of what is installed; steps aside with one line where it cannot ask.

`python -m supply.audit` fails when there are some; with `--tell` it only tells, so that a check of one source comes out
the same today and tomorrow.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

PATIENCE = 120
"""Seconds."""


def main() -> int:
    """Ask; exit code 1 for known weaknesses."""
    if importlib.util.find_spec("pip_audit") is None:
        print("weaknesses: not asked for, pip-audit is not installed")
        return 0
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        parts = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        print("weaknesses: not known, their list cannot be reached from here")
        return 0
    known = [(part["name"], part["version"], weak["id"]) for part in parts for weak in part.get("vulns", ())]
    for name, version, weakness in known:
        print(f"weakness: {name} {version}: {weakness}")
    if not known:
        print(f"weaknesses: none known of {len(parts):,} packages")
    return int(bool(known) and "--tell" not in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
