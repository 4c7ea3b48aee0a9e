"""What the studio sends: its page, reports, downloads and JSON; knows no route."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.responses import Response

from fabula.book import Book, to_epub, to_html
from fabula.serve.refusals import Refusal

PAGE = files("fabula.studio") / "page"

KINDS = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}  # fmt: skip
"""Of the files that the page is made of."""

FORMS = {"txt": "text/plain; charset=utf-8", "html": "text/html; charset=utf-8", "epub": "application/epub+zip"}
"""Of a story that is taken away."""


def exported(book: Book, form: str) -> bytes:
    """A story in one of the `FORMS`."""
    if form == "epub":
        return to_epub(book)
    return (to_html(book) if form == "html" else book.chapters[0].text + "\n").encode()


def policy(html: str) -> str:
    """A page that runs the scripts it has and none else, loads nothing, and cannot reach this server."""
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    known = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return (
        f"default-src 'none'; script-src {known}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; sandbox allow-scripts"
    )


def asset(name: str) -> Response:
    """A file of the page, by a name that leads nowhere else."""
    kind = KINDS.get(Path(name).suffix)
    if kind is None or not re.fullmatch(r"(assets/)?[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
        raise Refusal(404, "there is nothing here: see /docs")
    try:
        # The name of an asset says what is in it: a browser need not ask again.
        kept = {"cache-control": "public, max-age=31536000, immutable"} if name.startswith("assets/") else {}
        return Response((PAGE / name).read_bytes(), media_type=kind, headers=kept)
    except OSError:
        raise Refusal(404, "there is nothing here: see /docs") from None


def answer(value: dict[str, Any]) -> Response:
    """A value as JSON, which knows no infinity."""
    try:
        said = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:  # from a folder that somebody else has written
        said = json.dumps(_finite(value), separators=(",", ":"))
    return Response(said, media_type="application/json")


def _finite(value: Any) -> Any:  # noqa: ANN401
    """A value without the numbers that JSON does not know."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return value
