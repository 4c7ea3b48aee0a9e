"""A story that ends with a given line, or a gap that is filled: told from both sides and joined where they agree best.

>>> load("my-model").write("Once upon a time", "And they never spoke again.").text  # doctest: +SKIP
"""

from fabula.meeting.joining import Joined, Meeting, load, tell_backwards
from fabula.meeting.wish import check

__all__ = ["Joined", "Meeting", "check", "load", "tell_backwards"]
