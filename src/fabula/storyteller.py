"""Telling stories with a model: prompt in, text out, word by word; knows no terminal, no torch and no file's layout.

Legend: B stories side by side, T time, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import functools
import reprlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypedDict, Unpack

import numpy as np

from fabula.config import SamplingConfig, Settings
from fabula.constraints import Banned, Constraints, CopyGuard, Required, Rule
from fabula.endings import LETTER, UNTIL, Ending, kind_of
from fabula.engine import Engine, Floats, Integers, State
from fabula.errors import UsageError
from fabula.novelty import Copied, Index
from fabula.rounding import choose as choose_precision
from fabula.sampling import Filter, filters
from fabula.tale import Tale
from fabula.tokens import Tokenizer

if TYPE_CHECKING:
    from fabula.mixture import Mixture

WORDS = 200
"""Most words of a story whose length was not asked for."""

PROMPT = 1 << 24
"""Most characters of a prompt."""

TOGETHER = 64
"""Most stories told side by side."""


class Network(Protocol):
    """What says which unit may come next; `Engine` is one."""

    def initial_state(self, batch: int) -> State:
        """The state before the first unit."""
        ...

    def read(self, ids: Integers, state: State) -> State:
        """Take in some units: ids (B, T) -> the new state."""
        ...

    def step(self, ids: Integers, state: State) -> tuple[Floats, State]:
        """Take in one unit each: ids (B,) -> log-probabilities of the next (B, V), and the new state."""
        ...


class Options(TypedDict, total=False):
    """How a story is told; all may be left out."""

    words: int | None
    """About so many words, one story after another if need be, to the nearest end of a sentence; by default to the
    story's end or about `WORDS`."""
    sampling: SamplingConfig | None
    """How units are chosen; by default as the model's settings say."""
    stop: str | Sequence[str]
    """End before any of these texts."""
    until: str | None
    """`word` for exactly so many words; `sentence`, `paragraph` or `story` to go on to the end of that in which the
    last word stands, as far as `fabula.endings.UNTIL` says; without `words` that in which the first word stands."""


@dataclass(frozen=True)
class Telling:
    """A story as it was told."""

    text: str
    """What was written; `prompt + text` reads on without a seam."""
    prompt: str
    tokens: int
    """Units written, end marks included."""
    seconds: float
    copied_4: float | None = None
    """Share of the words told in runs of 4 or more that the training text has too; None without an index."""
    copied_8: float | None = None
    longest_copy: int | None = None
    """Words in the longest copied run; it may begin in the prompt."""
    nats_per_token: float = 0.0
    """How surprising the network finds its units on average, before any of the sampling options."""

    def to_json(self) -> dict[str, str | float | None]:
        """What `fabula write --json` prints."""
        return dataclasses.asdict(self) | {
            "seconds": round(self.seconds, 4), "nats_per_token": round(self.nats_per_token, 4),
        }  # fmt: skip


