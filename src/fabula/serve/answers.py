"""The shapes of the answers, as OpenAI's clients read them; knows no socket and no engine."""

from __future__ import annotations

import json
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fabula.engine import State
from fabula.serve.orders import Order
from fabula.serve.rows import Piece, Token

Json = dict[str, Any]


def dump(value: Any) -> bytes:  # noqa: ANN401
    """JSON in bytes; pure ASCII, so that no proxy can mistake it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


@dataclass
class Choice:
    """One story as far as it is told."""

    text: str = ""
    tokens: list[Token] = field(default_factory=list)
    finish: str | None = None
    units: int = 0
    score: float = 0.0
    memory: State = ()
    """What the network remembers at its end, where that is wanted."""

    def add(self, piece: Piece) -> None:
        """A piece more."""
        self.text += piece.text
        self.tokens += piece.tokens
        if piece.finish:
            self.finish, self.units, self.score = piece.finish, piece.units, piece.score
            self.memory = piece.memory


class Answer(ABC):
    """How one request is answered: what all of its pieces become."""

    def __init__(self, order: Order, model: str) -> None:
        self._order, self._model = order, model
        self._id, self._created = f"{self.mark}-{secrets.token_hex(12)}", int(time.time())

    mark: str
    """What its id begins with."""
    name: str
    """What kind of object the whole is ..."""
    part: str
    """... and what kind a part of a stream is."""

    @abstractmethod
    def whole(self, place: int, choice: Choice, prompt: Sequence[Token]) -> Json:
        """A choice as one object; `place` counts all that are told."""

    @abstractmethod
    def delta(self, place: int, piece: Choice, *, first: bool) -> Json:
        """What a part of a stream adds to a choice; the first may bring what is told before the story."""

    def opening(self, place: int, prompt: Sequence[Token]) -> Json | None:  # noqa: ARG002
        """What a stream tells of a choice before the story itself."""
        return None

    def head(self, name: str) -> Json:
        """What stands before the choices."""
        return {"id": self._id, "object": name, "created": self._created, "model": self._model}

    def usage(self, units: int) -> Json:
        """How much was read and written."""
        given = self._order.given
        return {"prompt_tokens": given, "completion_tokens": units, "total_tokens": given + units}

    def complete(self, choices: Sequence[Choice], prompts: Sequence[Sequence[Token]]) -> bytes:
        """The body of an answer that is no stream: of each prompt the `n` best, the likeliest first."""
        best, n, told = self._order.best_of, self._order.n, list[Json]()
        for number, prompt in enumerate(prompts):
            own = list(choices[number * best : (number + 1) * best])
            if n < best:
                own.sort(key=lambda choice: -choice.score)
            told += [self.whole(number * n + place, choice, prompt) for place, choice in enumerate(own[:n])]
        units = sum(choice.units for choice in choices)
        return dump({**self.head(self.name), "choices": told, "usage": self.usage(units), **self.state(choices[0])})

    def event(self, choice: Json, *, usage: bool, state: Json | None = None) -> bytes:
        """A part of a stream as an event; where usage is asked for, all parts but the last say that it is none."""
        return event(
            {**self.head(self.part), "choices": [choice], **({"usage": None} if usage else {}), **(state or {})}
        )

    def state(self, choice: Choice) -> Json:
        """Where a story that is over can be gone on with, if that was asked for."""
        return {"state": self._order.state(choice.memory)} if self._order.sealer and choice.finish else {}

    def bill(self, units: int) -> bytes:
        """The part that tells usage."""
        return event({**self.head(self.part), "choices": [], "usage": self.usage(units)})


class CompletionAnswer(Answer):
    """`text_completion`."""

    mark, name, part = "cmpl", "text_completion", "text_completion"

    def whole(self, place: int, choice: Choice, prompt: Sequence[Token]) -> Json:
        """Text after the prompt, if it is to be echoed."""
        before = self._echoed(place)
        return {
            "index": place,
            "text": before + choice.text,
            "logprobs": self._logprobs([*prompt, *(_moved(token, len(before)) for token in choice.tokens)]),
            "finish_reason": choice.finish,
        }

    def opening(self, place: int, prompt: Sequence[Token]) -> Json | None:
        """The prompt, if it is to be echoed."""
        if not self._order.echo:
            return None
        text = self._echoed(place)
        return {"index": place, "text": text, "logprobs": self._logprobs(prompt), "finish_reason": None}

    def delta(self, place: int, piece: Choice, *, first: bool) -> Json:  # noqa: ARG002
        """Text."""
        before = len(self._echoed(place))
        logprobs = self._logprobs([_moved(token, before) for token in piece.tokens])
        return {"index": place, "text": piece.text, "logprobs": logprobs, "finish_reason": piece.finish}

    def _echoed(self, place: int) -> str:
        order = self._order
        return order.prompts[place // order.n].text if order.echo else ""

    def _logprobs(self, tokens: Sequence[Token]) -> Json | None:
        if self._order.top is None:
            return None
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [dict(token.likeliest) or None for token in tokens] if self._order.top else None,
            "text_offset": [token.place for token in tokens],
        }


class ChatAnswer(Answer):
    """`chat.completion`."""

    mark, name, part = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def whole(self, place: int, choice: Choice, prompt: Sequence[Token]) -> Json:  # noqa: ARG002
        """A message."""
        message = {"role": "assistant", "content": choice.text, "refusal": None}
        return {
            "index": place,
            "message": message,
            "logprobs": self._logprobs(choice.tokens),
            "finish_reason": choice.finish,
        }

    def delta(self, place: int, piece: Choice, *, first: bool) -> Json:
        """Content, and who speaks in the first."""
        delta = {**({"role": "assistant"} if first else {}), **({"content": piece.text} if piece.text or first else {})}
        logprobs = self._logprobs(piece.tokens)
        return {"index": place, "delta": delta, "logprobs": logprobs, "finish_reason": piece.finish}

    def _logprobs(self, tokens: Sequence[Token]) -> Json | None:
        if self._order.top is None:
            return None
        return {
            "content": [
                _said(token.text, token.logprob, token.spelling)
                | {"top_logprobs": [_said(text, value) for text, value in token.likeliest]}
                for token in tokens
            ],
            "refusal": None,
        }


def event(value: Json) -> bytes:
    """A server-sent event."""
    return b"data: " + dump(value) + b"\n\n"


DONE = b"data: [DONE]\n\n"


def _moved(token: Token, count: int) -> Token:
    return token._replace(place=token.place + count) if count else token


def _said(text: str, logprob: float | None, spelling: bytes | None = None) -> Json:
    """A unit in a chat; its bytes are also told where the text is only their names."""
    if spelling is None and text.startswith("bytes:"):
        spelling = bytes.fromhex(text.removeprefix("bytes:").replace("\\x", ""))
    return {"token": text, "logprob": logprob, "bytes": list(text.encode() if spelling is None else spelling)}
