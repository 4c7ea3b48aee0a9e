"""How much one request may ask for, and all of them together; knows no request and no engine."""

from __future__ import annotations

from dataclasses import dataclass

STORIES = 64
"""Most stories of one prompt: `n` and `best_of`."""

PROMPTS = 128
"""Most prompts of one request."""

TOKENS = 16_384
"""Most units of one story."""

WORDS = 20_000
"""Most words of one story."""

STOPS, STOP = 16, 256
"""Most stop texts, and characters in each."""

BIASES = 1024
"""Most units that `logit_bias` may change."""

TOP = 20
"""Most of the likeliest units told beside each that came."""

STATE = 1 << 19
"""Most characters of a state from which a story is gone on with."""

NAME = 256
"""Most characters of a model's name, or of any other word a client sends along."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server keeps to whatever clients do."""

    body: int = 1 << 20
    """Bytes of a request's body."""
    bodies: int = 64 << 20
    """Bytes of all bodies that are being answered."""
    prompt: int = 1 << 18
    """Units of all prompts of one request."""
    histories: int = 1 << 20
    """The same, counted once for each story."""
    judged: int = 1 << 14
    """Units of all prompts where the probability of each is asked for (`echo` with `logprobs`)."""
    stories: int = 256
    """Stories of one request: prompts times `best_of`."""
    rows: int = 64
    """Stories written side by side."""
    queue: int = 2048
    """Stories that wait for a place among them."""
    waiting: int = 1 << 22
    """Units of all prompts that wait, counted once for each story."""
    seconds: float = 300.0
    """For one request; a story that is not over by then is ended."""
    backlog: int = 256
    """Pieces of a story that may lie ready for a client that reads slowly; then the story waits for it."""
    connections: int = 2048
    """Connections held open."""
    receive: float = 20.0
    """Seconds in which a request must have arrived; what may be longer than `body`, so much of it."""
    send: float = 10.0
    """Seconds in which a client must take some of what lies ready for it."""
    buffer: int = 1 << 16
    """Bytes that the system holds ready for one connection."""
    stuck: float = 1.5
    """Seconds without a step after which the engine counts as stuck."""
    farewell: float = 7.0
    """Seconds that stories have to come to their end when the server is told to stop."""
