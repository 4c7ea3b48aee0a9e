"""Texts of all kinds to stories; this file is only the room's door."""

from fabula.text.advice import recommend_unit
from fabula.text.autopsy import Autopsy, inspect_library
from fabula.text.counting import count_words, word_spans, words_of
from fabula.text.languages import guess_language
from fabula.text.library import Library, read_library
from fabula.text.scripts import script_shares
from fabula.text.splitting import Split, split
from fabula.text.stories import Story

__all__ = [
    "Autopsy",
    "Library",
    "Split",
    "Story",
    "count_words",
    "guess_language",
    "inspect_library",
    "read_library",
    "recommend_unit",
    "script_shares",
    "split",
    "word_spans",
    "words_of",
]
