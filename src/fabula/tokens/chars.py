"""The unit `chars`: one id a character, by falling frequency; unseen characters are spelled in bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from fabula.tokens.contract import BYTES, Ids, Tokenizer, least_count, utf8
from fabula.tokens.fields import check_keys, check_texts, refuse

UNICODE = 0x110000
PART = 1 << 16
"""Characters looked up at once: small enough for the cache, and most parts hold nothing unseen."""


class Chars(Tokenizer):
    """The characters (code points) of the training text, then the 256 bytes.

    >>> Chars("ab").encode("baß").tolist()  # ß is C3 9F
    [1, 0, 197, 161]
    """

    unit = "chars"

    def __init__(self, characters: str) -> None:
        super().__init__((*map(str.encode, characters), *BYTES))
        self._characters = characters
        self._table = np.full(UNICODE, -1, np.int32)
        self._table[_code_points(characters)] = np.arange(len(characters))

    @classmethod
    def learn(cls, texts: Sequence[str], vocabulary: int | None) -> Self:
        """The characters of `texts`, the most frequent first, ties by first appearance."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text)
        least = least_count(texts)
        room = None if vocabulary is None else max(0, vocabulary - len(BYTES) - 1)
        return cls("".join(character for character, n in counts.most_common(room) if n >= least))

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """The unit as `to_json` wrote it."""
        check_keys(data, "characters")
        characters = data["characters"]
        if not isinstance(characters, str):
            refuse("field characters must be a text", type(characters).__name__)
        return cls("".join(check_texts("characters", characters)))

    def to_json(self) -> dict[str, object]:
        """The characters, in the order of their ids."""
        return {"unit": self.unit, "characters": self._characters}

    def encode(self, text: str) -> Ids:
        """One id a known character, one to four byte ids any other."""
        utf8(text)
        parts = [self._encode_part(text[start : start + PART]) for start in range(0, max(1, len(text)), PART)]
        return np.concatenate(parts)

    def _encode_part(self, text: str) -> Ids:
        codes = _code_points(text)
        ids = self._table[codes]
        unseen = ids < 0
        if not unseen.any():
            return ids
        lengths = np.where(unseen, 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000), 1)
        spelled = np.repeat(unseen, lengths)  # (n,) -> one entry an id
        out = np.empty(len(spelled), np.int32)
        out[~spelled] = ids[~unseen]
        rest = codes[unseen].astype("<u4").tobytes().decode("utf-32-le")
        out[spelled] = np.frombuffer(rest.encode(), np.uint8)
        out[spelled] += len(self._characters)
        return out


def _code_points(text: str) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """The code points of a text, shape (n,)."""
    return np.frombuffer(text.encode("utf-32-le"), "<u4")
