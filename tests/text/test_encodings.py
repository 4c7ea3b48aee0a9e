"""Bytes to text: marks, UTF-8, legacy encodings, damage, binary."""

import codecs
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.errors import TextError
from fabula.text.encodings import decode

TRADITIONAL = (
    "予姊丈之祖，宋公諱燾，邑廩生。一日，病臥，見吏人持牒，牽白顛馬來，云：「請赴試。」公言：「文宗未臨，何遽得考？」"
    "但敦促之。公力疾乘馬從去，路甚生疏。至一城郭，如王者都。移時入府廨，宮室壯麗。上坐十餘官，都不知何人，惟關壯繆可識。"
    "簷下設几、墩各二，先有一秀才坐其末，公便與連肩。几上各有筆札。俄題紙飛下。視之，八字云：「一人二人，有心無心。」"
)
KOREAN = (
    "옛날 옛적에 쥐들이 모여서 어떻게 고양이를 피할 수 있을까 의논하였습니다. 마침내 젊은 쥐 한 마리가 일어났습니다. "
    '"고양이의 목에 방울을 달면 어떻겠습니까? 그러면 고양이가 오는 소리를 듣고 도망칠 수 있을 것입니다."'
)
GREEK = "Μια φορά κι έναν καιρό τα ποντίκια έκαναν συμβούλιο για να αποφασίσουν τι θα κάνουν με τη γάτα."
POLISH = "Dawno temu myszy zebrały się na naradę, jak przechytrzyć swojego wroga, kota. Przywiążmy mu dzwonek."
TURKISH = "Bir zamanlar fareler kediyi nasıl alt edeceklerini düşünmek için toplanmışlar. Çıngırak takalım demiş."
SPANISH = (
    "Hace mucho tiempo los ratones se reunieron. ¿Por qué no atar un cascabel al gato? Así sabríamos cuándo está cerca."
)
UKRAINIAN = "Колись давно миші зібралися на раду, щоб вирішити, що робити з їхнім спільним ворогом, котом."
HEBREW = (
    "לפני שנים רבות התכנסו העכברים כדי להחליט מה לעשות נגד האויב המשותף שלהם, החתול. עכבר צעיר קם ואמר שיש לו הצעה."
)
ARABIC = "كان يا ما كان في قديم الزمان اجتمعت الفئران لتفكر في حيلة ضد عدوها القط. قام فأر صغير وقال إن لديه اقتراحا."
THAI = "กาลครั้งหนึ่งนานมาแล้ว หนูทั้งหลายประชุมกันเพื่อคิดหาวิธีเอาชนะแมวซึ่งเป็นศัตรูของพวกมัน"

FILES = [
    ("liaozhai/test.txt", ["gb18030", "gbk", "utf-16-le", "utf-16-be"]),
    ("other_languages/neko_clean_ja.txt", ["shift_jis", "cp932", "euc_jp"]),
    ("other_languages/tinystories_ru_1MB.txt", ["koi8_r", "cp1251", "cp866"]),
    ("other_languages/lafontaine_fables_fr.txt", ["cp1252", "latin-1"]),
    ("other_languages/andersen_maerchen_de.txt", ["cp1252", "latin-1"]),
    ("aesop/test.txt", ["cp1252"]),
]
REAL = [(path, encoding) for path, encodings in FILES for encoding in encodings]


@pytest.mark.parametrize(("path", "encoding"), REAL)
def test_whole_real_files(shared_data: Path, path: str, encoding: str) -> None:
    data = (shared_data / path).read_text(encoding="utf-8").encode(encoding, "ignore")
    decoded = decode(data, path)
    assert decoded.text == data.decode(encoding)
    assert decoded.guessed
    assert not decoded.replaced


