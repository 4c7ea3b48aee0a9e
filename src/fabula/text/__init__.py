"""Texts of all kinds to stories; this file is only the room's door."""

from fabula.text.advice import recommend_unit
from fabula.text.autopsy import Autopsy, inspect_library
from fabula.text.counting import count_words, word_spans, words_of
from fabula.text.library import Library, read_library
from fabula.text.splitting import Split, split
from fabula.text.stories import Story

__all__ = [
    "Autopsy",
    "Library",
    "Split",
    "Story",
    "count_words",
    "inspect_library",
    "read_library",
    "recommend_unit",
    "split",
    "word_spans",
    "words_of",
]
