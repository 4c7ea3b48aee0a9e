"""The unit `subwords`: frequent words whole, rare ones in parts, by byte-level byte-pair encoding; knows no words.

Sennrich et al. 2016, arXiv:1508.07909, on bytes as in GPT-2. Ids 0 .. 255 are the bytes, each later one joins two
before it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

from fabula.tokens.contract import BYTES, least_count, utf8
from fabula.tokens.fields import check_keys, check_numbers, read_list, refuse
from fabula.tokens.pieces import PieceTokenizer, chunks, splitter

if TYPE_CHECKING:
    import tokenizers

Merge = tuple[int, int]

MAX_BYTES = 64
"""Longest piece. Two hundred hostile merges could otherwise double a spelling beyond all memory."""


class Subwords(PieceTokenizer):
    """The 256 bytes, then the joined pieces in the order they were learned.

    >>> Subwords([(97, 98), (256, 99)]).encode("abcab").tolist()
    [257, 256]
    """

    unit = "subwords"

    def __init__(self, merges: Sequence[Merge]) -> None:
        spellings = _spell(merges)
        super().__init__(spellings, _bpe(spellings, merges))
        self._merges = merges
        self._steps = {right for left, right in merges if left == ord(" ")}

    @classmethod
    def learn(cls, texts: Sequence[str], vocabulary: int | None) -> Self:
        """Joins learned from `texts`; without `vocabulary` 512 to 16,000 ids, growing as the root of its bytes."""
        import tokenizers  # noqa: PLC0415

        size = vocabulary or min(16_000, max(512, math.isqrt(sum(len(utf8(text)) for text in texts))))
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=size - 1,
            min_frequency=least_count(texts),
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            max_token_length=MAX_BYTES,
            show_progress=False,
        )
        model = _bpe(BYTES, ())
        model.train_from_iterator((chunk for text in texts for chunk in chunks(text)), trainer)
        return cls(_read_merges(model))

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """The unit as `to_json` wrote it."""
        check_keys(data, "merges")
        merges: list[Merge] = []
        for pair in read_list(data, "merges"):
            if not isinstance(pair, list) or len(pair) != 2:
                refuse("field merges must hold pairs", pair)
            left, right = check_numbers("merges", pair)
            merges.append((left, right))
        return cls(merges)

    def to_json(self) -> dict[str, object]:
        """The pairs of ids that are joined, in the order they were learned."""
        return {"unit": self.unit, "merges": [list(pair) for pair in self._merges]}

    def _is_whole(self, token: int) -> bool:
        # What a space was joined to may have been nothing but a step on the way to the word with its space.
        return token >= len(BYTES) and token not in self._steps


def _spell(merges: Sequence[Merge]) -> tuple[bytes, ...]:
    """What each id spells. Two merges may spell the same: then they share the first one's id."""
    spellings = dict.fromkeys(BYTES)
    order = list(spellings)
    for left, right in merges:
        if max(left, right) >= len(order):
            refuse(f"field merges must join ids below {len(order)}", (left, right))
        joined = order[left] + order[right]
        if len(joined) > MAX_BYTES:
            refuse(f"field merges must spell at most {MAX_BYTES} bytes", (left, right))
        if joined not in spellings:
            spellings[joined] = None
            order.append(joined)
    return tuple(order)


def _alphabet() -> tuple[str, ...]:
    """The visible character that stands for each byte inside the library, as GPT-2 chose them."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return tuple(chr(value if value in visible else next(spare)) for value in range(256))


_SHOWN = dict(enumerate(_alphabet()))
_HIDDEN = {ord(character): value for value, character in _SHOWN.items()}


def _bpe(spellings: Sequence[bytes], merges: Sequence[Merge]) -> tokenizers.Tokenizer:
    """The library's model for these ids; its vocabulary is in visible characters."""
    import tokenizers  # noqa: PLC0415

    shown = [spelling.decode("latin-1").translate(_SHOWN) for spelling in spellings]
    vocabulary = {text: token for token, text in enumerate(shown)}
    pairs = [(shown[left], shown[right]) for left, right in merges]
    model = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, pairs))
    visible = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    model.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([splitter(), visible])
    return model


def _read_merges(model: tokenizers.Tokenizer) -> list[Merge]:
    """The merges of a trained model as pairs of our ids."""
    ids = {spelling: token for token, spelling in enumerate(BYTES)}
    merges: list[Merge] = []
    for pair in json.loads(model.to_str())["model"]["merges"]:
        left, right = (part.translate(_HIDDEN).encode("latin-1") for part in pair)
        merges.append((ids[left], ids[right]))
        ids.setdefault(left + right, len(ids))
    return merges
