"""Word vectors in every format there is, whole and damaged, laid onto a vocabulary."""

import gzip
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabula.errors import MissingExtraError, VectorsError
from fabula.tokens import build
from fabula.vectors import MAX_LINE, Coverage, embedding_for, load_vectors, train_vectors, wanted_words, word_of

WORDS = ["the", "mice", "猫", "l'été", "a"]
MATRIX = np.array([[0.5, -1.25, 3], [1e-3, 0, 2], [-0.125, 7, 1], [4, 5, 6], [1, 2, 3]], np.float32)
LINES = [f"{word} {' '.join(map(str, row))}" for word, row in zip(WORDS, MATRIX.tolist(), strict=True)]
GLOVE = "\n".join(LINES).encode() + b"\n"
WORD2VEC = b"5 3\n" + GLOVE
FASTTEXT = b"5 3\n" + GLOVE.replace(b"\n", b" \n")
BINARY = b"5 3\n" + b"".join(w.encode() + b" " + r.tobytes() for w, r in zip(WORDS, MATRIX.astype("<f4"), strict=True))
BINARY_LINES = b"5 3\n" + b"".join(
    w.encode() + b" " + r.tobytes() + b"\n" for w, r in zip(WORDS, MATRIX.astype("<f4"), strict=True)
)
FORMATS = {
    "glove": GLOVE, "glove without last line end": GLOVE[:-1], "glove with crlf": GLOVE.replace(b"\n", b"\r\n"),
    "word2vec": WORD2VEC, "fasttext": FASTTEXT, "binary": BINARY, "binary with line ends": BINARY_LINES,
}  # fmt: skip


def write(tmp_path: Path, data: bytes, name: str = "some.vec") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("data", FORMATS.values(), ids=FORMATS)
def test_every_format_is_told_and_read(tmp_path: Path, data: bytes, zipped: bool) -> None:
    path = write(tmp_path, gzip.compress(data) if zipped else data)
    vectors = load_vectors(path, ["猫", "the", "l'été", "unheard"])
    assert vectors.words == ("the", "猫", "l'été")
    assert vectors.width == 3
    assert vectors.matrix.dtype == np.float32
    assert vectors.matrix.tolist() == MATRIX[[0, 2, 3]].tolist()
    assert (vectors.coverage.found, vectors.coverage.total, vectors.coverage.total_tokens) == (3, 4, None)


def test_counts_weigh_the_coverage(tmp_path: Path) -> None:
    coverage = load_vectors(write(tmp_path, GLOVE), {"the": 7, "unheard": 1}).coverage
    assert coverage == Coverage(found=1, total=2, found_tokens=7, total_tokens=8)
    assert str(coverage) == "1 of 2 words have a vector, 87.5 % of the text"


def test_binary_numbers_that_could_be_letters_are_binary(tmp_path: Path) -> None:
    row = np.array([0.5, 2.0], "<f4").tobytes()
    row.decode()
    assert load_vectors(write(tmp_path, b"1 2\nthe " + row), ["the"]).matrix.tolist() == [[0.5, 2.0]]


def test_nothing_is_no_word(tmp_path: Path) -> None:
    assert load_vectors(write(tmp_path, b"the 1 2\n 3 4\n"), ["the", ""]).words == ("the",)


def test_of_a_word_twice_the_first_is_taken(tmp_path: Path) -> None:
    assert load_vectors(write(tmp_path, b"a 1 2\na 3 4\n"), ["a"]).matrix.tolist() == [[1, 2]]


def test_words_with_spaces_or_odd_spaces_are_passed_over(tmp_path: Path) -> None:
    data = "the 1 2\n. . . 3 4\nat name@domain.com 5 6\n\u3000 7 8\na\u00a0b 9 9\n\x85 1 1\nmice 9 10\n".encode()
    assert load_vectors(write(tmp_path, data), ["mice", "at", ".", "a\u00a0b"]).words == ("a\u00a0b", "mice")


def test_real_glove_vectors(shared_data: Path) -> None:
    path = shared_data / "vectors/glove.6B.50d.top10k.txt"
    tokenizer = build("words", [(shared_data / "aesop/train.txt").read_bytes().decode()[:100_000]])
    vectors = load_vectors(path, wanted_words(tokenizer))
    assert vectors.width == 50
    assert vectors.matrix[vectors.words.index("the")][:2].tolist() == pytest.approx([0.418, 0.24968])
    counts = np.bincount(tokenizer.encode("The Fox and the Horse"), minlength=tokenizer.size)
    matrix, coverage = embedding_for(tokenizer, vectors, np.random.default_rng(0), counts)
    assert matrix.shape == (tokenizer.size, 50)
    assert coverage.found > 0.5 * coverage.total
    assert coverage.found_tokens == 5
    fox, horse = (int(tokenizer.encode(word)[0]) for word in (" Fox", " Horse"))
    assert matrix[fox].tolist() == vectors.matrix[vectors.words.index("fox")].tolist()
    assert matrix[horse].tolist() == vectors.matrix[vectors.words.index("horse")].tolist()