class Storyteller:
    """A model that writes. What it tells hangs on prompt, options and the story's number, not on its neighbours.

    With a `mixture` an n-gram model has its say in every unit, before any of the sampling options. `index` gives the
    runs of the training text, read when they are first needed: without it nobody knows what is copied. `engine` is a
    network in place of the one that the weights make, `precision` is fp32 or int8 (see `fabula.engine`).
    """

    def __init__(
        self,
        settings: Settings,
        tokenizer: Tokenizer,
        weights: Mapping[str, Floats],
        *,
        threads: int | None = None,
        mixture: Mixture | None = None,
        index: Callable[[], Index | None] = lambda: None,
        engine: Network | None = None,
        precision: str = "fp32",
    ) -> None:
        self.settings, self.tokenizer, self.mixture, self.precision = settings, tokenizer, mixture, precision
        self._read_index = index
        self.engine: Network = engine or Engine(
            settings.model, tokenizer.size, weights, threads=threads, int8=precision == "int8"
        )

    def stream(self, prompt: str = "", *, story: int = 0, **options: Unpack[Options]) -> Iterator[str]:
        """Write on from a prompt, piece by piece as it comes; the prompt itself is not repeated.

        Another `story` number tells another story with the same seed. Every word costs the same, the last as the first.
        Errors: UsageError, TextError; UnknownSymbolError for a prompt that the unit `symbols` cannot spell.
        """
        ids, tales = self.begin(prompt, [story], **options)  # pyrefly: ignore
        return (piece for _, piece in self._tell(ids, tales) if piece)

    def write(self, prompt: str = "", *, story: int = 0, **options: Unpack[Options]) -> Telling:
        """The whole story that `stream` would tell."""
        return self._collect(prompt, [story], **options)[0]

    def write_many(self, count: int, prompt: str = "", **options: Unpack[Options]) -> list[Telling]:
        """Stories 0 .. count-1, told side by side: the same that `write` tells one by one, but sooner."""
        told: list[Telling] = []
        for first in range(0, count, TOGETHER):
            told += self._collect(prompt, range(first, min(first + TOGETHER, count)), **options)
        return told

    @functools.cached_property
    def index(self) -> Index | None:
        """The runs of the training text, None for a model that was saved without them."""
        return self._read_index()

    def copied(self, text: str, prompt: str = "") -> Copied | None:
        """What a text that goes on from a prompt has from the training text; None where nobody knows."""
        from fabula.text import word_spans  # noqa: PLC0415 - the room of texts takes a while to open

        if self.index is None:
            return None
        spans = list(word_spans(prompt + text))
        given = sum(end <= len(prompt) for _, end, _ in spans)
        return self.index.copied([word for _, _, word in spans], given)

    def _collect(self, prompt: str, stories: Sequence[int], **options: Unpack[Options]) -> list[Telling]:
        """Some stories told to their ends."""
        began = time.perf_counter()
        ids, tales = self.begin(prompt, stories, **options)  # pyrefly: ignore
        pieces: dict[Tale, list[str]] = {tale: [] for tale in tales}
        seconds: dict[Tale, float] = {}
        for tale, piece in self._tell(ids, tales):
            pieces[tale].append(piece)
            if tale.over:
                seconds[tale] = time.perf_counter() - began
        told = []
        for tale in tales:
            text = "".join(pieces[tale])
            found = self.copied(text, prompt)
            copies = (found.share, found.long_share, found.longest) if found else (None, None, None)
            units = len(pieces[tale])
            told.append(Telling(text, prompt, units, seconds[tale], *copies, nats_per_token=tale.nats / units))
        return told

    def begin(
        self,
        prompt: str,
        stories: Sequence[int],
        *,
        words: int | None = None,
        sampling: SamplingConfig | None = None,
        stop: str | Sequence[str] = (),
        until: str | None = None,
        ending: Callable[[], Ending] | None = None,
        biases: Sequence[Filter] = (),
        budget: int | None = None,
        ids: list[int] | None = None,
    ) -> tuple[list[int], list[Tale]]:
        """The prompt as ids, and the stories that go on from it, to be fed by whoever asks: `write` feeds its own.

        `ids` are those of the prompt where it is encoded already, `ending` makes another end than that of `words`,
        `until` and `stop`; `biases` change the scores before `sampling` does, `budget` is the most units of a story.
        """
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
        if words is not None and words < 1:
            raise UsageError(f"words must be at least 1, got {words}")
        if until is not None and until not in UNTIL:
            raise UsageError(f"until must be one of {', '.join(UNTIL)} or left out, got {reprlib.repr(until)}")
        if not all(stops):
            raise UsageError("stop must be a text to end before, got an empty one: leave it out")
        if len(prompt) > PROMPT:
            raise UsageError(
                f"a prompt must have at most {PROMPT:,} characters, got {len(prompt):,}: give its last part"
            )
        ids = self.tokenizer.encode_prompt(prompt).tolist() if ids is None else ids
        how = sampling or self.settings.sampling
        # Where units hold the space before them, the space that ends a prompt is read with the first word to come.
        dropped = bool(ids) and prompt[-1:].isspace() and not self.tokenizer.spelling(ids[-1])[-1:].isspace()
        seam = dropped and kind_of(prompt.rstrip()[-1:] or " ") == LETTER
        tales = [
            Tale(
                self.tokenizer,
                ids,
                filters=filters(how, biases),
                rng=np.random.default_rng((how.seed, story)),
                ending=ending() if ending else Ending(words or (1 if until else WORDS), stops, until=until),
                exact=words is not None and until != "story",
                seam=seam,
                constraints=self.constraints(how, prompt, words or WORDS),
                budget=budget,
            )
            for story in stories
        ]
        return ids, tales

    def constraints(self, how: SamplingConfig, prompt: str, words: int) -> Constraints | None:
        """The rules of a story that goes on from a prompt, None without any."""
        if not (how.ban or how.ban_letters or how.require or how.max_copy):
            return None
        from fabula.text import word_spans, words_of  # noqa: PLC0415

        banned = [words_of(phrase) for phrase in how.ban]
        for wanted in how.require:
            clash = next((phrase for phrase in banned if phrase and phrase == words_of(wanted)[: len(phrase)]), None)
            if clash or not set(how.ban_letters.casefold()).isdisjoint(wanted.casefold()):
                raise UsageError(f"require {reprlib.repr(wanted)} and a ban of it cannot both hold: leave one out")
        rules: list[Rule] = [Banned(banned)] if banned else []
        if how.max_copy is not None:
            if self.index is None:
                raise UsageError("max_copy needs the model's novelty.index, which is missing: train it again")
            rules.append(CopyGuard(self.index, how.max_copy))
        required = Required(self.tokenizer, how.require, words, spans=word_spans) if how.require else None
        constraints = Constraints(self.tokenizer, rules, letters=how.ban_letters, required=required, spans=word_spans)
        constraints.begin(prompt)
        return constraints

    def _tell(self, ids: list[int], tales: list[Tale]) -> Iterator[tuple[Tale, str]]:
        """Every unit of every story, side by side, as the text it adds (often none)."""
        window = self.settings.model.window
        opening = tales[0].window(window) if window else [self.tokenizer.end, *ids]
        scores, state = self._foretell([opening], self.engine.initial_state(1))
        rows, desk = [0] * len(tales), None  # all stories go on from the one prompt
        while True:
            for tale, row in zip(tales, rows, strict=True):
                yield tale, tale.go_on(self._mixed(tale, scores[row]))
            going = [place for place, tale in enumerate(tales) if not tale.over]
            if not going:
                return
            tales, rows = [tales[place] for place in going], [rows[place] for place in going]
            if window:
                scores, state = self._foretell([t.window(window) for t in tales], self.engine.initial_state(len(tales)))
            elif len(tales) == 1 and isinstance(self.engine, Engine):
                desk = desk or self.engine.alone(tuple(memory[rows] for memory in state))
                scores = desk.go_on(tales[0].latest)
            else:
                if len(rows) != len(scores):
                    state = tuple(memory[rows] for memory in state)
                scores, state = self.engine.step(np.array([tale.latest for tale in tales]), state)
            rows = list(range(len(tales)))

    def _mixed(self, tale: Tale, scores: Floats) -> Floats:
        """Log-probabilities (V,) after what a story has told so far."""
        if self.mixture is None:
            return scores
        return self.mixture.log_probabilities(scores, tale.window(self.mixture.span))

    def _foretell(self, units: list[list[int]], state: State) -> tuple[Floats, State]:
        """Read units (B, T) and say what comes after them: log-probabilities (B, V) and the new state."""
        read = np.array(units, np.int64)
        return self.engine.step(read[:, -1], self.engine.read(read[:, :-1], state))


def load(
    folder: str | Path, *, threads: int | None = None, mixture: Mixture | None = None, precision: str = "auto"
) -> Storyteller:
    """The storyteller of a model folder, alone or with a mixture (`fabula.baseline.fit_again`).

    With `precision` auto it writes in whole numbers (int8) where these were measured to cost next to nothing when the
    model was saved. Errors: FolderError; UsageError for a precision other than auto, fp32, int8.

    >>> load("my-model").write("had a general", words=32).text  # doctest: +SKIP
    """
    from fabula.folder import read_index, read_model  # noqa: PLC0415 - one made from weights in memory needs no folder

    model = read_model(folder)
    return Storyteller(
        model.settings, model.tokenizer, model.weights,
        threads=threads, mixture=mixture, index=lambda: read_index(folder),
        precision=choose_precision(precision, model.about),
    )  # fmt: skip
