"""The unit `words`: words with the space before them, and marks; what is rare is spelled in smaller known pieces.

A text is cut by the pattern of `pieces`; each piece becomes the likeliest chain of known ones (a unigram model, Kudo
2018, arXiv:1804.10959): a known word is itself, a rare one is spelled in parts, characters, or at worst bytes. The
same model finds the words of Chinese, Japanese or Thai: ICU's dictionaries only count them, once, while learning.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Self

from fabula.errors import MissingExtraError
from fabula.machine import free_memory
from fabula.tokens.contract import BYTES, least_count
from fabula.tokens.fields import check_keys, read_numbers, read_texts, refuse
from fabula.tokens.pieces import SPACELESS, PieceTokenizer, chunks, splitter

if TYPE_CHECKING:
    import tokenizers

DEFAULT_SIZE = 50_000
MAX_PIECE = 256
"""Characters: what is longer is no word and is always spelled; the model keeps a node for every byte of a piece."""
NODE = 200
"""Bytes of memory that the model takes for a byte of a piece; 350 where no two pieces begin alike."""
_BYTE_NAMES = tuple(f"<0x{value:02X}>" for value in range(256))
"""How the library calls the bytes; no text is taken for one, because the pattern cuts it at the mark `<`."""


class Words(PieceTokenizer):
    """Pieces by falling count, then characters to spell the rest with (count 0), then the 256 bytes."""

    unit = "words"

    def __init__(self, pieces: Sequence[str], counts: Sequence[int]) -> None:
        super().__init__((*map(str.encode, pieces), *BYTES), _unigram(pieces, counts))
        self._pieces = pieces
        self._counts = counts

    @classmethod
    def learn(cls, texts: Sequence[str], vocabulary: int | None) -> Self:
        """All pieces seen twice or more (all in a short text), at most 50,000 unless `vocabulary` says otherwise.

        Errors: MissingExtraError when the text is mostly Chinese, Japanese or Thai and ICU is not installed.
        """
        least = least_count(texts)
        characters: Counter[str] = Counter()
        for text in texts:
            characters.update(text)
        counts = _count_pieces(texts, _word_breaker() if _is_spaceless(characters) else list)
        room = max(0, (vocabulary or DEFAULT_SIZE) - len(BYTES) - 1)
        spare = [character for character, n in characters.most_common(room // 2) if n >= least]
        known = {piece: n for piece, n in counts.most_common(room - len(spare)) if n >= least}
        known |= {character: 0 for character in spare if character not in known}
        return cls(list(known), list(known.values()))

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """The unit as `to_json` wrote it."""
        check_keys(data, "pieces", "counts")
        pieces, counts = read_texts(data, "pieces"), read_numbers(data, "counts")
        if len(counts) != len(pieces):
            refuse(f"field counts must have {len(pieces)} entries", len(counts))
        if (longest := max(map(len, pieces), default=0)) > MAX_PIECE:
            refuse(f"field pieces must hold at most {MAX_PIECE} characters each", longest)
        wanted, free = NODE * sum(len(piece.encode()) for piece in pieces), free_memory()
        if free is not None and wanted > free:
            refuse(f"field pieces must fit in {free >> 20:,} MB of memory", f"{wanted >> 20} MB")
        if taken := set(pieces).intersection(_BYTE_NAMES):
            refuse("field pieces must not name bytes", min(taken))
        return cls(pieces, counts)

    def to_json(self) -> dict[str, object]:
        """The pieces in the order of their ids, and how often each was seen."""
        return {"unit": self.unit, "pieces": list(self._pieces), "counts": list(self._counts)}

    def _is_whole(self, token: int) -> bool:
        return token < len(self._counts) and self._counts[token] > 0


def _unigram(pieces: Sequence[str], counts: Sequence[int]) -> tokenizers.Tokenizer:
    """The model that finds the likeliest chain of pieces."""
    import tokenizers  # noqa: PLC0415

    total = sum(counts) + 1
    # A spelling character costs as much as a piece seen a hundredth of a time; bytes are used where nothing else fits.
    scored = [(piece, math.log((n or 0.01) / total)) for piece, n in zip(pieces, counts, strict=True)]
    scored += [(name, math.log(0.001 / total)) for name in _BYTE_NAMES]
    model = tokenizers.Tokenizer(tokenizers.models.Unigram(scored, unk_id=len(pieces), byte_fallback=True))
    model.pre_tokenizer = splitter()
    return model


def _count_pieces(texts: Iterable[str], break_words: Callable[[str], Iterable[str]]) -> Counter[str]:
    """How often each piece occurs; within spaceless scripts the pieces are the words that `break_words` finds."""
    counts: Counter[str] = Counter()
    cut, spaceless = splitter(), _spaceless()
    for chunk in chain.from_iterable(map(chunks, texts)):
        pieces = [piece for piece, _ in cut.pre_tokenize_str(chunk) if not spaceless.match(piece)]
        if spaceless.search(chunk):
            pieces += [word for word in break_words(chunk) if spaceless.match(word)]
        counts.update(piece for piece in pieces if len(piece) <= MAX_PIECE)
    return counts


def _is_spaceless(characters: Mapping[str, int]) -> bool:
    """Whether most letters belong to a script that puts no spaces between words."""
    letters = sum(n for character, n in characters.items() if character.isalpha())
    spaceless = _spaceless()
    return 2 * sum(n for character, n in characters.items() if spaceless.match(character)) > letters


@functools.cache
def _spaceless() -> re.Pattern[str]:
    """A character of those scripts; it takes milliseconds to compile, which who writes does not have."""
    return re.compile(f"[{SPACELESS}]")


def _word_breaker() -> Callable[[str], Iterable[str]]:
    """ICU's word breaks, which know Chinese, Japanese, Thai, Lao, Khmer and Burmese from dictionaries."""
    try:
        from icu4py.breakers import WordBreaker  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("the unit words in Chinese, Japanese or Thai", "cjk") from None
    return lambda text: WordBreaker(text, "zh")
