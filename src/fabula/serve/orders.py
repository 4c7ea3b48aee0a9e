"""What a request asks for, made ready for the scheduler: prompts as units, options as settings; knows no HTTP."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from fabula.config import resolve
from fabula.engine import State
from fabula.errors import FabulaError
from fabula.serve.bodies import ChatBody, CompletionBody, Sampling
from fabula.serve.jobs import Job
from fabula.serve.limits import TOKENS, Limits
from fabula.serve.mailbox import Mailbox
from fabula.serve.refusals import Refusal
from fabula.serve.rows import Judged, Story, Verbatim, biases
from fabula.serve.states import Kept, Sealer
from fabula.storyteller import Storyteller
from fabula.tale import Tale
from fabula.tokens import Tokenizer

SHORT = 16
"""Units of a completion whose length was not asked for, as OpenAI has it."""

REPLY = 256
"""The same of a chat's reply."""

OPTIONS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_copy")
"""Fields that are settings of the same name."""


@dataclass(frozen=True)
class Prompt:
    """What a story goes on from: a text, or a place in a story where another answer ended."""

    text: str
    ids: tuple[int, ...]
    kept: Kept | None = None


@dataclass(frozen=True, kw_only=True)
class Order:
    """A request that can be done."""

    tokenizer: Tokenizer
    prompts: Sequence[Prompt]
    tales: Sequence[Sequence[Tale]]
    """The stories of each prompt, which are begun and not told yet; none where no unit is asked for."""
    n: int
    """Stories told of each prompt ..."""
    best_of: int
    """... which are the best of so many."""
    top: int | None
    """So many of the likeliest units are told with each; None tells no probabilities at all."""
    echo: bool
    sealer: Sealer | None = None
    """Seals where the story ends, if that is to be told."""

    @property
    def writes(self) -> bool:
        """Whether there is anything to write, or only a prompt to judge."""
        return any(self.tales)

    @property
    def given(self) -> int:
        """Units of all prompts."""
        return sum(len(prompt.ids) for prompt in self.prompts)

    def state(self, memory: State) -> str | None:
        """Where the one story ended, with what the network remembers there; None where it has not begun."""
        if self.sealer is None or not memory or not self.tales[0][0].begun:
            return None
        return self.sealer.seal(Kept(self.tales[0][0].place, memory))

    def jobs(self, mailbox: Mailbox, deadline: float) -> list[Job]:
        """One job a prompt; none where there is nothing to compute."""
        judges = self.echo and self.top is not None
        if not (self.writes or judges):
            return []
        return [self._job(number, mailbox, deadline, judges=judges) for number in range(len(self.prompts))]

    def _job(self, number: int, mailbox: Mailbox, deadline: float, *, judges: bool) -> Job:
        tokenizer, prompt, ids = self.tokenizer, self.prompts[number], list(self.prompts[number].ids)
        units = ids if ids[:1] == [tokenizer.end] else [tokenizer.end, *ids]
        if prompt.kept is not None:
            units = [prompt.kept.place.latest]
        stories = [
            Story(tokenizer, tale, number * self.best_of + place, first=units[-1], top=self.top)
            for place, tale in enumerate(self.tales[number])
        ]
        judged = Judged(tokenizer, ids, prompt.text, number, top=self.top or 0) if judges else None
        job = Job(mailbox, units, stories, judged, deadline, keeps=self.sealer is not None)
        job.state = prompt.kept.memory if prompt.kept is not None else ()
        return job


def prepare(
    teller: Storyteller, body: CompletionBody | ChatBody, limits: Limits, sealer: Sealer | None = None
) -> Order:
    """What a body asks of a model; `sealer` is that of its states. Errors: Refusal."""
    try:
        if isinstance(body, ChatBody):
            return _chat(teller, body, limits)
        return _completion(teller, body, limits, sealer)
    except FabulaError as error:
        raise Refusal(400, str(error)) from None


def _completion(teller: Storyteller, body: CompletionBody, limits: Limits, sealer: Sealer | None) -> Order:
    n, best_of = body.n or 1, body.best_of or body.n or 1
    if best_of < n:
        raise Refusal(400, f"best_of must be at least n, got {best_of} and {n}", param="best_of")
    if best_of > n and body.stream:
        raise Refusal(400, "the best of some stories cannot be streamed: leave stream or best_of out", param="best_of")
    given = body.prompt if isinstance(body.prompt, list) else ["" if body.prompt is None else body.prompt]
    several = [given] if isinstance(given[0], int) else given
    if len(several) * best_of > limits.stories:
        raise Refusal(400, f"one request may ask for {limits.stories} stories at most", param="best_of")
    prompts = [_prompt(teller, one) for one in several]
    if body.keep or body.state is not None:
        sealer = _sealing(teller, body, sealer, best_of if len(several) == 1 else len(several))
        prompts = prompts if body.state is None else [Prompt("", (), sealer.open(body.state))]
    judged = bool(body.echo) and body.logprobs is not None
    return _order(
        teller, body, prompts, limits, limits.judged if judged else limits.prompt,
        most=body.max_tokens, otherwise=SHORT, best_of=best_of, top=body.logprobs, echo=bool(body.echo),
        sealer=sealer if body.keep else None,
    )  # fmt: skip


