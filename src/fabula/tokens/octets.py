"""The unit `bytes`: a text is its UTF-8, one id a byte; knows no vocabulary."""

from __future__ import annotations

import codecs
import functools
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

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

    def continuations(self, begun: bytes) -> NDArray[np.bool_]:
        """The bytes that can follow in UTF-8; a story ends only after whole characters."""
        return _continuations(begun)


@functools.lru_cache(maxsize=1 << 12)
def _continuations(begun: bytes) -> NDArray[np.bool_]:
    fits = np.array([*(_is_utf8(begun + last) for last in BYTES), not begun])
    fits.flags.writeable = False
    return fits


def _is_utf8(data: bytes) -> bool:
    """Whether a text can begin like this."""
    try:
        codecs.utf_8_decode(data, "strict", False)
    except UnicodeDecodeError:
        return False
    return data[:1] != b"\xed" or data[1:2] < b"\xa0"  # of half a surrogate pair codecs waits for the last byte
