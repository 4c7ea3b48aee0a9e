"""What a text has from others, place by place; this file is only the room's door."""

from fabula.comparison.compare import LENGTHS, Comparison, Passage, compare
from fabula.comparison.page import render

__all__ = ["LENGTHS", "Comparison", "Passage", "compare", "render"]
