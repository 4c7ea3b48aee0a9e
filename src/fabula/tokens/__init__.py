"""The units a text is split into: one contract, one file a unit; knows nothing of stories, files or networks."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence

from fabula.errors import UsageError
from fabula.tokens.chars import Chars
from fabula.tokens.contract import Ids, Tokenizer, utf8
from fabula.tokens.fields import refuse
from fabula.tokens.octets import Bytes
from fabula.tokens.remembering import Remembering
from fabula.tokens.streaming import Decoder
from fabula.tokens.subwords import Subwords
from fabula.tokens.symbols import Symbols
from fabula.tokens.words import Words

__all__ = ["UNITS", "Decoder", "Ids", "Remembering", "Tokenizer", "build", "from_json"]

UNITS: dict[str, type[Tokenizer]] = {
    "symbols": Symbols,
    "words": Words,
    "subwords": Subwords,
    "chars": Chars,
    "bytes": Bytes,
}


def build(unit: str, texts: Sequence[str], vocabulary: int | None = None) -> Tokenizer:
    """The unit of that name, its vocabulary learned from the training texts; `vocabulary` is the greatest size.

    Errors: UsageError for an unknown unit or too small a vocabulary, MissingExtraError for Chinese words without ICU.

    >>> build("bytes", ["Long ago"], None).size
    257
    """
    if unit not in UNITS:
        raise UsageError(f"unit must be one of {', '.join(UNITS)}, got {reprlib.repr(unit)}")
    for text in texts:
        utf8(text)
    return UNITS[unit].learn(texts, vocabulary)


def from_json(data: Mapping[str, object]) -> Tokenizer:
    """The tokenizer that `to_json` wrote; errors: FolderError for whatever is not exactly that.

    >>> from_json({"unit": "chars", "characters": "ab"}).encode("abba").tolist()
    [0, 1, 1, 0]
    """
    if not isinstance(data, Mapping):
        refuse("must be an object", type(data).__name__)
    unit = data.get("unit")
    if not isinstance(unit, str) or unit not in UNITS:
        refuse(f"field unit must be one of {', '.join(UNITS)}", unit)
    return UNITS[unit].from_json(data)
