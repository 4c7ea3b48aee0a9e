"""Writes docs/commands.md and docs/settings.md from the program itself; `--check` fails when they are out of date."""

from __future__ import annotations

import dataclasses
import io
import sys
from pathlib import Path

from rich.console import Console

from fabula.cli import app
from fabula.cli.pages import COMMANDS as PAGES
from fabula.config import SECTIONS, SIZES

HERE = Path(__file__).parent
COMMANDS = ("", *PAGES)


def commands() -> str:
    """The help page of every command."""
    parts = ["# Commands\n\nEach page as `--help` shows it. This file is generated: `make fix` writes it anew.\n"]
    for command in COMMANDS:
        out = io.StringIO()
        app.help_print([command] if command else [], console=Console(file=out, width=110, color_system=None))
        page = "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())
        parts.append(f"## fabula {command}".rstrip() + f"\n\n```text\n{page}\n```\n")
    return "\n".join(parts)


def settings() -> str:
    """Every setting with its default and its meaning."""
    parts = [
        "# Settings\n\nEach can be given as `--set SECTION.NAME=VALUE`, as the environment variable "
        "`FABULA_SECTION_NAME`, or in a TOML file for `--config`.\nPrecedence: flag, `--set`, environment, file, the "
        "model's own, default. A default of `-` is chosen by the text at hand.\nThis file is generated: `make fix` "
        "writes it anew.\n"
    ]
    for name, section in SECTIONS.items():
        parts.append(f"## {name}\n\n{section.__doc__}\n\n| name | default | meaning |\n|---|---|---|")
        for field in dataclasses.fields(section):
            default = "-" if field.default is None else f"`{str(field.default).lower()}`"
            choices = field.metadata["choices"]
            meaning = field.metadata["about"] + (f": {', '.join(choices)}" if choices else "")
            parts.append(f"| `{field.name}` | {default} | {meaning} |")
        parts.append("")
    parts.append("## --size\n\n| size | layers | units |\n|---|---|---|")
    parts += [f"| {size} | {shape['layers']} | {shape['hidden']} |" for size, shape in SIZES.items()]
    return "\n".join(parts) + "\n"


def main() -> int:
    """Write the pages, or compare them."""
    stale = 0
    for name, text in (("commands.md", commands()), ("settings.md", settings())):
        path = HERE / name
        if "--check" in sys.argv:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                sys.stderr.write(f"docs/{name} is out of date: run `make fix`\n")
                stale = 1
        else:
            path.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main())
