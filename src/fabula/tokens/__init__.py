"""The units a text is split into: one contract, one file a unit; knows nothing of stories, files or networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]


class Tokenizer(Protocol):
    """Text to ids and back. Ids are 0 .. size-1; the last one, `end`, marks the end of a story and spells nothing."""

    unit: str
    """Name in `UNITS`."""

    lossless: bool
    """True when `decode(encode(text)) == text` for every text."""

    @property
    def size(self) -> int:
        """Number of ids, `end` included."""
        ...

    @property
    def end(self) -> int:
        """The id that marks the end of a story: `size - 1`."""
        ...

    def encode(self, text: str) -> Ids:
        """Ids of a text, shape (n,); never contains `end`."""
        ...

    def encode_many(self, texts: Sequence[str]) -> list[Ids]:
        """Ids of many texts, on all cores where the unit can."""
        ...

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """The text of some ids; bytes that are not UTF-8 become U+FFFD."""
        ...

    def spelling(self, token: int) -> bytes:
        """The bytes one id stands for. Joined, the spellings of an encoded text are its UTF-8 (lossless units)."""
        ...

    def to_json(self) -> dict[str, object]:
        """What `tokenizer.json` holds: `{"unit": ..., ...}`; read back by `from_json`."""
        ...
