"""Does every character come back: through every unit but `symbols`, and from every encoding that Python knows?"""

from __future__ import annotations

import encodings.aliases
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from fabula.errors import TextError
from fabula.text.encodings import decode
from fabula.tokens import UNITS, Tokenizer, build
from torture.models import STORY
from torture.runner import Answer

PROMISE = "every Unicode character comes back from every unit but symbols, and every text from its encoding"
QUICK, FULL = 20_000, 1_112_064
MARKS = ("utf-8-sig", "utf-16", "utf-32")

TEXTS = {
    "French": "Il était une fois un pêcheur et sa femme ; « Où vas-tu ? » demanda l’âne. Ça coûte trop cher, Noël !",
    "German": "Es war einmal ein Müller, der hatte drei Söhne, eine Mühle, einen Esel und einen Kater; größer war er nie.",
    "Polish": "Dawno, dawno temu żyła sobie mała mysz, która bała się kota. Zjadł ją? Nie, uciekła w gęstą trawę.",
    "Czech": "Byl jednou jeden král a ten měl tři dcery. Nejmladší z nich měla nejraději svou kočku a příběhy.",
    "Hungarian": "Egyszer volt, hol nem volt, volt egyszer egy szegény ember, annak három fia és egy öreg macskája.",
    "Turkish": "Bir varmış bir yokmuş, eski zamanlarda küçük bir köyde yaşlı bir değirmenci ve kedisi yaşarmış.",
    "Lithuanian": "Seniai, labai seniai gyveno senelis ir senelė, turėjo jie margą katę ir mažą pelę, kuri bijojo.",
    "Greek": "Μια φορά κι έναν καιρό ήταν ένας γέρος και μια γριά, που είχαν μια γάτα και πολλά ποντίκια.",
    "Russian": "Жили-были старик со старухой у самого синего моря; старик ловил неводом рыбу, старуха пряла пряжу.",
    "Ukrainian": "Жили собі дід та баба, і була в них курочка ряба. Знесла вона їм яєчко, не просте, а золоте; їжте.",
    "Hebrew": "היה היה פעם עכבר קטן שגר בבית גדול עם חתול זקן, ובכל לילה היה יוצא לחפש גבינה.",
    "Arabic": "كان يا ما كان في قديم الزمان فأر صغير يعيش في بيت كبير مع قط عجوز، وكان يخرج كل ليلة.",
    "Thai": "กาลครั้งหนึ่งนานมาแล้ว มีหนูตัวหนึ่งอาศัยอยู่กับแมวในบ้านหลังใหญ่ริมแม่น้ำ",
    "Chinese": "很久以前，老鼠们开了一次大会，商量怎样对付它们共同的敌人——猫。一只老老鼠说：谁去给猫系铃铛呢？",
    "Taiwan": "很久以前，老鼠們開了一次大會，商量怎樣對付牠們共同的敵人。一隻老老鼠說：誰去給貓繫鈴鐺呢？",
    "Japanese": "むかしむかし、ねずみたちが会議を開きました。ネコに鈴をつけるのは誰でしょう。みんな黙ってしまいました。",
    "Korean": "옛날 옛적에 쥐들이 모여 고양이를 어떻게 할 것인지 의논하였습니다. 누가 고양이 목에 방울을 달겠습니까?",
}
WRITTEN = {
    "French": ("latin_1", "cp1252", "iso8859_15"), "German": ("latin_1", "cp1252"), "Polish": ("cp1250", "iso8859_2"),
    "Czech": ("cp1250", "iso8859_2"), "Hungarian": ("cp1250", "iso8859_2"), "Turkish": ("cp1254", "iso8859_9"),
    "Lithuanian": ("cp1257", "iso8859_13"), "Greek": ("cp1253", "iso8859_7"), "Russian": ("cp1251", "koi8_r", "cp866"),
    "Ukrainian": ("cp1251", "koi8_u"), "Hebrew": ("cp1255", "iso8859_8"), "Arabic": ("cp1256", "iso8859_6"),
    "Thai": ("cp874", "tis_620"), "Chinese": ("gb18030", "gbk", "gb2312", "hz"), "Taiwan": ("big5", "big5hkscs", "cp950"),
    "Japanese": ("shift_jis", "cp932", "euc_jp", "iso2022_jp"), "Korean": ("euc_kr", "cp949"),
}  # fmt: skip
"""What people wrote each in before UTF-8."""


