"""Where a story stands as a sealed text, with which it is gone on with on any server that has the key; knows no HTTP.

    base64url( version 1 | model 16 | head | memory | recent units | held text | HMAC-SHA256 32 )

Sealed, not hidden: whoever has one can read the last units of the story and what the network remembers. Nothing of a
text is believed before its seal is found whole, and no size in it before it is found to be right.

Legend: H hidden units.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import struct
from dataclasses import dataclass

import numpy as np

from fabula.engine import State
from fabula.serve.limits import STATE
from fabula.serve.refusals import Refusal
from fabula.storyteller import Storyteller
from fabula.tale import RECENT, Place

VERSION = 1
"""Of the form; another when a state means something else."""

HELD = 1 << 14
"""Most bytes of a text that is held back."""

_SEAL = hashlib.sha256().digest_size
_NAME = 16
_HEAD = struct.Struct("<IHHHI16s16s")
"""Latest unit, recent units, first of the present story, told units, bytes held back, the generator's two numbers."""


@dataclass(frozen=True)
class Kept:
    """A story's place, and what the network remembers before its latest unit: (1, H) each."""

    place: Place
    memory: State


class Sealer:
    """Seals and opens the states of one model; servers with the same model and key open one another's."""

    def __init__(self, key: bytes, model: str, teller: Storyteller) -> None:
        """`model` is the fingerprint of its folder."""
        self._key = key
        self._model = hashlib.sha256(f"{model} {teller.precision}".encode()).digest()[:_NAME]
        self._size, window = teller.tokenizer.size, teller.settings.model.window
        state = () if window else teller.engine.initial_state(1)
        self._shapes: list[tuple[int, ...]] = [memory.shape for memory in state]
        self._unit = np.dtype("<u2" if self._size <= 1 << 16 else "<u4")
        self._fixed = 1 + _NAME + _HEAD.size + 4 * sum(math.prod(shape) for shape in self._shapes)
        longest = self._fixed + RECENT * self._unit.itemsize + HELD + _SEAL
        self.fits = (4 * longest + 2) // 3 <= STATE
        """Whether what this network remembers is small enough to be sent."""

    def seal(self, kept: Kept) -> str | None:
        """As a text; None where too much is held back."""
        place, held = kept.place, kept.place.held.encode("utf-8", "replace")
        if len(held) > HELD:
            return None
        head = _HEAD.pack(
            place.latest, len(place.recent), place.first, place.told, len(held),
            *(number.to_bytes(16, "little") for number in place.chance),
        )  # fmt: skip
        memory = b"".join(np.ascontiguousarray(one, "<f4").tobytes() for one in (kept.memory if self._shapes else ()))
        body = bytes([VERSION]) + self._model + head + memory + np.array(place.recent, self._unit).tobytes() + held
        return base64.urlsafe_b64encode(body + self._mac(body)).rstrip(b"=").decode()

    def open(self, text: str) -> Kept:
        """What was sealed. Errors: Refusal for a text that is none of ours, or is not of this model."""
        data = _decoded(text)
        if data[:1] != bytes([VERSION]):
            raise _refused("state is of another version of fabula: begin again from the text")
        body, seal = data[:-_SEAL], data[-_SEAL:]
        if not hmac.compare_digest(self._mac(body), seal):
            raise _damaged()
        if body[1 : 1 + _NAME] != self._model:
            raise _refused("state is of another model, or of another precision: begin again from the text")
        if len(body) < self._fixed:
            raise _damaged()
        latest, recent, first, told, held, *chance = _HEAD.unpack_from(body, 1 + _NAME)
        units = recent * self._unit.itemsize
        right = recent <= RECENT and held <= HELD and len(body) == self._fixed + units + held
        if not (right and first <= recent and told <= recent and latest < self._size):
            raise _damaged()
        memory, start = list[np.ndarray](), 1 + _NAME + _HEAD.size
        for shape in self._shapes:
            memory.append(np.frombuffer(body, "<f4", math.prod(shape), start).reshape(shape).astype(np.float32))
            start += 4 * math.prod(shape)
        spelled = np.frombuffer(body, self._unit, recent, start).tolist()
        if max(spelled, default=0) >= self._size or not all(np.isfinite(one).all() for one in memory):
            raise _damaged()
        return Kept(
            Place(
                latest=latest, recent=tuple(spelled), first=first, told=told,
                chance=(int.from_bytes(chance[0], "little"), int.from_bytes(chance[1], "little")),
                held=body[start + units :].decode("utf-8", "replace"),
            ),
            tuple(memory),
        )  # fmt: skip

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, b"fabula state\0" + body, "sha256")


def _decoded(text: str) -> bytes:
    """The bytes of base64url, which must be its only spelling. Errors: Refusal."""
    if len(text) > STATE:
        raise _refused(f"state must have at most {STATE:,} characters, got {len(text):,}")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise _damaged() from None
    if len(data) < 1 + _NAME + _HEAD.size + _SEAL or base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise _damaged()
    return data


def _damaged() -> Refusal:
    return _refused("state is damaged, or was sealed with another key: begin again from the text")


def _refused(message: str) -> Refusal:
    return Refusal(400, message, param="state", code="invalid_state")
