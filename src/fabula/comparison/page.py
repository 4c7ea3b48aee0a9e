"""A comparison as one self-contained HTML page; knows its template and nothing of how runs are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fabula.pages import check_language, fill
from fabula.version import __version__

if TYPE_CHECKING:
    from fabula.comparison.compare import Comparison


def render(comparison: Comparison, name: str, language: str | None = None) -> str:
    """The whole page, nothing loaded from anywhere; without a language it opens in that of the browser.

    Errors: UsageError for a language the page does not speak.
    """
    check_language(language)
    data = {**comparison.to_json(), "name": name, "language": language, "version": __version__}
    data["shares"], data["human"] = (
        None if shares is None else [list(pair) for pair in shares.items()]
        for shares in (comparison.shares, comparison.human)
    )
    return fill("fabula.comparison", language or "en", data)