def ask(count: int | None, seed: int, work: Path, workers: int) -> Answer:  # noqa: ARG001 - as all questions are asked
    """All characters in a row, and so many of them one by one, through each unit; then all encodings."""
    began = time.perf_counter()
    failures: list[str] = []
    cases = 0
    for name, kind in UNITS.items():
        if kind.lossless:
            unit = build(name, [STORY + "".join(TEXTS.values())])
            tried, lost = _through(unit, count or FULL, seed)
            cases += tried
            failures += [f"unit {name} loses {text!r}" for text in lost]
    guesses, found = Counter[str](), list[str]()
    for data, text, how, encoding in _written():
        cases += 1
        wrong, said = _read(data, text, encoding, decode)
        guesses[said] += how == "unmarked"
        found += [f"{how}: {wrong}"] if wrong else []
    failures += found
    tried, lost = _all_of_each_encoding()
    controls = {
        "the unit symbols": bool(_through(build("symbols", ["a b"]), 100, seed)[1]),
        "a unit that knows one character less": bool(_through(_Forgetful(), 100, seed)[1]),
        "a reader that ignores what it cannot read": any(
            _read(data, text, encoding, _careless)[0] for data, text, _, encoding in _written()
        ),
    }
    facts = {"unmarked": dict(guesses), "encodings_named": tried}
    return Answer(
        "characters", PROMISE, cases + tried, (*failures, *lost), controls, time.perf_counter() - began, facts
    )  # fmt: skip


def _through(unit: Tokenizer, count: int, seed: int) -> tuple[int, list[str]]:
    """All scalar values in a row, each beside its neighbours; and `count` of them alone and between letters."""
    scalars = np.r_[0:0xD800, 0xE000:0x110000].astype("<u4")
    texts = [part.tobytes().decode("utf-32-le") for part in np.array_split(scalars, 200)]
    rng = random.Random(seed)
    drawn = range(len(scalars)) if count >= len(scalars) else rng.sample(range(len(scalars)), count)
    for start in range(0, len(drawn), 50_000):
        alone = [chr(scalars[place]) for place in drawn[start : start + 50_000]]
        texts += alone
        texts += [f"the{character}mice {character} cat" for character in alone]
    lost = []
    for start in range(0, len(texts), 20_000):
        some = texts[start : start + 20_000]
        try:
            every = unit.encode_many(some)
        except TextError:
            return len(texts), some[:1]
        except Exception:  # noqa: BLE001 - symbols refuses what it has never seen
            return len(texts), some[:1]
        for text, ids in zip(some, every, strict=True):
            if unit.decode(ids) != text or b"".join(map(unit.spelling, ids.tolist())) != text.encode():
                lost.append(text[:20])
    return len(texts), lost


class _Forgetful(type(build("bytes", []))):  # type: ignore[misc]
    """A control: bytes, without those of one character."""

    def decode(self, ids: Iterable[int]) -> str:
        """What is left."""
        return super().decode(ids).replace("\u00e9", "e")


def _written() -> Iterator[tuple[bytes, str, str, str | None]]:
    """Bytes, their text, how they are marked, and the encoding that has to be named."""
    for language, text in TEXTS.items():
        for line in (text, f"{text}\n" * 40, f"{STORY}\n{text}\n{STORY}"):
            for encoding in ("utf-8", *MARKS):
                yield line.encode(encoding), line, "marked", None
            for encoding in ("utf-16-be", "utf-16-le", "utf-32-be", "utf-32-le"):
                yield "\ufeff".encode(encoding) + line.encode(encoding), line, "marked", None
            for encoding in WRITTEN[language]:
                kept = line.encode(encoding, "ignore").decode(encoding)
                data = kept.encode(encoding)
                yield data, kept, "unmarked", None
                yield data, kept, "named", encoding


def _read(data: bytes, text: str, encoding: str | None, reader: Callable[..., object]) -> tuple[str | None, str]:
    """What is wrong, and what is said of the encoding: right, right by a guess, asked for, or a wrong guess."""
    try:
        found = reader(data, "a text", encoding)
    except TextError:
        return ("refused with its encoding named" if encoding else None), "asked for"
    if found.text == text:
        return None, "guessed right" if found.guessed else "known"
    if found.guessed and not encoding:
        return None, "guessed wrong, and said that it is a guess"
    return f"{text[:30]!r} came back as {found.text[:30]!r}", "wrong"


def _careless(data: bytes, name: str, encoding: str | None) -> object:  # noqa: ARG001
    """A control."""
    from fabula.text.encodings import Decoded

    return Decoded(data.decode(encoding or "utf-8", "ignore").removeprefix("\ufeff"), "utf-8")


def _returns(text: str, name: str) -> bool:
    try:
        return text.encode(name).decode(name) == text
    except UnicodeError:
        return False


def _all_of_each_encoding() -> tuple[int, list[str]]:
    """Every character that an encoding has, read with its name given."""
    names = sorted({*encodings.aliases.aliases.values(), "utf-8"} - {"mbcs", "oem", "idna", "punycode"})
    tried, lost = 0, []
    every = np.r_[0:0xD800, 0xE000:0x110000].astype("<u4").tobytes().decode("utf-32-le")
    for name in names:
        try:
            text = every.encode(name, "ignore").decode(name)
        except (LookupError, ValueError, AttributeError, TypeError):
            continue  # no encoding of texts
        text = text.replace("\r", "").lstrip("\ufeff")
        if not _returns(text, name):
            continue  # Python itself loses some: iso2022_jp_3
        tried += 1
        try:
            same = decode(text.encode(name), "a text", name).text == text
        except (TextError, UnicodeError):
            same = False
        if not same:
            lost.append(f"encoding {name} loses something of its own characters")
    return tried, lost
