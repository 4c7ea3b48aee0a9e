"""One story while it is told: log-probabilities in, pieces of text out; knows no network and no neighbours.

Legend: V vocabulary.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fabula.constraints import Constraints
from fabula.endings import Ending
from fabula.engine import Floats
from fabula.sampling import Filter, History, Scores, choose
from fabula.tokens import Decoder, Tokenizer

PATIENCE = 64
"""Units spent on each word asked for, at most: endless white space, or a word without end, must come to an end."""

UNHEARD = 100.0
"""Most nats of a unit: the network ruled it out, and a constraint made it come."""


RECENT = 2048
"""Units that a story which is gone on with elsewhere looks back to; what looks back farther sees these alone."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a story stands: with what the network remembers before `latest` it is gone on with anywhere."""

    latest: int
    """The last unit that was told, an end mark perhaps."""
    recent: tuple[int, ...]
    """The last units, those of the prompt included, end marks left out; `RECENT` at most."""
    first: int
    """Place among them where the present story begins."""
    told: int
    """How many of them were told; the others are of the prompt."""
    chance: tuple[int, int]
    """State and increment of the random generator (PCG64)."""
    held: str
    """What was told and not shown: it comes before all that follows."""


class Tale:
    """One story while it is told: fed with the log-probabilities after `latest` until it is `over`.

    `budget` is the most units it may have; by default so many that only a story without an end meets it.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt: list[int],
        *,
        filters: list[Filter],
        rng: np.random.Generator,
        ending: Ending,
        exact: bool,
        seam: bool,
        constraints: Constraints | None,
        budget: int | None = None,
    ) -> None:
        self.over, self.nats = False, 0.0
        self.said = ""
        """What the latest unit says, whether it may be shown yet or not."""
        self.broken = False
        """Whether it ended because it had no more units to spend."""
        self.held = ""
        """What was told and is not shown yet, or never will be."""
        self.begun = False
        """Whether it has a unit of its own."""
        self._lead = ""  # of it what the ending has not seen
        self._constraints, self._queue = constraints, list[int]()
        self.latest = tokenizer.end
        self._tokenizer, self._filters, self._rng, self._ending = tokenizer, filters, rng, ending
        self._history, self._given = array("i", prompt), len(prompt)
        self._first = 0  # place in the history where the present story begins
        self._exact, self._seam = exact, seam
        self._budget = budget or PATIENCE * ending.most
        self._decoder = Decoder(tokenizer)
        for token in prompt[-1:]:  # which ends a character, and sets what follows apart from a story's beginning
            self._decoder.feed(token)

    def go_on(self, scores: Floats) -> str:
        """Choose the next unit by its log-probabilities (V,); the text that may be shown now."""
        self.latest, self.begun = self._choose(scores), True
        self.nats += min(-float(scores[self.latest]), UNHEARD)
        if self._constraints:
            self._constraints.take(self.latest)
            if self._constraints.requires:
                self._ending.may_be_early = not self._constraints.owes_words
        self._budget -= 1
        spent, done = self._budget <= 0, self._budget <= 0
        if self.latest == self._tokenizer.end:
            spent = spent and self._exact and not self._ending.full
            done = done or self._ending.full or not self._exact
            self.said = self._decoder.flush() if done else self._decoder.flush() + "\n\n"
            self._decoder, self._first = Decoder(self._tokenizer), len(self._history)
        else:
            self._history.append(self.latest)
            self.said = self._decoder.feed(self.latest)
            if self._seam:
                self.said, self._seam = self.said.removeprefix(" "), False
        self.held += self.said
        shown, self._lead = self._ending.feed(self._lead + self.said), ""
        self.broken = spent and not self._ending.over
        if done and not self._ending.over:
            shown += self._ending.rest(broken=self._budget <= 0)
        self.over = done or self._ending.over
        self.held = self.held[len(shown) :] + ("\n\n" if self.broken and self.latest == self._tokenizer.end else "")
        return shown

    def _choose(self, scores: Floats) -> int:
        """The next unit; a story that has just begun, or just been taken up, does not end at once."""
        tokenizer = self._tokenizer
        if self.latest == tokenizer.end:
            scores = scores.copy()
            scores[tokenizer.end] = -np.inf
        if self._seam:
            spaced = [tokenizer.spelling(token).startswith(b" ") for token in range(tokenizer.size)]
            scores = np.where(spaced, scores, -np.inf) if any(spaced) else scores
        rules = self._constraints
        if not self._queue:
            drawn = draw(
                scores, self._history, self._filters, self._rng, rules.allows if rules else None,
                tokenizer=tokenizer, begun=self._decoder.begun,
            )  # fmt: skip
            if rules and rules.requires:
                self._queue = rules.instead(drawn, scores, self._ending.count)
            if not self._queue:
                return drawn
        return self._queue.pop(0)

    @property
    def place(self) -> Place:
        """Where it stands; errors: ValueError where its chance is no PCG64."""
        chance = dict(self._rng.bit_generator.state)
        if chance["bit_generator"] != "PCG64":
            raise ValueError(f"expected PCG64, got {chance['bit_generator']}")
        gone = max(0, len(self._history) - RECENT)
        return Place(
            latest=self.latest, recent=tuple(self._history[gone:]), first=max(0, self._first - gone),
            told=min(RECENT, len(self._history) - self._given),
            chance=(chance["state"]["state"], chance["state"]["inc"]),
            held=self.held if self._ending.behind is None else self._ending.behind,
        )  # fmt: skip

    def resume(self, place: Place) -> None:
        """Go on from there, nothing being told yet: all that comes is what would have come there."""
        self.latest, self._history, self._first = place.latest, array("i", place.recent), place.first
        self._given, self._seam, self.held, self._lead = len(place.recent) - place.told, False, place.held, place.held
        state, increment = place.chance
        self._rng.bit_generator.state = {
            "bit_generator": "PCG64", "state": {"state": state, "inc": increment}, "has_uint32": 0, "uinteger": 0,
        }  # fmt: skip
        before = self._tokenizer.decode(place.recent[: place.first]) + "\n\n" if place.first else ""
        self._decoder = Decoder(self._tokenizer)
        present = "".join(map(self._decoder.feed, place.recent[place.first :]))
        if self._constraints:
            self._constraints.begin(before + present, self._decoder.begun)

    def window(self, size: int) -> list[int]:
        """The last `size` units of the present story, after end marks where it has not so many."""
        units = self._history[max(self._first, len(self._history) - size) :].tolist()
        return [self._tokenizer.end] * (size - len(units)) + units


def draw(
    scores: Scores,
    history: History,
    filters: Sequence[Filter],
    rng: np.random.Generator,
    allowed: Callable[[int], bool] | None,
    *,
    tokenizer: Tokenizer,
    begun: bytes,
) -> int:
    """The next unit, as `fabula.sampling.choose` draws it from log-probabilities (V,); it breaks no character.

    One that does not fit the bytes of a character that has begun is drawn again without all that do not.
    """
    drawn = choose(scores, history, filters, rng, allowed)
    if tokenizer.fits(begun, drawn):
        return drawn
    fits = tokenizer.continuations(begun)
    return choose(np.where(fits, scores, -np.inf), history, filters, rng, allowed) if fits.any() else drawn
