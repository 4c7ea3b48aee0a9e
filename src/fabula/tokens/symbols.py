"""The unit `symbols`, as in the article: a text split on white space; knows only the symbols it was shown.

Not lossless: white space comes back as people write it, and a symbol that was never seen is an error.
"""

from __future__ import annotations

import re
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NoReturn, Self

import numpy as np

from fabula.errors import UnknownSymbolError, UsageError
from fabula.tokens.contract import Ids, Tokenizer, utf8
from fabula.tokens.fields import check_keys, read_texts, refuse

CLOSING = re.compile(r"[.,;:!?…)\]}»”’。，、；：！？）】」』》]+|['’](?:s|t|d|m|re|ve|ll)|n['’]t")
"""Symbols that people write without a space in front."""


class Symbols(Tokenizer):
    """The symbols of the training text by falling frequency, ties by first appearance.

    Their spellings bring a space in front, but closing punctuation does not.

    >>> fable = Symbols.learn(["long ago , the mice had a general council , and the cat ?"], None)
    >>> fable.encode("the cat , the mice").tolist()
    [1, 10, 0, 1, 4]
    >>> fable.decode([1, 10, 0, 1, 4])
    'the cat, the mice'
    """

    unit = "symbols"
    lossless = False

    def __init__(self, symbols: Sequence[str]) -> None:
        super().__init__(utf8(symbol if CLOSING.fullmatch(symbol) else " " + symbol) for symbol in symbols)
        self._ids = {symbol: token for token, symbol in enumerate(symbols)}

    @classmethod
    def learn(cls, texts: Sequence[str], vocabulary: int | None) -> Self:
        """Every symbol of `texts`; errors: UsageError when these are more than `vocabulary`."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text.split())
        if vocabulary is not None and len(counts) >= vocabulary:
            raise UsageError(
                f"text.vocabulary must be over {len(counts)}, for so many symbols the text has, got {vocabulary}: "
                "give more or use the unit words"
            )
        return cls([symbol for symbol, _ in counts.most_common()])

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        """The unit as `to_json` wrote it."""
        check_keys(data, "symbols")
        symbols = read_texts(data, "symbols")
        for symbol in symbols:
            if symbol.split() != [symbol]:
                refuse("field symbols must hold texts without white space", symbol)
        return cls(symbols)

    def to_json(self) -> dict[str, object]:
        """The symbols, in the order of their ids."""
        return {"unit": self.unit, "symbols": list(self._ids)}

    def encode(self, text: str) -> Ids:
        """One id a symbol; errors: UnknownSymbolError, naming the symbol and the nearest known ones."""
        try:
            return np.array([self._ids[symbol] for symbol in text.split()], np.int32)
        except KeyError as error:
            self._refuse(error.args[0])

    def _refuse(self, symbol: str) -> NoReturn:
        import difflib  # noqa: PLC0415 - who writes seldom needs it

        near = difflib.get_close_matches(symbol[:50], self._ids, n=3, cutoff=0.5)
        hint = f"the nearest it knows are {', '.join(map(reprlib.repr, near))}" if near else "it knows none like it"
        raise UnknownSymbolError(
            f"symbols must be of the training text, got {reprlib.repr(symbol)}: {hint}; the unit words knows every word"
        )
