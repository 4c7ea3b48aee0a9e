"""The unit `bytes`: a text is its UTF-8, one id a byte; knows no vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from fabula.tokens.contract import BYTES, Ids, Tokenizer, utf8
from fabula.tokens.fields import check_keys


class Bytes(Tokenizer):
    """The UTF-8 bytes of a text.

    >>> Bytes().encode("né").tolist()
    [110, 195, 169]
    """

    unit = "bytes"

    def __init__(self) -> None:
        super().__init__(BYTES)

    @classmethod
    def learn(cls, texts: Sequence[str], vocabulary: int | None) -> Self:  # noqa: ARG003
        """There is nothing to learn: the vocabulary is always 256 bytes and `end`."""
        return cls()

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """The unit as `to_json` wrote it."""
        check_keys(data)
        return cls()

    def to_json(self) -> dict[str, object]:
        """Only the name."""
        return {"unit": self.unit}

    def encode(self, text: str) -> Ids:
        """One id a byte."""
        return np.frombuffer(utf8(text), np.uint8).astype(np.int32)