@pytest.mark.parametrize("binary", [False, True])
def test_files_of_gensim_are_read(tmp_path: Path, binary: bool) -> None:
    from gensim.models import KeyedVectors

    rng = np.random.default_rng(0)
    words = [f"w{n}é" for n in range(3_000)]
    matrix = rng.normal(size=(3_000, 300)).astype(np.float32)
    peer = KeyedVectors(300)
    peer.add_vectors(words, matrix)
    path = tmp_path / "gensim.bin"
    peer.save_word2vec_format(str(path), binary=binary)
    assert path.stat().st_size > 3 * MAX_LINE  # several reads
    vectors = load_vectors(path, words[::7])
    assert vectors.words == tuple(words[::7])
    assert np.allclose(vectors.matrix, matrix[::7], atol=0 if binary else 1e-6)


NAN = struct.pack("<f", float("nan"))
DAMAGED = {
    "empty": (b"", "must be in the format"),
    "a story": (b"Once upon a time\nthere was a cat\n", "must be in the format"),
    "zeros": (b"\x00" * 5000, "must be in the format"),
    "header alone": (b"5 3\n", "the 5 words its first line promises, got 0"),
    "header says more": (b"6" + WORD2VEC[1:], "the 6 words its first line promises, got 5"),
    "header says less": (b"4" + WORD2VEC[1:], "the 4 words its first line promises, got 5"),
    "header says wider": (b"5 4" + WORD2VEC[3:], "must have 4 numbers a word, got 3 for word 1"),
    "header says narrower": (b"5 2" + WORD2VEC[3:], "must have 2 numbers a word, got 3 for word 1"),
    "header beyond bounds": (b"99999999999 99999999999\n" + GLOVE, "must have at most"),
    "header of too many": (b"99999999999 3\n" + GLOVE, "must have at most"),
    "header of nothing": (b"0 0\n", "must have at most"),
    "line too short": (GLOVE + b"cat 1 2\n", "must have 3 numbers a word, got 2 for word 6"),
    "line too long": (GLOVE + b"the 1 2 3 4\n", "must have 3 numbers a word, got 4 for word 6"),
    "word alone": (GLOVE + b"cat\n", "must have 3 numbers a word, got 0 for word 6"),
    "no numbers": (b"a 1 2\nthe one two\n", "must have numbers after a word"),
    "two spaces": (b"a 1 2\nthe 1  2\n", "must have 2 numbers a word, got 3 for word 2"),
    "nan": (b"the 1 nan\n", "must hold finite numbers, got others for 'the'"),
    "infinite": (b"the 1e999 1\n", "must hold finite numbers"),
    "beyond float32": (b"the 1e39 1\n", "must hold finite numbers"),
    "binary truncated": (BINARY[:-1], "the 5 words its first line promises, got 4"),
    "binary cut in a word": (BINARY[:22], "the 5 words its first line promises, got 1"),
    "binary says less": (b"4" + BINARY[1:], "the 4 words its first line promises, got more"),
    "binary nan": (b"1 2\nthe " + NAN + NAN, "must hold finite numbers"),
    "other words": (b"le 1 2\n", "has none of the 2 words"),
    "gzip truncated": (gzip.compress(GLOVE)[:-9], "must be a file that can be read, got damaged gzip data"),
    "gzip broken": (gzip.compress(GLOVE)[:20] + b"\xff" * 30, "must be a file that can be read, got damaged gzip data"),
    "gzip of nonsense": (gzip.compress(GLOVE)[:10] + b"\xff" * 30, "must be a file that can be read, got damaged gzip"),
    "endless line": (b"the 1 2\nthe " + b"1" * 3_000_000, "must have 2 numbers a word, got 1 for word 2"),
}


@pytest.mark.parametrize(("data", "said"), DAMAGED.values(), ids=DAMAGED)
def test_damage_is_one_line(tmp_path: Path, data: bytes, said: str) -> None:
    path = write(tmp_path, data, "bad\x1b[31m\n" + "x" * 200)
    with pytest.raises(VectorsError) as caught:
        load_vectors(path, ["the", "cat"])
    message = str(caught.value)
    assert said in message
    assert message.isprintable()
    assert len(message) < 200


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(VectorsError, match=r"must be a file that can be read, got (No such file|a folder)"):
        load_vectors(tmp_path / name, ["the"])