@pytest.mark.parametrize("length", [100, 400])
@pytest.mark.parametrize(("path", "encoding"), REAL)
def test_short_pieces_of_real_files(shared_data: Path, path: str, encoding: str, length: int) -> None:
    text = (shared_data / path).read_text(encoding="utf-8")[:200_000]
    rng = random.Random(length)
    for _ in range(10):
        start = rng.randrange(len(text) - length)
        data = text[start : start + length].encode(encoding, "ignore")
        if not data.isascii():
            assert decode(data, path).text == data.decode(encoding), data.decode(encoding)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (TRADITIONAL, "big5"), (TRADITIONAL, "gb18030"), (KOREAN, "euc_kr"), (GREEK, "cp1253"), (POLISH, "cp1250"),
        (POLISH, "iso8859_2"), (TURKISH, "cp1254"), (SPANISH, "cp1252"), (UKRAINIAN, "cp1251"), (UKRAINIAN, "koi8_u"),
        (HEBREW, "cp1255"), (ARABIC, "cp1256"), (THAI, "cp874"), (TRADITIONAL, "iso2022_jp_ext"),
        ("吾輩は猫である。名前はまだ無い。", "iso2022_jp"), ("很久以前，老鼠们开了一次大会", "hz"),
        ("Don’t", "cp1252"), ("café", "latin-1"), ("吾輩は猫である", "shift_jis"), ("老鼠说：谁去系铃铛呢？", "gb2312"),
    ],
)  # fmt: skip
def test_other_languages(text: str, encoding: str) -> None:
    data = text.encode(encoding, "ignore")
    assert decode(data, "x").text == data.decode(encoding)


@pytest.mark.parametrize("length", [60, 120])
def test_short_pieces_of_traditional_chinese(length: int) -> None:
    for start in range(0, len(TRADITIONAL) - length, 5):
        piece = TRADITIONAL[start : start + length]
        assert decode(piece.encode("big5"), "x").text == piece


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_marks_are_read_and_dropped(encoding: str) -> None:
    decoded = decode("the cat\r\nsat\rdown 猫\n".encode(encoding), "x")
    assert decoded.text == "the cat\nsat\ndown 猫\n"
    assert not decoded.guessed


def test_big_endian_marks() -> None:
    assert decode(codecs.BOM_UTF16_BE + "猫だ".encode("utf-16-be"), "x").text == "猫だ"
    assert decode(codecs.BOM_UTF32_BE + "猫だ".encode("utf-32-be"), "x").text == "猫だ"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    "text", ["long ago , the mice\nhad a council .\n", "很久以前，\n老鼠 say hello\n", TRADITIONAL]
)
def test_wide_encodings_without_a_mark(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding), "x").text == text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1))
def test_utf8_is_kept_exactly(text: str) -> None:
    if not any(ord(c) < 32 or c in "~\x7f" for c in text):  # control characters may make it binary, ~{ is HZ
        assert decode(text.encode(), "x").text == text.removeprefix("\ufeff")


@given(st.binary())
def test_any_bytes_give_a_text_or_one_line(data: bytes) -> None:
    try:
        decoded = decode(data, "'x'")
    except TextError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 200
    else:
        decoded.text.encode()
        assert "\r" not in decoded.text


def test_a_cut_off_end_is_still_utf8() -> None:
    decoded = decode("很久以前，老鼠们".encode()[:-1], "x")
    assert (decoded.text, decoded.replaced, decoded.encoding) == ("很久以前，老鼠\ufffd", 1, "utf-8")


def test_few_damaged_places_are_counted() -> None:
    data = ("Il était là, près de l'âne. " * 100).encode() + b"\xe9 oui \xff non " + "Noël. ".encode() * 50
    decoded = decode(data, "x")
    assert (decoded.encoding, decoded.replaced, decoded.guessed) == ("utf-8", 2, False)
    assert decoded.text.count("\ufffd") == 2


def test_one_legacy_letter_in_plain_ascii_is_not_taken_for_damage() -> None:
    data = b"the mice said nothing. " * 500 + "café".encode("cp1252")
    assert decode(data, "x").text.endswith("café")


