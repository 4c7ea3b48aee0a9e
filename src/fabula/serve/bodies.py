"""The fields that clients may send, as OpenAI names them and some of our own; knows no model and no engine.

What would change the text but is not supported is refused, not passed over.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fabula.endings import UNTIL
from fabula.serve.limits import BIASES, NAME, PROMPTS, STATE, STOP, STOPS, STORIES, TOKENS, TOP, WORDS

Name = Annotated[str, Field(max_length=NAME)]
StopText = Annotated[str, Field(min_length=1, max_length=STOP)]
Unit = Annotated[int, Field(ge=0, lt=2**31)]


class Body(BaseModel):
    """Fields are of their own type and no other; unknown ones are refused."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class StreamOptions(Body):
    """What a stream tells beside the text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = Field(None, description="Taken and passed over.")


class Sampling(Body):
    """What both ways to ask have in common. What is not given is as the model's own settings say."""

    model: Name | None = Field(None, description="Name of a model; may be left out where only one is served.")
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, ge=0, le=1)
    n: int | None = Field(None, ge=1, le=STORIES)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63, description="The same seed, the same text.")
    stop: StopText | Annotated[list[StopText], Field(max_length=STOPS)] | None = None
    logit_bias: Annotated[dict[Name, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=BIASES)] | None = None
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Name | None = Field(None, description="Taken and passed over.")
    metadata: Annotated[dict[Name, Name], Field(max_length=16)] | None = Field(
        None, description="Taken and passed over."
    )
    top_k: int | None = Field(None, ge=0, le=10**9)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, ge=0.01, le=100)
    max_copy: int | None = Field(
        None, ge=3, le=10**6, description="Most words in a row that the training text has too."
    )
    words: int | None = Field(None, ge=1, le=WORDS, description="About so many words, to the end of a sentence.")
    until: Literal["word", "sentence", "paragraph", "story"] | None = Field(
        None, description="Where a story of so many words ends."
    )


assert set(UNTIL) == {"word", "sentence", "paragraph", "story"}


class CompletionBody(Sampling):
    """`POST /v1/completions`."""

    prompt: (
        str
        | Annotated[list[str], Field(min_length=1, max_length=PROMPTS)]
        | Annotated[list[Unit], Field(min_length=1)]
        | Annotated[list[Annotated[list[Unit], Field(min_length=1)]], Field(min_length=1, max_length=PROMPTS)]
        | None
    ) = Field(None, description="A text, some texts, units by their ids, or lists of them; nothing begins a story.")
    max_tokens: int | None = Field(
        None, ge=0, le=TOKENS, description="Most units; 16 when neither words nor until is given."
    )
    best_of: int | None = Field(None, ge=1, le=STORIES)
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=TOP)
    suffix: None = Field(None, description="Not supported.")
    keep: bool | None = Field(None, description="Tell a state with the answer, from which another request goes on.")
    state: Annotated[str, Field(min_length=1, max_length=STATE)] | None = Field(
        None, description="Go on from there, on any server with the same model and key; in place of a prompt."
    )


class Part(Body):
    """A part of a message."""

    type: Literal["text"]
    text: str


class Message(Body):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[Part], Field(min_length=1, max_length=PROMPTS)]
    name: Name | None = Field(None, description="Taken and passed over.")


class ChatBody(Sampling):
    """`POST /v1/chat/completions`: the messages are the story so far, one paragraph each, and it goes on from there."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=1024)]
    max_tokens: int | None = Field(None, ge=1, le=TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=TOKENS, description="The same as max_tokens.")
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=TOP)
    store: Literal[False] | None = None
