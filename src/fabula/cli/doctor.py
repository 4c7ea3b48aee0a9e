"""`fabula doctor`."""

from __future__ import annotations

import sys

from fabula.cli.options import Json, print_json


def doctor(
    *,
    json: Json = False,
) -> int:
    """Say what is installed, what this machine can do, and what is missing."""
    from fabula.diagnosis import diagnose  # noqa: PLC0415

    found = diagnose()
    if json:
        print_json(found)
        return 0
    for section, facts in found.items():
        sys.stdout.write(f"{section}\n")
        for name, value in facts.items():
            sys.stdout.write(f"  {name:<20} {value}\n")
    return 0
