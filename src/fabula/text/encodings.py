"""Bytes to text: finds out the encoding or takes the one it is told; knows no files and no stories.

Line ends `\\r\\n` and `\\r` become `\\n` and a leading byte order mark goes; every other character stays as it came.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from fabula.errors import TextError
from fabula.text.plausibility import plausibility

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is the beginning of this one
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_SEVEN_BIT = ((b"\x1b$", "iso2022_jp_2"), (b"\x1b(", "iso2022_jp_2"), (b"~{", "hz"))
_LEGACY = (
    "gb18030", "big5hkscs", "cp932", "euc_jp", "cp949", "cp1252", "cp1251", "koi8_r", "koi8_u", "cp1250", "iso8859_2",
    "cp1253", "cp1254", "cp1255", "cp1256", "cp874", "cp866", "iso8859_5", "mac_roman", "cp1257", "utf-16-le",
    "utf-16-be",
)  # fmt: skip
"""Encodings without a mark, the most likely first."""
_PRIOR = 0.015  # points an encoding loses for each place behind the first
_PLAUSIBLE = 0.8  # points a text needs; noise has fewer than 0
_SAMPLE = 1 << 16  # bytes that are enough to choose by
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b")) + b"\x7f"
# What pages call their encoding, and the larger one that browsers take it for.
_SUPERSETS = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "big5": "big5hkscs",
    "shift_jis": "cp932", "euc_kr": "cp949",
}  # fmt: skip

_NO_PAGES = frozenset({"punycode", "idna", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7"})
"""What Python reads and no page is written in; the first takes quadratic time, the last hides what a text says."""


@dataclass(frozen=True)
class Decoded:
    """A text and how it was read."""

    text: str
    encoding: str
    guessed: bool = False
    """True when nothing in the bytes names the encoding and they are not plain UTF-8."""
    replaced: int = 0
    """Undecodable bytes or sequences that became U+FFFD."""


def decode(data: bytes, name: str, encoding: str | None = None, declared: str | None = None) -> Decoded:
    """Text of some bytes; `name` is for messages, `encoding` overrules all, `declared` is what the format claims.

    Errors: TextError when the bytes are binary, when `encoding` is unknown or wrong, when no encoding is plausible.

    >>> decode("Il était une fois".encode("cp1252"), "conte.txt")
    Decoded(text='Il était une fois', encoding='cp1252', guessed=True, replaced=0)
    """
    if encoding is not None:
        found = _told(data, name, encoding)
    else:
        found = _marked(data, name) or _plain(data, name) or _declared(data, declared) or _guess(data, name)
    text = found.text.removeprefix("\ufeff")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return Decoded(text, found.encoding, found.guessed, found.replaced)


def is_wide(beginning: bytes, name: str) -> bool:
    """Whether a text that begins so may have NUL bytes. Errors: TextError when it is no text, however it goes on."""
    if any(beginning.startswith(mark) for mark, encoding in _MARKS if encoding in _WIDE):
        return True
    if b"\0" in beginning:
        _wide(beginning[: len(beginning) // 4 * 4], name)
        return True
    _check_controls(beginning, name)
    return False


def without_surrogates(text: str) -> str:
    """The text with U+FFFD in place of lone surrogates, which some formats can spell but no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _told(data: bytes, name: str, encoding: str) -> Decoded:
    """The text in the encoding that the user named, strictly."""
    known = "such as utf-8, cp1252, gb18030 or shift_jis"
    try:
        return Decoded(without_surrogates(data.decode(encoding)), codecs.lookup(encoding).name)
    except UnicodeError as error:
        at = f" at byte {error.start:,}" if isinstance(error, UnicodeDecodeError) else ""
        raise TextError(f"{name} is not {encoding}{at}: give another --encoding, or none to let it be found") from None
    except (LookupError, ValueError):
        raise TextError(f"--encoding must be one that Python knows, {known}, got {encoding[:40]!r}") from None


def _marked(data: bytes, name: str) -> Decoded | None:
    """The text after a byte order mark."""
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    if encoding is None:
        return None
    text = data.decode(encoding, "replace")
    replaced = text.count("\ufffd")
    if replaced * 100 > len(text) and replaced > 1:
        raise TextError(f"{name} begins with the mark of {encoding} but is not {encoding}: is it a text?")
    return Decoded(text, encoding, replaced=replaced)


