"""The one contract of all units, and what they share; knows no unit by name."""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fabula.errors import TextError

Ids = NDArray[np.int32]
BYTES = tuple(bytes([value]) for value in range(256))
"""What the 256 byte ids spell, with which a unit writes what it has never seen."""

SHORT = 20_000
"""A text of fewer characters is learned by heart: every unit in it is known."""


class Tokenizer(ABC):
    """Text to ids and back. Ids are 0 .. size-1; the last one, `end`, marks the end of a story and spells nothing.

    A unit hands over what its other ids spell, in order, and says how a text is encoded.
    """

    unit: ClassVar[str]
    """Name in `UNITS`."""

    lossless: ClassVar[bool] = True
    """True when `decode(encode(text)) == text` for every text."""

    def __init__(self, spellings: Iterable[bytes]) -> None:
        self._spellings = (*spellings, b"")
        self.size = len(self._spellings)
        """Number of ids, `end` included."""
        self.end = self.size - 1
        """The id that marks the end of a story: the last."""

    @classmethod
    @abstractmethod
    def learn(cls, texts: Sequence[str], vocabulary: int | None) -> Self:
        """The unit with a vocabulary drawn from `texts`; `vocabulary` is the greatest `size` allowed."""

    @classmethod
    @abstractmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """The unit as `to_json` wrote it; errors: FolderError for anything else."""

    @abstractmethod
    def to_json(self) -> dict[str, object]:
        """What `tokenizer.json` holds: `{"unit": ..., ...}`; read back by `from_json`."""

    @abstractmethod
    def encode(self, text: str) -> Ids:
        """Ids of a text, shape (n,); never contains `end`; errors: TextError for lone surrogates."""

    def encode_many(self, texts: Sequence[str]) -> list[Ids]:
        """Ids of many texts, on all cores where the unit can."""
        return [self.encode(text) for text in texts]

    def encode_prompt(self, text: str) -> Ids:
        """Ids of the beginning of a story that is to be continued.

        `words` and `subwords` keep a word's space in front of it. There the spaces that end a prompt are dropped, for
        the next word brings its own, and the first word takes the spelling with a space if only that one is known.
        """
        return self.encode(text)

    def fits(self, begun: bytes, token: int) -> bool:
        """Whether an id may follow the bytes of a character that has begun; a story ends only after whole ones."""
        spelled = self._spellings[token]
        if spelled.isascii():
            return not begun
        return _is_utf8(begun + spelled)

    def continuations(self, begun: bytes) -> NDArray[np.bool_]:
        """Which ids (size,) may do so."""
        return np.fromiter((self.fits(begun, token) for token in range(self.size)), np.bool_, self.size)

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """The text of some ids; bytes that are not UTF-8 become U+FFFD."""
        tokens = ids.tolist() if isinstance(ids, np.ndarray) else ids
        text = self.spelled(tokens).decode("utf-8", "replace")
        return text if self.lossless else text.removeprefix(" ")

    def spelling(self, token: int) -> bytes:
        """The bytes one id stands for. Joined, the spellings of an encoded text are its UTF-8 (lossless units)."""
        return self._spellings[token]

    def spelled(self, ids: Iterable[int]) -> bytes:
        """The bytes of some ids."""
        return b"".join(map(self._spellings.__getitem__, ids))


def _is_utf8(data: bytes) -> bool:
    """Whether a text can begin like this."""
    try:
        _, used = codecs.utf_8_decode(data, "strict", False)
    except UnicodeDecodeError:
        return False
    return data[used : used + 1] != b"\xed" or data[used + 1 : used + 2] < b"\xa0"  # no half of a surrogate pair


def utf8(text: str) -> bytes:
    """The UTF-8 of a text; errors: TextError where half a surrogate pair stands alone, which no encoding can hold."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise TextError(
            f"text must be Unicode, got the lone surrogate U+{code:04X} at character {error.start}: "
            "remove it or read the text with its right encoding"
        ) from None


def least_count(texts: Iterable[str]) -> int:
    """How often a unit must be seen to be known: once where the text is learned by heart, twice in a longer one.

    What is seen once teaches nothing by its own id; spelled in smaller units, it teaches how the unknown is spelled.
    """
    total = 0
    for text in texts:
        total += len(text)
        if total >= SHORT:
            return 2
    return 1
