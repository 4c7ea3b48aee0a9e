"""How `words` and `subwords` cut a text into pieces, a word with the space before it; knows no vocabulary.

The pieces of a text, joined, are the text: the pattern matches every character there is.
"""

from __future__ import annotations

import itertools
import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fabula.tokens.contract import Ids, Tokenizer, utf8

if TYPE_CHECKING:
    import tokenizers
    from tokenizers.pre_tokenizers import PreTokenizer

SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai and Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana and iteration marks
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Scripts written without spaces between words, as ranges for a pattern."""

PATTERN = "|".join(
    (
        r"(?:\r?\n){1,2}",
        rf"[{SPACELESS}]+",
        r" ?\p{N}+",
        rf" ?[\p{{L}}\p{{M}}&&[^{SPACELESS}]]+(?:['’][\p{{L}}&&[^{SPACELESS}]]+)*",
        r" ?[^\s\p{L}\p{N}]",
        r"\s",
    )
)
"""Line ends, runs of a spaceless script, numbers, words with their apostrophes, one mark, one white space."""

CHUNK = 8_192
"""Characters worked on at once: the library's time for one text grows faster than the text."""

LONGEST = 4 * CHUNK
"""Characters without an end of a piece: no language has so many, and the library's time for one piece is quadratic."""

_SAFE = re.compile(r"[.,;!?。，]|\n(?![\r\n])")
"""What always ends a piece, so that a text cut after it has the same pieces."""

_BATCH = 1_024
"""Chunks encoded at once; bounds the memory between the library's results and our arrays."""


def splitter() -> PreTokenizer:
    """The pattern at work."""
    from tokenizers import Regex, pre_tokenizers  # noqa: PLC0415

    return pre_tokenizers.Split(Regex(PATTERN), "isolated")


def chunks(text: str) -> Iterator[str]:
    """The text in parts of about `CHUNK` characters, cut where pieces end, and at `LONGEST` where none ends."""
    start = 0
    while len(text) - start > CHUNK:
        safe = _SAFE.search(text, start + CHUNK, start + LONGEST)
        end = safe.end() if safe else start + LONGEST
        yield text[start:end]
        start = end
    yield text[start:]


def _joined(parts: Sequence[Ids]) -> Ids:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


class PieceTokenizer(Tokenizer):
    """A unit whose pieces are encoded by a model of the tokenizers library, on all cores."""

    def __init__(self, spellings: Iterable[bytes], model: tokenizers.Tokenizer) -> None:
        super().__init__(spellings)
        self._model = model

    def encode(self, text: str) -> Ids:
        """Ids of a text, shape (n,)."""
        return self.encode_many([text])[0]

    def encode_many(self, texts: Sequence[str]) -> list[Ids]:
        """Ids of many texts, on all cores."""
        for text in texts:
            utf8(text)
        parts = ((number, part) for number, text in enumerate(texts) for part in chunks(text))
        found, begun = list[Ids](), list[Ids]()  # of whole texts, and of the parts of the one that is being read
        while batch := list(itertools.islice(parts, _BATCH)):
            encodings = self._model.encode_batch_fast([part for _, part in batch], add_special_tokens=False)
            for (number, _), encoding in zip(batch, encodings, strict=True):
                if number > len(found):
                    found.append(_joined(begun))
                    begun = list[Ids]()
                begun.append(np.array(encoding.ids, np.int32))
        return [*found, _joined(begun)] if begun else found

    def encode_pieces(self, pieces: Sequence[str]) -> list[list[int]]:
        """Ids of some short texts, each apart."""
        return [one.ids for one in self._model.encode_batch_fast(list(pieces), add_special_tokens=False)]

    def encode_prompt(self, text: str) -> Ids:
        """Ids of a prompt without the spaces that end it, its first word spelled in the way that is known."""
        text = text.rstrip(" ")
        first = next(iter(splitter().pre_tokenize_str(text[:CHUNK])), ("", None))[0]
        return self.encode(" " + text if not self._knows(first) and self._knows(" " + first) else text)

    def _knows(self, piece: str) -> bool:
        """Whether the piece has an id of its own, met as such in the training text."""
        ids = self.encode(piece)
        return len(ids) == 1 and self._is_whole(int(ids[0]))

    @abstractmethod
    def _is_whole(self, token: int) -> bool:
        """Whether the id stood for whole pieces of the training text, not only for parts of others."""
