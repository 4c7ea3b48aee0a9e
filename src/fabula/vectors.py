"""Word vectors made elsewhere or by word2vec, laid onto a vocabulary; knows nothing of networks.

Reads word2vec text and binary (Mikolov et al. 2013, arXiv:1301.3781), GloVe text, and fastText .vec, each also as .gz.
V vocabulary, E embedding.
"""

from __future__ import annotations

import codecs
import gzip
import re
import reprlib
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from fabula.errors import MissingExtraError, UsageError, VectorsError
from fabula.regular import open_regular

if TYPE_CHECKING:
    from fabula.tokens import Tokenizer

Matrix = NDArray[np.float32]

MAX_LINE = 1 << 20
"""Bytes: no line of numbers is longer."""
MAX_WIDTH = 10_000
MAX_WORDS = 100_000_000
MAX_WORD = 4_096
"""Bytes: no word is longer."""
SENTENCE = 10_000
"""Words: gensim silently drops what a longer sentence has more."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many words have a vector, by kind and, where their counts are known, by occurrence."""

    found: int
    """Different words with a vector."""
    total: int
    """Different words asked for."""
    found_tokens: int | None = None
    """Occurrences of the words with a vector."""
    total_tokens: int | None = None
    """Occurrences of all words."""

    def __str__(self) -> str:
        share = f"{self.found:,} of {self.total:,} words have a vector"
        if not self.found_tokens or not self.total_tokens:
            return share
        return f"{share}, {100 * self.found_tokens / self.total_tokens:.1f} % of the text"


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """Words and their vectors, row by row."""

    words: tuple[str, ...]
    matrix: Matrix
    """Shape (number of words, width)."""
    coverage: Coverage

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self.matrix.shape[1]


def load_vectors(path: Path | str, wanted: Mapping[str, int] | Collection[str]) -> Vectors:
    """The vectors of the wanted words in a file; the format is told from the content, memory holds only what is wanted.

    `wanted` may map words to their counts, for the coverage. Of a word that stands twice the first vector is taken.
    Errors: VectorsError for a file that is missing, damaged, of no known format, or has none of the words.
    """
    path = Path(path)
    keys = {word.encode("utf-8", "replace"): word for word in wanted if word}
    found: dict[str, Matrix] = {}
    try:
        with _open(path) as file:
            for key, vector in _read(path, file, keys):
                if not np.isfinite(vector).all():
                    _refuse(path, f"must hold finite numbers, got others for {reprlib.repr(keys[key])}")
                found.setdefault(keys[key], vector)
    except (OSError, EOFError, zlib.error) as error:
        _refuse(path, f"must be a file that can be read, got {getattr(error, 'strerror', None) or 'damaged gzip data'}")
    if not found:
        _refuse(path, f"has none of the {len(wanted):,} words of the text: take vectors of its language")
    return _collect(found, wanted)


def word_of(spelling: bytes) -> str:
    """The word that a spelling stands for, without the space in front; empty for white space and parts of characters.

    >>> word_of(b" mice"), word_of(b","), word_of(b" "), word_of(bytes([0xE7]))
    ('mice', ',', '', '')
    """
    try:
        return spelling.decode().strip()
    except UnicodeDecodeError:
        return ""


def wanted_words(tokenizer: Tokenizer) -> set[str]:
    """What to ask `load_vectors` for: the words of the vocabulary as they stand and in lower case."""
    words = {word_of(tokenizer.spelling(token)) for token in range(tokenizer.size)} - {""}
    return words | {word.lower() for word in words}


def embedding_for(
    tokenizer: Tokenizer, vectors: Vectors, rng: np.random.Generator, counts: NDArray[np.int64] | None = None
) -> tuple[Matrix, Coverage]:
    """Word vectors for every id, shape (V, E), and how many of them are real.

    A word without a vector takes the one of its lower case; what has neither is drawn from a normal distribution as
    wide as the real ones. `counts`, shape (V,), are the occurrences of the ids in the text, for the coverage.
    """
    rows = {word: row for row, word in enumerate(vectors.words)}
    words = [word_of(tokenizer.spelling(token)) for token in range(tokenizer.size)]
    source = np.array([rows.get(word, rows.get(word.lower(), -1)) for word in words])  # (V,)
    known = source >= 0
    spread = float(vectors.matrix.std(dtype=np.float64))
    matrix = rng.normal(0.0, spread, (tokenizer.size, vectors.width)).astype(np.float32)
    matrix[known] = vectors.matrix[source[known]]
    is_word = np.array([word != "" for word in words])
    coverage = Coverage(
        found=int(known.sum()),
        total=int(is_word.sum()),
        found_tokens=None if counts is None else int(counts[known].sum()),
        total_tokens=None if counts is None else int(counts[is_word].sum()),
    )
    return matrix, coverage


