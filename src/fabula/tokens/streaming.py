"""Ids to text while they come, one at a time; knows spellings and UTF-8, not what chooses the ids."""

from __future__ import annotations

import codecs

from fabula.tokens.contract import Tokenizer


class Decoder:
    """Text of a stream of ids; holds back a character until its last byte is there.

    Fed together, the pieces and the flush are `tokenizer.decode(ids)`. To go on after a prompt, feed its ids first and
    set their text aside: so the first new word keeps its space.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._strip = not tokenizer.lossless

    @property
    def begun(self) -> bytes:
        """The bytes of a character that is not complete."""
        return self._utf8.getstate()[0]

    def feed(self, token: int) -> str:
        """The characters that this id completes; may be none."""
        text = self._utf8.decode(self._tokenizer.spelling(token))
        if text and self._strip:
            self._strip = False
            return text.removeprefix(" ")
        return text

    def flush(self) -> str:
        """What is left when the stream ends: U+FFFD for a character that was never completed."""
        return self._utf8.decode(b"", final=True)
