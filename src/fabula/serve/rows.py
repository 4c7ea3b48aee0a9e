"""One story, or one prompt that is judged, as a row of the running batch: units in, pieces out; knows no engine.

Legend: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from fabula.endings import Ending
from fabula.engine import Floats, State
from fabula.sampling import Filter, History, Scores
from fabula.serve.refusals import Refusal
from fabula.tale import Tale
from fabula.tokens import Decoder, Tokenizer


class Token(NamedTuple):
    """A unit that came, and how likely the network found it."""

    text: str
    place: int
    """Character of the text at which it begins."""
    logprob: float | None
    """None where nothing came before it."""
    likeliest: tuple[tuple[str, float], ...]
    spelling: bytes


class Piece(NamedTuple):
    """What one step adds to one choice."""

    choice: int
    text: str = ""
    tokens: tuple[Token, ...] = ()
    finish: str | None = None
    units: int = 0
    """All units of the choice, once it is over."""
    score: float = 0.0
    """Log-probability of a unit on average, once it is over."""
    failure: Refusal | None = None
    judged: bool = False
    """Whether these are the tokens of prompt number `choice`, and no story."""
    memory: State = ()
    """What the network remembers before the last unit, once it is over and where that is to be kept."""


class Row(Protocol):
    """What the batch asks of a row."""

    latest: int
    over: bool

    def window(self, size: int) -> list[int]:
        """The last units, for a network that carries no state."""
        ...

    def feed(self, scores: Floats) -> Piece | None:
        """Log-probabilities (V,) after `latest`; what can be shown now."""
        ...

    def cut(self) -> Piece:
        """No more time: what is left."""
        ...


class Story:
    """A choice that is being written; `top` asks for the log-probabilities of its units and of so many others."""

    def __init__(self, tokenizer: Tokenizer, tale: Tale, choice: int, *, first: int, top: int | None) -> None:
        self._tokenizer, self._tale, self._choice, self._top = tokenizer, tale, choice, top
        self.latest, self.over = first, False
        self._units = self._shown = 0
        self._place = len(tale.held)
        self._held: list[Token] = []

    def window(self, size: int) -> list[int]:
        """The last units."""
        return self._tale.window(size)

    def feed(self, scores: Floats) -> Piece | None:
        """Choose the next unit."""
        text = self._tale.go_on(scores)
        self.latest, self._units = self._tale.latest, self._units + 1
        if self._top is not None:
            self._held.append(told(self._tokenizer, scores, self.latest, self._top, self._place))
            self._place += len(self._tale.said)
        self._shown += len(text)
        if not self._tale.over:
            return Piece(self._choice, text, self._ready()) if text else None
        return self._end(text, "length" if self._tale.broken else "stop")

    def cut(self) -> Piece:
        """End it here; what was held back is not shown."""
        return self._end("", "length")

    def _end(self, text: str, finish: str) -> Piece:
        self.over = True
        # Tokens behind a stop text are gone with it; of those that ran out the last may be part of a character.
        tokens = tuple(self._held) if finish == "length" else self._ready()
        score = -self._tale.nats / max(1, self._units)
        return Piece(self._choice, text, tokens, finish, self._units, score)

    def _ready(self) -> tuple[Token, ...]:
        """Tokens whose text is shown, or begins to be."""
        count = sum(token.place < self._shown for token in self._held)
        ready, self._held = tuple(self._held[:count]), self._held[count:]
        return ready


class Judged:
    """A prompt whose units are fed one by one, to learn how likely each was; its stories go on from its last unit."""

    def __init__(self, tokenizer: Tokenizer, ids: Sequence[int], text: str, prompt: int, *, top: int) -> None:
        """`prompt` is the number of the prompt that has these ids and this text."""
        self._tokenizer, self._top, self._prompt, self._ids = tokenizer, top, prompt, list(ids)
        self._places = places(tokenizer, ids, text)
        self.latest, self._tokens = tokenizer.end, list[Token]()
        if self._ids[:1] == [tokenizer.end]:  # an end mark of its own, before which nothing is
            self._tokens.append(Token(name(tokenizer, tokenizer.end), 0, None, (), b""))
        self.over = len(self._tokens) == len(self._ids)

    @property
    def tokens(self) -> tuple[Token, ...]:
        """What is judged so far."""
        return tuple(self._tokens)

    def window(self, size: int) -> list[int]:
        """The last units, after end marks where there are not so many."""
        units = self._ids[max(0, len(self._tokens) - size) : len(self._tokens)]
        return [self._tokenizer.end] * (size - len(units)) + units

    def feed(self, scores: Floats) -> Piece | None:
        """Judge the next unit of the prompt."""
        place = len(self._tokens)
        self.latest = self._ids[place]
        token = told(self._tokenizer, scores, self.latest, self._top, self._places[place])
        self._tokens.append(token if place else token._replace(logprob=None, likeliest=()))
        self.over = len(self._tokens) == len(self._ids)
        return Piece(self._prompt, tokens=self.tokens, judged=True) if self.over else None

    def cut(self) -> Piece:
        """Half a judgement is none."""
        self.over = True
        return Piece(self._prompt, failure=Refusal(503, "the prompt could not be judged in time", code="timeout"))


class Verbatim(Ending):
    """A text that ends before a stop text and nowhere else; white space is shown as it comes."""

    def __init__(self, stops: Sequence[str]) -> None:
        super().__init__(1 << 62, stops, until=None)

    def feed(self, text: str) -> str:
        """Take in more text; hold back what may begin a stop text."""
        self._text += text
        found = [(place + len(stop), place) for stop in self._stops if (place := self._text.find(stop)) >= 0]
        if found:
            after, end = min(found)
            self.over, self.behind, self._text = True, self._text[after:], self._text[:end]
            return self.rest()
        begun = (n for stop in self._stops for n in range(1, len(stop)) if self._text.endswith(stop[:n]))
        return self._take(len(self._text) - max(begun, default=0))

    def rest(self, *, broken: bool = False) -> str:  # noqa: ARG002
        """All of it."""
        return self._take(len(self._text))

    def _take(self, limit: int) -> str:
        shown, self._text = self._text[:limit], self._text[limit:]
        return shown


def biases(logit_bias: dict[int, float], presence: float, frequency: float, given: int) -> list[Filter]:
    """What a request adds to the scores of some units: always, or once or each time that they came after the prompt.

    `given` is how many units the prompt has.
    """
    chosen: list[Filter] = []
    if logit_bias:
        ids, added = np.array(list(logit_bias)), np.array(list(logit_bias.values()), np.float32)

        def bias(scores: Scores, history: History) -> Scores:  # noqa: ARG001
            left = scores.copy()
            left[ids] += added
            return left

        chosen.append(bias)
    if presence or frequency:

        def penalty(scores: Scores, history: History) -> Scores:
            units, counts = np.unique(np.array(history[given:], np.int64), return_counts=True)
            left = scores.copy()
            left[units] -= (presence + frequency * counts).astype(np.float32)
            return left

        chosen.append(penalty)
    return chosen


def told(tokenizer: Tokenizer, scores: Floats, unit: int, top: int, place: int) -> Token:
    """A unit with its log-probability and those of the `top` likeliest; scores (V,)."""
    likeliest: dict[str, float] = {}
    if top:
        count = min(top, len(scores))
        some = np.argpartition(-scores, count - 1)[:count]
        for other in some[np.lexsort((some, -scores[some]))].tolist():
            likeliest.setdefault(name(tokenizer, other), _finite(scores[other]))
    own = _finite(scores[unit])
    if top:
        likeliest.setdefault(name(tokenizer, unit), own)
    return Token(name(tokenizer, unit), place, own, tuple(likeliest.items()), tokenizer.spelling(unit))


def name(tokenizer: Tokenizer, unit: int) -> str:
    r"""A unit as clients see it: its text, or its bytes where they are only part of a character.

    >>> from fabula.tokens import build
    >>> octets = build("bytes", [])
    >>> name(octets, 97), name(octets, 0xE4), name(octets, octets.end)
    ('a', 'bytes:\\xe4', '<|end|>')
    """
    if unit == tokenizer.end:
        return "<|end|>"
    spelling = tokenizer.spelling(unit)
    try:
        return spelling.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in spelling)


def places(tokenizer: Tokenizer, units: Sequence[int], text: str) -> list[int]:
    """The character of a prompt's text at which each of its units begins."""
    decoder, place, found = Decoder(tokenizer), 0, list[int]()
    # A first word may be read in the spelling that has a space before it, which the text has not.
    lead = int(bool(units) and tokenizer.spelling(units[0])[:1] == b" " != text[:1].encode())
    lead = lead if tokenizer.lossless else 0
    for unit in units:
        found.append(min(max(0, place - lead), len(text)))
        place += len(decoder.feed(unit))
    return found


def _finite(score: float) -> float:
    """JSON knows no infinity."""
    return round(max(float(score), -1e4), 6)
