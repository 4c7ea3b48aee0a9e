"""A table with a model at it: puts down what the writer says, tells on, finds other words; knows no terminal, no file.

Every word is drawn with random numbers of its own, that hang on the seed, on the story before it, and on how often the
model was asked there. So the same choices give the same story, however often one stops on the way.

Legend: V vocabulary, W words looked at side by side.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fabula.config import SamplingConfig
from fabula.endings import BEYOND, UNTIL, ends_sentence
from fabula.engine import Floats, State
from fabula.errors import UsageError
from fabula.novelty import Copied
from fabula.sampling import FAR, Filter, filters
from fabula.storyteller import Storyteller
from fabula.table.memory import Memory
from fabula.table.seams import Seams, wants_space
from fabula.table.search import Choice, likeliest
from fabula.table.tree import ROOT, Table
from fabula.tale import PATIENCE, UNHEARD, draw

STRETCHES = ("word", "sentence", "paragraph", "story")
"""How far the model goes on when it is let."""

NEAR = 64
"""Words of the story that decide where a sentence ends, and more than any ban spans."""


class Drawn(NamedTuple):
    """A word that the model would say."""

    text: str
    units: tuple[int, ...]
    nats: float
    before: State
    """The state before its last unit ..."""
    after: tuple[Floats, State]
    """... and what comes after that one."""
    over: bool
    """Whether the story ends with it."""


@dataclass(frozen=True)
class Copies:
    """What of the present story is copied."""

    share: float
    """Of the model's words in it, how many lie in a run of 4 or more that the training text has too."""
    longest: int
    """Words in the longest run, the writer's own included."""
    places: frozenset[int]
    """Places in the path whose words lie in such runs."""