def _sealing(teller: Storyteller, body: CompletionBody, sealer: Sealer | None, stories: int) -> Sealer:
    """Who seals states. Errors: Refusal for what does not go with them."""
    if sealer is None or not sealer.fits or teller.settings.sampling.require:
        raise Refusal(400, "this model keeps no states: leave keep and state out", param="keep")
    field = "keep" if body.state is None else "state"
    if stories > 1 or body.max_tokens == 0:
        raise Refusal(400, f"{field} goes with one story of at least one unit", param=field)
    for name in ("prompt", "seed", "echo") if body.state is not None else ():
        if getattr(body, name) not in (None, "", False):
            raise Refusal(400, f"state says where the story and its chance stand: leave {name} out", param=name)
    return sealer


def _chat(teller: Storyteller, body: ChatBody, limits: Limits) -> Order:
    """The messages in a row are the story so far."""
    if body.top_logprobs is not None and not body.logprobs:
        raise Refusal(400, "top_logprobs needs logprobs", param="top_logprobs")
    texts = [
        one.content if isinstance(one.content, str) else "".join(part.text for part in one.content)
        for one in body.messages
    ]
    most = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    return _order(
        teller, body, [_prompt(teller, "\n\n".join(texts))], limits, limits.prompt, most=most, otherwise=REPLY,
        best_of=body.n or 1, top=(body.top_logprobs or 0) if body.logprobs else None, echo=False,
    )  # fmt: skip


def _order(
    teller: Storyteller,
    body: Sampling,
    prompts: Sequence[Prompt],
    limits: Limits,
    bound: int,
    *,
    most: int | None,
    otherwise: int,
    best_of: int,
    top: int | None,
    echo: bool,
    sealer: Sealer | None = None,
) -> Order:
    length = sum(len(prompt.ids) for prompt in prompts)
    if length > bound:
        message = f"the prompt must have at most {bound:,} units, got {length:,}: give its last part"
        raise Refusal(400, message, param="prompt", code="context_length_exceeded")
    if length * best_of > limits.histories:
        message = f"the prompt's units times the stories must be at most {limits.histories:,}: ask for fewer"
        raise Refusal(400, message, param="n", code="context_length_exceeded")
    if most is None:
        most = TOKENS if body.words or body.until else otherwise
    own, biased = {"sampling": teller.settings.sampling.__dict__}, _biased(body.logit_bias or {}, teller.tokenizer.size)
    given = {name: value for name in OPTIONS if (value := getattr(body, name)) is not None}
    seed = secrets.randbits(63) if body.seed is None else body.seed % 2**63
    sampling = resolve(own, {"sampling": {**given, "seed": seed}}).sampling
    stops = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())

    def tell(prompt: Prompt) -> Sequence[Tale]:
        place = prompt.kept.place if prompt.kept is not None else None
        given = len(place.recent) - place.told if place is not None else len(prompt.ids)
        added = biases(biased, body.presence_penalty or 0.0, body.frequency_penalty or 0.0, given)
        _, tales = teller.begin(
            prompt.text, range(best_of), ids=list(prompt.ids), words=body.words, sampling=sampling, stop=stops,
            until=body.until, ending=None if body.words or body.until else lambda: Verbatim(stops), biases=added,
            budget=most,
        )  # fmt: skip
        if place is not None:
            tales[0].resume(place)
        return tales

    return Order(
        tokenizer=teller.tokenizer, prompts=prompts, tales=[tell(prompt) if most else () for prompt in prompts],
        n=body.n or 1, best_of=best_of, top=top, echo=echo, sealer=sealer,
    )  # fmt: skip


def _prompt(teller: Storyteller, given: str | list[int]) -> Prompt:
    tokenizer = teller.tokenizer
    if isinstance(given, str):
        return Prompt(given, tuple(tokenizer.encode_prompt(given).tolist()))
    if max(given) >= tokenizer.size:
        raise Refusal(400, f"a prompt's units must be below {tokenizer.size:,}, got {max(given):,}", param="prompt")
    return Prompt(tokenizer.decode(given), tuple(given))


def _biased(given: dict[str, float], size: int) -> dict[int, float]:
    """Units and what is added to their scores."""
    wrong = next((key for key in given if not (key.isascii() and key.isdigit() and int(key[:12]) < size)), None)
    if wrong is not None:
        raise Refusal(400, f"logit_bias must name units from 0 to {size - 1:,}", param="logit_bias")
    return {int(key): value for key, value in given.items()}