def test_a_damaged_legacy_file_is_read_all_the_same() -> None:
    data = TRADITIONAL.encode("big5") * 3
    decoded = decode(data[:200] + b"\xff" + data[200:], "x")
    assert decoded.encoding == "big5hkscs"
    assert decoded.replaced >= 1


@pytest.mark.parametrize(
    "data",
    [
        b"the\0mouse\0 and \0 the cat\n\0",
        bytes(range(1, 32)) + b"mouse",
        random.Random(7).randbytes(65_536),
        random.Random(7).randbytes(65_536).replace(b"\0", b""),
        bytes(range(128, 256)) + b" the cat\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0",
        b"cat \xed\xa0\xbd\xed\xb0\xb1 mouse\n",
        codecs.BOM_UTF16_LE + random.Random(7).randbytes(1000),
    ],
    ids=["nul", "control", "random", "random-without-nul", "high", "png", "cesu8", "false-mark"],
)
def test_binary_is_refused(data: bytes) -> None:
    with pytest.raises(TextError, match=r"binary|encoding|mark"):
        decode(data, "'x'")


def test_damage_everywhere_is_refused() -> None:
    data = TRADITIONAL.encode("big5")
    with pytest.raises(TextError, match="cannot tell the encoding"):
        decode(b"\xff".join(data[i : i + 20] for i in range(0, 300, 20)), "'x'")


def test_two_encodings_in_one_file_are_refused() -> None:
    with pytest.raises(TextError, match="cannot tell the encoding"):
        decode((TRADITIONAL * 2).encode("big5") + KOREAN.encode() * 2, "'x'")


@pytest.mark.parametrize(
    "text", ["il gémit, il soupire.", "point de franche lippée!", "Jupin les renvoya s'étant censurés tous;"]
)
def test_a_sentence_of_an_old_macintosh(text: str) -> None:
    assert decode(text.encode("mac_roman"), "x").text == text


def test_the_user_overrules() -> None:
    assert decode("é".encode(), "x", "cp1252").text == "Ã©"
    assert decode("猫".encode("utf-16"), "x", "utf-16").text == "猫"


@pytest.mark.parametrize(
    ("encoding", "message"),
    [("nonsense", "must be one"), ("hex", "must be one"), ("a\0b\x1b[31m", "must be one"), ("x" * 999, "must be one"),
     ("ascii", "byte 4"), ("utf-8", "byte 4")],
)  # fmt: skip
def test_a_wrong_encoding_is_one_line(encoding: str, message: str) -> None:
    with pytest.raises(TextError, match=message) as caught:
        decode(b"the \xff cat", "'x'", encoding)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_escapes_cannot_bring_in_surrogates() -> None:
    assert decode(rb"a \ud800 b", "x", "unicode_escape").text == "a \ufffd b"
    assert decode(rb"\ud83d\udc31", "x", "unicode_escape").text == "🐱"


def test_a_declared_encoding_is_believed_when_it_is_true() -> None:
    assert decode("Привет".encode("cp866"), "x", declared="cp866").text == "Привет"
    assert not decode("Привет".encode("cp866"), "x", declared="cp866").guessed
    assert decode("“quoted”".encode("cp1252"), "x", declared="iso-8859-1").text == "“quoted”"
    assert decode("Привет".encode(), "x", declared="cp866").text == "Привет"
    assert decode("Noël".encode("cp1252"), "x", declared="utf-8").text == "Noël"
    assert decode("Noël".encode("cp1252"), "x", declared="nonsense").text == "Noël"


def test_kana_are_no_chinese() -> None:
    """gb18030 has the kana at the same places as euc_jp, and other Han: a Japanese line was read as Chinese."""
    line = "むかしむかし、ねずみたちが会議を開きました。ネコに鈴をつけるのは誰でしょう。"
    found = decode(line.encode("euc_jp"), "x")
    assert (found.text, found.encoding, found.guessed) == (line, "euc_jp", True)
