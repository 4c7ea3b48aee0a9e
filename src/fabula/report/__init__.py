"""A training as one page to look at, live and afterwards: `report.html` in its folder; never sees the network."""

from fabula.pages import LANGUAGES
from fabula.report.listener import Reporter, rewrite

__all__ = ["LANGUAGES", "Reporter", "rewrite"]
