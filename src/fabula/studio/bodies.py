"""What the page may send to the studio; knows no model and does nothing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fabula.serve.bodies import Body

Line = Annotated[str, Field(max_length=200)]
Long = Annotated[str, Field(max_length=1 << 20)]
Place = Annotated[int, Field(ge=0, lt=2**31)]


class NewDraft(Body):
    """A draft to begin."""

    model: Line
    title: Line = ""


class Settings(Body):
    """How a draft is told on; held to their bounds where settings are."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    no_repeat: int | None = None
    dry: float | None = None
    max_copy: int | None = None
    ban: Annotated[list[Line], Field(max_length=100)] | None = None
    ban_letters: Line | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class Edit(Body):
    """What of a draft is to change."""

    title: Line | None = None
    model: Line | None = None
    settings: Settings | None = None


class Act(Body):
    """Something done at the table; each act takes some of these."""

    act: Literal["put", "move", "keep", "throw", "cut", "take", "turn", "visit", "undo", "redo", "mark", "unmark"]
    text: Long | None = None
    place: Place | None = None
    stretch: Literal["word", "sentence", "paragraph", "all"] | None = None
    units: Annotated[list[Place], Field(max_length=64)] | None = None
    step: Literal[1, -1] | None = None
    word: Place | None = None
    name: Line | None = None


class Tell(Body):
    """How far to go on."""

    stretch: Literal["word", "sentence", "paragraph", "story"] = "sentence"
    again: bool = False


class Inside(Body):
    """What to watch the network at."""

    text: Long
    layer: Annotated[int, Field(ge=0, lt=100)] = 0
    of: Line | None = None


class Lesson(Body):
    """What to learn."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    texts: Annotated[list[Line], Field(min_length=1, max_length=100)]
    time: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}[smh]$")] = "60s"
    unit: Literal["symbols", "words", "subwords", "chars", "bytes"] | None = None
    size: Literal["tiny", "small", "medium", "large"] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None


class Ticket(Body):
    """What to open without the key."""

    path: Annotated[str, Field(pattern=r"^/studio/[^?#]{1,300}$")]