def train_vectors(stories: Iterable[Sequence[str]], width: int, seed: int, epochs: int = 10) -> Vectors:
    """Vectors of all words in the stories, by gensim's skip-gram with negative sampling; one seed, one result.

    Empty words are passed over. Errors: MissingExtraError without gensim, VectorsError without two words to learn from.
    """
    try:
        from gensim.models import Word2Vec  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("learning word vectors", "vectors") from None
    told = [[word for word in story if word] for story in stories]
    sentences = [story[start : start + SENTENCE] for story in told for start in range(0, len(story), SENTENCE)]
    if max(map(len, sentences), default=0) < 2:
        raise VectorsError("word vectors must be learned from two words or more, got none: give a longer text")
    if not 1 <= width <= MAX_WIDTH:
        raise UsageError(f"word vectors must have a width from 1 to {MAX_WIDTH:,}, got {width}")
    model = Word2Vec(
        sentences, vector_size=width, seed=seed % 2**32, epochs=epochs, min_count=1, sg=1, negative=5, workers=1
    )
    words = tuple(map(str, model.wv.index_to_key))
    matrix = np.array(model.wv.vectors, np.float32)
    total = sum(map(len, sentences))
    coverage = Coverage(found=len(words), total=len(words), found_tokens=total, total_tokens=total)
    return Vectors(words=words, matrix=matrix, coverage=coverage)


def _collect(found: Mapping[str, Matrix], wanted: Mapping[str, int] | Collection[str]) -> Vectors:
    counts = wanted if isinstance(wanted, Mapping) else None
    coverage = Coverage(
        found=len(found),
        total=len(wanted),
        found_tokens=None if counts is None else sum(counts[word] for word in found),
        total_tokens=None if counts is None else sum(counts.values()),
    )
    return Vectors(words=tuple(found), matrix=np.stack(list(found.values())), coverage=coverage)


def _refuse(path: Path, why: str) -> NoReturn:
    raise VectorsError(f"word vectors {reprlib.repr(path.name)} {why}")


def _open(path: Path) -> BufferedIOBase:
    with open_regular(path) as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else open_regular(path)


def _read(path: Path, file: BufferedIOBase, keys: Collection[bytes]) -> Iterator[tuple[bytes, Matrix]]:
    """The wanted words of a file and their vectors; a header of two whole numbers tells word2vec from GloVe."""
    first = file.readline(MAX_LINE)
    header = re.fullmatch(rb"(\d{1,18}) (\d{1,18})\s*", first)
    if header is None:
        numbers = first.split()[1:]
        if not (0 < len(numbers) <= MAX_WIDTH and _is_number(numbers[-1])):
            _refuse(path, "must be in the format of word2vec, GloVe or fastText, got something else or nothing")
        file.seek(0)
        return _read_text(path, file, keys, len(numbers), None)
    count, width = int(header[1]), int(header[2])
    if not (1 <= count <= MAX_WORDS and 1 <= width <= MAX_WIDTH):
        _refuse(path, f"must have at most {MAX_WORDS:,} words and width {MAX_WIDTH:,}, got {count:,} and {width:,}")
    is_text = _is_text(file.readline(MAX_WORD))
    file.seek(len(first))
    return (_read_text if is_text else _read_binary)(path, file, keys, width, count)


def _is_text(start: bytes) -> bool:
    """Whether this begins a line of letters and decimals; binary numbers are soon no UTF-8, or control characters."""
    try:
        line = codecs.getincrementaldecoder("utf-8")().decode(start.rstrip(b"\r\n"))
    except UnicodeDecodeError:
        return False
    return all(character >= " " for character in line)


def _read_text(
    path: Path, file: BufferedIOBase, keys: Collection[bytes], width: int, count: int | None
) -> Iterator[tuple[bytes, Matrix]]:
    """One word a line, then its decimals, one space between them; `count` lines where a header said so."""
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        word, _, rest = line.rstrip().partition(b" ")
        extra = rest.count(b" ") + 1 - width
        # A GloVe word may hold spaces; a number too many is damage.
        if extra < 0 or (extra > 0 and _is_number(rest.split(b" ", extra)[extra - 1])):
            _refuse(path, f"must have {width} numbers a word, got {rest.count(b' ') + bool(rest)} for word {number:,}")
        if extra == 0 and word in keys:
            yield word, _parse(path, word, rest)
    if count not in (None, number):
        _refuse(path, f"must have the {count:,} words its first line promises, got {number:,}: load it anew")


def _parse(path: Path, word: bytes, decimals: bytes) -> Matrix:
    try:
        numbers = [float(number) for number in decimals.split(b" ")]
    except ValueError:
        _refuse(path, f"must have numbers after a word, got others for {reprlib.repr(word.decode())}")
    with np.errstate(over="ignore"):
        return np.array(numbers).astype(np.float32)


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _read_binary(
    path: Path, file: BufferedIOBase, keys: Collection[bytes], width: int, count: int
) -> Iterator[tuple[bytes, Matrix]]:
    """A word, a space, its numbers in four bytes each, and in some files a line end."""
    buffer, at = b"", 0
    for number in range(count):
        space = buffer.find(b" ", at)
        if space < 0 or space + 1 + 4 * width > len(buffer):
            buffer, at = buffer[at:] + file.read(MAX_LINE), 0
            space = buffer.find(b" ", 0, MAX_WORD)
        start, stop = space + 1, space + 1 + 4 * width
        if space < 0 or stop > len(buffer):
            _refuse(path, f"must have the {count:,} words its first line promises, got {number:,}: load it anew")
        word = buffer[at:space].lstrip(b"\n")
        if word in keys:
            yield word, np.frombuffer(buffer[start:stop], "<f4").astype(np.float32)
        at = stop
    if (buffer[at:] + file.read(2)).strip(b"\n"):
        _refuse(path, f"must have the {count:,} words its first line promises, got more: load it anew")