@given(position=st.integers(0, 10**6), value=st.integers(0, 255), source=st.sampled_from(list(FORMATS.values())))
@settings(max_examples=300, deadline=None)
def test_any_changed_byte_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, source: bytes
) -> None:
    data = bytearray(source)
    data[position % len(data)] = value
    path = write(tmp_path_factory.getbasetemp(), bytes(data))
    try:
        vectors = load_vectors(path, WORDS)
    except VectorsError as error:
        assert str(error).isprintable()
    else:
        assert np.isfinite(vectors.matrix).all()


def test_vectors_are_laid_onto_a_vocabulary(tmp_path: Path) -> None:
    tokenizer = build("words", ["the Mice, the mice and The 猫 Unheard"])
    vectors = load_vectors(write(tmp_path, GLOVE), wanted_words(tokenizer))
    matrix, coverage = embedding_for(tokenizer, vectors, np.random.default_rng(1))
    again, _ = embedding_for(tokenizer, vectors, np.random.default_rng(1))
    rows = {tokenizer.spelling(token): matrix[token].tolist() for token in range(tokenizer.size - 257)}
    assert rows[b" the"] == rows[b"the"] == rows[b" The"] == MATRIX[0].tolist()
    assert rows[b" Mice"] == rows[b" mice"] == MATRIX[1].tolist()
    assert rows["猫".encode()] == MATRIX[2].tolist()
    assert matrix.shape == (tokenizer.size, 3)
    assert matrix.dtype == np.float32
    assert matrix.tolist() == again.tolist()
    assert coverage.found < coverage.total < tokenizer.size
    assert coverage.found_tokens is None
    unknown = matrix[-200:]
    assert unknown.std() == pytest.approx(vectors.matrix.std(), rel=0.1)


def test_exact_words_go_before_lower_case(tmp_path: Path) -> None:
    tokenizer = build("symbols", ["The the"])
    vectors = load_vectors(write(tmp_path, b"the 1 2\nThe 3 4\n"), wanted_words(tokenizer))
    matrix, coverage = embedding_for(tokenizer, vectors, np.random.default_rng(0), np.array([5, 3, 9]))
    assert matrix[:2].tolist() == [[3, 4], [1, 2]]
    assert coverage == Coverage(found=2, total=2, found_tokens=8, total_tokens=8)


def test_what_spells_no_word_asks_for_none() -> None:
    assert [word_of(spelling) for spelling in (b" mice", b"", b"\n\n", b"\xe7", "猫".encode())] == [
        "mice",
        "",
        "",
        "",
        "猫",
    ]
    assert "" not in wanted_words(build("words", ["a b\n"]))


def test_learned_vectors_repeat_and_cover_everything() -> None:
    stories = [["the", "old", "mouse", "said", "", "it"] * 30, ["the", "cat"], []]
    first, second = (train_vectors(stories, width=8, seed=3, epochs=2) for _ in range(2))
    assert set(first.words) == {"the", "old", "mouse", "said", "it", "cat"}
    assert first.matrix.shape == (6, 8)
    assert first.matrix.tolist() == second.matrix.tolist()
    assert first.matrix.tolist() != train_vectors(stories, width=8, seed=4, epochs=2).matrix.tolist()
    assert first.coverage == Coverage(found=6, total=6, found_tokens=152, total_tokens=152)


def test_a_long_story_is_learned_to_its_end() -> None:
    story = [f"word {number % 500}" for number in range(10_000)] + ["last", "words"] * 5
    once, twice = (train_vectors([story], width=4, seed=1, epochs=epochs) for epochs in (1, 2))
    last = once.words.index("last")  # what gensim cut off would stay at its random start
    assert once.matrix[last].tolist() != twice.matrix[last].tolist()


@pytest.mark.parametrize("stories", [[], [[]], [["one"]], [["", ""]]])
def test_too_little_to_learn_from_is_one_line(stories: list[list[str]]) -> None:
    with pytest.raises(VectorsError, match="two words or more"):
        train_vectors(stories, width=4, seed=1)


def test_without_gensim_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fabula\[vectors\]'"):
        train_vectors([["a", "b"]], width=4, seed=1)


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_a_pipe_or_a_device_is_refused_without_waiting(tmp_path: Path, kind: str) -> None:
    path = Path("/dev/zero") if kind == "device" else tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(VectorsError, match="not a file"):
        load_vectors(path, {"the"})