def _plain(data: bytes, name: str) -> Decoded | None:
    """The text when it is UTF-8, whole or with a few damaged places; None when it must be something else."""
    if b"\0" in data:
        return _wide(data, name)
    _check_controls(data, name)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return _damaged(data, error)
    if text.isascii():
        for sign, encoding in _SEVEN_BIT:
            if sign in data and (found := _seven_bit(data, encoding)):
                return found
    return Decoded(text, "utf-8")


def _check_controls(data: bytes, name: str) -> None:
    if (len(data) - len(data.translate(None, _CONTROLS))) * 10 > len(data):
        raise TextError(f"{name} is binary, not a text: it is mostly control bytes")


def _damaged(data: bytes, error: UnicodeDecodeError) -> Decoded | None:
    """UTF-8 with few bad bytes among much that is surely UTF-8, or with its end cut off."""
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd") - data.count(b"\xef\xbf\xbd")
    good = sum(1 for _ in re.finditer(rb"[\xc2-\xf4][\x80-\xbf]+", data)) - bad
    cut_off = error.reason == "unexpected end of data" and good > 0
    if cut_off or (good >= 10 * bad and bad * 100 <= len(data)):
        return Decoded(text, "utf-8", replaced=bad)
    return None


def _seven_bit(data: bytes, encoding: str) -> Decoded | None:
    """The text when ASCII bytes are in truth Japanese mail or Chinese news of the old days."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return Decoded(text, encoding, guessed=True) if not text.isascii() and plausibility(text) > _PLAUSIBLE else None


def _wide(data: bytes, name: str) -> Decoded:
    """UTF-16 or UTF-32 without a mark: the only texts with NUL bytes."""
    points, encoding = max((_score(data[:_SAMPLE], encoding), encoding) for encoding in _WIDE)
    text = data.decode(encoding, "replace") if points >= _PLAUSIBLE else "\0"
    if "\0" in text:
        raise TextError(f"{name} is binary, not a text: it has NUL bytes")
    return Decoded(text, encoding, guessed=True, replaced=text.count("\ufffd"))


def _declared(data: bytes, declared: str | None) -> Decoded | None:
    """The text in the encoding that its own head names, when that is true."""
    if declared is None:
        return None
    try:
        encoding = codecs.lookup(declared).name
        if encoding in _NO_PAGES:
            return None
        encoding = _SUPERSETS.get(encoding, encoding)
        return Decoded(data.decode(encoding), encoding)
    except (LookupError, ValueError):
        return None


def _guess(data: bytes, name: str) -> Decoded:
    """The text in the encoding that makes it most plausible."""
    sample = _telling_lines(data)
    points, encoding = max(
        (_score(data[:_SAMPLE] if encoding in _WIDE else sample, encoding) - place * _PRIOR, encoding)
        for place, encoding in enumerate(_LEGACY)
    )
    if points < _PLAUSIBLE:
        raise TextError(f"cannot tell the encoding of {name}: name it, for instance --encoding cp1252")
    text = data.decode(encoding, "replace")
    return Decoded(text, encoding, guessed=True, replaced=text.count("\ufffd"))


def _score(sample: bytes, encoding: str) -> float:
    """Plausibility of some bytes in an encoding; a sequence that the sample cuts off does not count."""
    whole = len(sample) < _SAMPLE
    text = codecs.getincrementaldecoder(encoding)("replace").decode(sample, final=whole)
    # Kana have the same bytes in gb18030 as in euc_jp, but no Chinese text is full of them.
    kana = sum("\u3041" <= c <= "\u30fa" for c in text) / max(1, len(text)) if encoding == "gb18030" else 0.0
    return plausibility(text) - kana


def _telling_lines(data: bytes) -> bytes:
    """Up to `_SAMPLE` bytes of lines with bytes beyond ASCII, each from a little before the first of them."""
    lines: list[bytes] = []
    size = 0
    for found in re.finditer(rb"[\x80-\xff][^\n]*", data):
        start = max(data.rfind(b"\n", 0, found.start()) + 1, found.start() - 40)
        lines.append(data[start : min(found.end(), start + _SAMPLE - size)])
        size += len(lines[-1]) + 1
        if size >= _SAMPLE:
            break
    return b"\n".join(lines)
