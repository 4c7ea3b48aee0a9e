"""The page that describes the API: plain HTML made of its description, without a script; knows no model."""

from __future__ import annotations

from html import escape
from typing import Any

STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid #8884; padding: 0.25em 0.5em 0.25em 0; vertical-align: top; }
:root { color-scheme: light dark; }
"""


def page(schema: dict[str, Any]) -> str:
    """The paths with what they take."""
    parts = []
    for path, methods in schema["paths"].items():
        for method, about in methods.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(about['description'])}</p>")
            body = about.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            if body:
                parts.append(_table(schema, body["$ref"].rpartition("/")[2]))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<title>fabula</title><link rel="stylesheet" href="/docs.css">'
        f"<h1>fabula {escape(schema['info']['version'])}</h1>"
        '<p>Stories over HTTP, in the shapes of OpenAI\'s API: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{''.join(parts)}</html>"
    )


def _table(schema: dict[str, Any], name: str) -> str:
    fields = schema["components"]["schemas"][name]["properties"]
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code><td>{escape(_kind(one))}<td>{escape(one.get('description', ''))}"
        for field, one in fields.items()
    )
    return f"<table>{rows}</table>"


def _kind(field: dict[str, Any]) -> str:
    """What a field may be, in a few words."""
    kinds = field.get("anyOf", [field])
    words = []
    for kind in kinds:
        if kind.get("type") == "null":
            continue
        word = kind.get("type") or kind.get("$ref", "").rpartition("/")[2] or "value"
        low, high = kind.get("minimum"), kind.get("maximum")
        words.append(word + (f" {low:g} to {high:g}" if low is not None and high is not None else ""))
    return " or ".join(dict.fromkeys(words)) or "nothing"
