"""Drafts from both sides, joined where the two models agree best; knows no terminal, no torch and no file's layout.

One model tells on from the prompt, the other tells back from the end, and each judges what the other told.

Legend: L places where a draft from the prompt may be cut, R those of one from the end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fabula.config import SamplingConfig
from fabula.errors import UsageError
from fabula.meeting import sides
from fabula.meeting.drafts import Draft, Heard, Voice, draw
from fabula.meeting.rules import FromEnd, Rules, copies
from fabula.meeting.sides import Nats, Side
from fabula.meeting.wish import Wish, space_before, wish
from fabula.novelty import Copied
from fabula.rounding import choose as choose_precision
from fabula.sampling import filters
from fabula.storyteller import Storyteller

TRIED = 4000
"""Ways to join two drafts that are held against the rules at most, the best first."""

SHORTLIST = 64
"""Ways that are judged by all their units."""

NONE = "no way to the end keeps to all that is asked for: give more --words, another --seed, or fewer rules"

CONTEXT = 64
"""Units of prompt and end that are judged too: what stands before and after must fit."""


@dataclass(frozen=True, kw_only=True)
class Joined:
    """A story that ends as it was to end: `prompt + text + end`."""

    text: str
    """What was written between; all reads on without a seam."""
    prompt: str
    end: str
    seam: int
    """Characters of `text` that were told from the prompt; the others were told from the end."""
    tokens: int
    """Units written."""
    seconds: float
    nats_per_token: float
    """How surprising the model finds its units, and those that the end begins with."""
    backward_nats_per_token: float
    """How surprising the one that reads from the end finds them, and those that the prompt ends with."""
    copied: Copied | None = None
    """What of `text` is copied, by runs that may begin in the prompt and go on in the end; None without an index."""

    def to_json(self) -> dict[str, Any]:
        """What `fabula write --end --json` prints."""
        found = self.copied
        return {
            "text": self.text,
            "prompt": self.prompt,
            "end": self.end,
            "seam": self.seam,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 4),
            "copied_4": found.share if found else None,
            "copied_8": found.long_share if found else None,
            "longest_copy": found.longest if found else None,
            "nats_per_token": round(self.nats_per_token, 4),
            "backward_nats_per_token": round(self.backward_nats_per_token, 4),
        }


class Meeting:
    """Two models of the same units, the second of which reads from the end."""

    def __init__(self, forward: Storyteller, backward: Storyteller) -> None:
        self.forward, self.backward, self.settings = forward, backward, forward.settings
        self._on, self._back = Voice(forward), Voice(backward)
        self.precision = forward.precision

    def write(
        self, prompt: str, end: str, *, words: int | None = None, sampling: SamplingConfig | None = None, story: int = 0
    ) -> Joined:
        """About so many words between a prompt and an end.

        Another `story` number tells another story with the same seed.
        Errors: UsageError, TextError; UnknownSymbolError for what the unit `symbols` cannot spell.
        """
        began, how = time.perf_counter(), sampling or self.settings.sampling
        asked = wish(self.forward.tokenizer, prompt, end, words=words, how=how, story=story)
        rules = Rules(how, prompt=prompt, end=asked.space + end, index=self.forward.index if how.max_copy else None)
        on, back = self._on.begin(asked.given), self._back.begin(asked.closing[::-1])
        left, right = self._draft(asked, rules, on, back)
        place, other, nats = _join(asked, rules, (left, on), (right, back))
        told, untold = _texts(asked, left, right, place, other)
        text, index = told + untold, self.forward.index
        return Joined(
            text=text, prompt=prompt, end=end, seam=len(told), tokens=len(left.units(place)) + len(right.units(other)),
            seconds=time.perf_counter() - began, nats_per_token=nats[0], backward_nats_per_token=nats[1],
            copied=copies(index, prompt, text, end) if index else None,
        )  # fmt: skip

    def _draft(self, asked: Wish, rules: Rules, on: Heard, back: Heard) -> tuple[Side, Side]:
        """What both models tell."""
        how, tokenizer, keep = asked.how, asked.tokenizer, filters(asked.how)
        drafts, turned = ([Draft(tokenizer, way) for _ in range(asked.drafts)] for way in (False, True))
        spaced = np.array([tokenizer.spelling(unit).startswith(b" ") for unit in range(tokenizer.size)])
        draw(
            self._on, on, drafts, given=asked.given, words=asked.words, filters=keep, rngs=asked.rngs(0),
            guides=[self.forward.constraints(how, asked.prompt, max(1, asked.words // 2)) for _ in drafts],
            first=spaced if asked.drops_space and spaced.any() else None,
        )  # fmt: skip
        draw(
            self._back, back, turned, given=asked.closing[::-1], words=asked.words, filters=keep, rngs=asked.rngs(1),
            guides=[FromEnd(rules, draft) for draft in turned],
        )  # fmt: skip
        return sides.left(self._on, drafts), sides.right(self._back, turned, asked.closing[0])


def _join(
    asked: Wish, rules: Rules, one: tuple[Side, Heard], two: tuple[Side, Heard]
) -> tuple[int, int, tuple[float, float]]:
    """The best way to join two drafts: a place of each side, and the nats for each unit that both models need.

    Every way is judged by what the drafts cost the models that told them and by the two units at the seam, then a
    shortlist by all that the model thinks of it, what was told from the end and the end included (docs/log.md).
    Errors: UsageError where nothing keeps to the rules.
    """
    (left, on), (right, back) = one, two
    if not left.places:
        raise UsageError(NONE)
    read_on, read_back = left.read(on, right), right.read(back, left)
    after, before = left.scores(read_on, right), right.scores(read_back, left).T  # (L, R) twice
    own = 2 * (read_on.nats[left.rows][:, None] + read_back.nats[right.rows])
    costs = (own - after - before) / (left.rows[1][:, None] + right.rows[1])
    found = _shortlist(asked, rules, left, right, costs)
    if not found:
        raise UsageError(NONE)
    places, others = (list(row) for row in zip(*found, strict=True))
    then = [right.units(other)[::-1] + asked.closing[:CONTEXT] for other in others]
    forward = left.nats(read_on, places, then, after[places, others])
    best = int(np.argmin(forward))
    place, other = found[best]
    first = left.units(place)[::-1] + asked.given[::-1][:CONTEXT]
    backward = right.nats(read_back, [other], [first], before[[place], [other]])
    return place, other, (float(forward[best]), float(backward[0]))


def _shortlist(asked: Wish, rules: Rules, left: Side, right: Side, costs: Nats) -> list[tuple[int, int]]:
    """Ways to join two drafts that are about as long as they should be and keep to the rules, by rising `costs`."""
    fits = np.abs(left.words[:, None] + right.words - asked.words) <= asked.leeway  # (L, R)
    said, added = (np.array([rules.says(cut.text) for _, cut in side.places], bool) for side in (left, right))
    fits &= (said[:, None] | added).all(axis=-1)
    order = np.argsort(np.where(fits, costs, np.inf), axis=None, kind="stable")
    found = list[tuple[int, int]]()
    for number in order[: min(TRIED, int(fits.sum()))].tolist():
        place, other = divmod(number, costs.shape[1])
        if asked.repeats(left.units(place) + right.units(other)[::-1]):
            continue
        if rules.hold("".join(_texts(asked, left, right, place, other))):
            found.append((place, other))
        if len(found) == SHORTLIST:
            break
    return found


def _texts(asked: Wish, left: Side, right: Side, place: int, other: int) -> tuple[str, str]:
    """What two drafts say that are joined."""
    told = left.places[place][1].text
    if asked.drops_space or not (asked.given or asked.tokenizer.lossless):
        told = told.removeprefix(" ")
    return told, right.places[other][1].text + asked.space


def load(folder: str | Path, *, threads: int | None = None, precision: str = "auto") -> Meeting:
    """Both models of a folder that `fabula train --both-ways` made, at one precision; errors: FolderError."""
    from fabula.folder import read_backward  # noqa: PLC0415 - two made from weights in memory need no folder
    from fabula.storyteller import load as load_forward  # noqa: PLC0415

    model = read_backward(folder)
    wish = precision if choose_precision(precision, model.about) == "int8" else "fp32"
    forward = load_forward(folder, threads=threads, precision=wish)
    backward = Storyteller(model.settings, model.tokenizer, model.weights, threads=threads, precision=forward.precision)
    return Meeting(forward, backward)


def tell_backwards(teller: Storyteller, end: str, *, words: int, sampling: SamplingConfig) -> str:
    """What a model that reads from the end tells before it, with the end."""
    space, tokenizer, voice = space_before(end), teller.tokenizer, Voice(teller)
    turned, draft = tokenizer.encode(space + end).tolist()[::-1], Draft(tokenizer, backward=True)
    draw(
        voice, voice.begin(turned), [draft], given=turned, words=words, filters=filters(sampling),
        rngs=[np.random.default_rng(sampling.seed)], guides=[None],
    )  # fmt: skip
    told = draft.cuts[-1].text if draft.cuts else draft.text
    return told.lstrip() + space + end