class Desk:
    """A storyteller at a table; `sampling` may be changed at any time."""

    def __init__(self, teller: Storyteller, table: Table, sampling: SamplingConfig) -> None:
        if sampling.require:
            raise UsageError("words are required of a whole story: leave sampling.require to fabula write")
        self.teller, self.table, self.sampling = teller, table, sampling
        self.ended = False
        """Whether the model ended the story where it stopped last."""
        tokenizer = teller.tokenizer
        self._told: tuple[int, int] | None = None  # the words before and at the end of what the model told last
        self._seams = Seams(tokenizer)
        self._memory = Memory(teller.engine, table, end=tokenizer.end, window=teller.settings.model.window)
        self._keys = {ROOT: b""}
        teller.constraints(sampling, "", NEAR)  # what cannot be is said at once

    # --- putting down ----------------------------------------------------------------------------------------------

    def put_down(self, text: str) -> int:
        """Put words of one's own into the gap, the spaces at their end dropped; how many words they are.

        Errors: TextError; UnknownSymbolError for what the unit `symbols` cannot spell.
        """
        text, tokenizer, begins = text.rstrip(" \t"), self.teller.tokenizer, self.table.here == ROOT
        units = (tokenizer.encode_prompt(text) if begins else tokenizer.encode(text)).tolist() if text else []
        words = self._seams.part(units)
        if not words:
            return 0
        if begins and not (text[0] == " " and tokenizer.lossless):  # a space that only the spelling has
            words[0] = (words[0][0].removeprefix(" "), words[0][1])
        self.table.remember()
        for said, spelled in words:
            self.table.add(said, spelled, own=True)
        self.ended = False
        return len(words)

    def seam(self, text: str) -> str:
        """The space that belongs before a text of one's own: after what ends without one, where words have spaces."""
        return " " if wants_space(self.table.words[self.table.here].text, text) else ""

    # --- telling ---------------------------------------------------------------------------------------------------

    def tell(self, stretch: str = "sentence") -> Iterator[int]:
        """Let the model go on from the gap, word by word, by the numbers of the words; may be left at any time.

        Errors: UsageError for an unknown stretch.
        """
        if stretch not in STRETCHES:
            raise UsageError(f"how far must be one of {', '.join(STRETCHES)}, got {stretch!r:.40}")
        return self._tell(stretch)

    @property
    def offered(self) -> bool:
        """Whether what stands before the gap is what the model told last: it can be thrown away."""
        return self._told is not None and self._told[1] == self.table.here

    def throw_away(self) -> bool:
        """Back to where the model began to tell; False where nothing is offered. What it told stays as a branch."""
        if self._told is None or not self.offered:
            return False
        self.table.remember()
        self.table.visit(self._told[0])
        self.table.cut()
        self._told, self.ended = None, False
        return True

    def _tell(self, stretch: str) -> Iterator[int]:
        table, most = self.table, 1 if stretch == "word" else UNTIL.get(stretch, BEYOND)
        table.remember()
        chosen, told, tail, begun = filters(self.sampling), 0, table.tail(NEAR), table.here
        self.ended, self._told = False, None
        while told < most:
            drawn = self._draw(chosen)
            lead = drawn.text[: len(drawn.text) - len(drawn.text.lstrip())]
            if told and _is_complete(stretch, tail + lead):
                return
            if not drawn.units:  # all else is forbidden
                self.ended = True
                return
            table.words[table.here].asked += 1
            word = table.add(self._begun(drawn.text), drawn.units, nats=drawn.nats)
            self._memory.keep(word, drawn.before, drawn.after)
            told, tail = told + 1, (tail + drawn.text)[-NEAR * 8 :]
            self.ended, self._told = drawn.over, (begun, word)
            yield word
            if drawn.over:
                return

    def _draw(self, chosen: list[Filter]) -> Drawn:
        """The next word: units until one would begin another word, or end the story."""
        table, tokenizer, word = self.table, self.teller.tokenizer, self.table.words[self.table.here]
        rng = np.random.default_rng((self.sampling.seed, int.from_bytes(self._key(table.here)), word.asked))
        rules = self.teller.constraints(self.sampling, table.tail(NEAR + 2 * (self.sampling.max_copy or 0)), NEAR)
        scores, state = self._memory.after(table.here)
        history, units, text, rest, nats = table.units(FAR), list[int](), "", b"", 0.0
        before = state
        while len(units) < PATIENCE:
            left = scores if units else np.where(self._seams.may_follow(word.text), scores, -np.inf)
            allowed = rules.allows if rules else None
            unit = draw(left, history, chosen, rng, allowed, tokenizer=tokenizer, begun=rest)
            if units and not rest and (unit == tokenizer.end or self._seams.begins(text)[unit]):
                return Drawn(text, tuple(units), nats, before, (scores, state), unit == tokenizer.end)
            if unit == tokenizer.end:  # in the midst of a character, or where all else is forbidden
                break
            if rules:
                rules.take(unit)
            nats += min(-float(scores[unit]), UNHEARD)
            text, rest = self._seams.spell(text, rest, unit)
            units.append(unit)
            history.append(unit)
            before = state
            found, state = self._memory.step([unit], state)
            scores = found[0]
        return Drawn(text + rest.decode("utf-8", "replace"), tuple(units), nats, before, (scores, state), over=False)

    def _begun(self, text: str) -> str:
        """A word of the model as it reads in the gap: a story does not begin with the space that units bring."""
        return text.removeprefix(" ") or text if self.table.here == ROOT else text

    def _key(self, word: int) -> bytes:
        """A name for the story up to a word, by its units."""
        chain = list[int]()
        while word not in self._keys:
            chain.append(word)
            word = self.table.words[word].parent
        key = self._keys[word]
        for one in reversed(chain):
            spelled = np.array(self.table.words[one].units, np.int32).tobytes()
            key = self._keys[one] = hashlib.blake2b(key + spelled, digest_size=8).digest()
        return key

    # --- looking ---------------------------------------------------------------------------------------------------

    def nats(self, word: int) -> float:
        """How much a word of the table surprises the network, where it was not asked yet by asking it."""
        one = self.table.words[word]
        if one.nats is None:
            scores, state = self._memory.after(one.parent)
            before, total = state, 0.0
            for unit in one.units:
                total += min(-float(scores[unit]), UNHEARD)
                before = state
                found, state = self._memory.step([unit], state)
                scores = found[0]
            one.nats = total
            self._memory.keep(word, before, (scores, state))
            self.table.changes += 1
        return one.nats

    def choices(self, count: int = 9) -> list[Choice]:
        """The likeliest words for the gap, the likeliest first, and after them those that stood there already."""
        scores, state = self._memory.after(self.table.here)
        first, end = self._seams.may_follow(self.table.words[self.table.here].text), self.teller.tokenizer.end
        found = likeliest(self._memory.step, self._seams, scores, state, first=first, end=end, count=count)
        found = [choice._replace(text=self._begun(choice.text)) for choice in found]
        known = {choice.text for choice in found}
        for child in self.table.words[self.table.here].children:
            word = self.table.words[child]
            if word.text not in known:
                found.append(Choice(word.text, word.units, math.exp(-self.nats(child))))
                known.add(word.text)
        return found

    def take(self, choice: Choice) -> None:
        """Put one of the choices into the gap, and step over it; where it stood before, its story follows."""
        self.table.remember()
        self.ended = False
        children = self.table.words[self.table.here].children
        old = next((child for child in children if self.table.words[child].text == choice.text), None)
        if old is not None:
            self.table.visit(old)
        else:
            self.table.add(choice.text, choice.units)
            self.nats(self.table.here)

    def copied(self) -> Copies | None:
        """What of the present story is copied; None where nobody knows."""
        from fabula.text import word_spans  # noqa: PLC0415 - the room of texts takes a while to open

        if self.teller.index is None:
            return None
        words = [self.table.words[word] for word in self.table.path]
        ends = np.cumsum([len(word.text) for word in words])
        spans = list(word_spans("".join(word.text for word in words)))
        found: Copied = self.teller.index.copied([word for _, _, word in spans])
        places = np.searchsorted(ends, [start for start, _, _ in spans], side="right")  # (n,) in the path
        inside, marked = np.zeros(len(spans), np.bool_), set[int]()
        for run in found.runs:
            inside[run.start : run.start + run.length] = True
            marked.update(range(int(places[run.start]), int(places[run.start + run.length - 1]) + 1))
        told = np.array([not words[place].own for place in places], np.bool_)
        share = float(inside[told].mean()) if told.any() else 0.0
        return Copies(share, found.longest, frozenset(marked))


def _is_complete(stretch: str, text: str) -> bool:
    """Whether a text, with the white space before its next word, ends as far as was asked."""
    if stretch == "paragraph":
        return text[len(text.rstrip()) :].count("\n") >= 2
    return stretch == "sentence" and ends_sentence(text)
