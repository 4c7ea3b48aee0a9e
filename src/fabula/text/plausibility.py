"""How much a decoded text looks like somebody's writing; knows no bytes and no encodings.

A text read with the wrong encoding is full of rare characters, of capitals inside words, of scripts that do not go
together. Each character beyond ASCII gets points for being usual and loses some for being odd.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter

_FREQUENT_HAN = frozenset(
    # modern Chinese, by frequency
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如"
    "都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将"
    "两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立"
    "及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指"
    # traditional forms
    "這個們來為國說時會對過發後經麼學當沒動還進樣從實無與長機關點業將兩間問應頭體見東聲論處義幾認條氣題別變總電數報結場計書聽卻難記邊張萬覺"
    "傳師讓識帶運於裡兒"
    # classical Chinese and Japanese
    "曰乃矣焉吾汝余遂俄忽往谓謂既若故視视至夫衣入归歸父母马馬死夜室言坐思彼云私御君円来会食"
)
_FREQUENT_HANGUL = frozenset(
    "이다는에의가을를은하고지도로한나사그리시서자기어인있아대게들일해라만으과정여수보부제것면와전주구아니안었"
)
_FREQUENT_LETTERS = frozenset("оеаинтсрвлкмдпуіαοιετνσρκπυμληςάίόέήיוהלאתרמבשנاليمونرتبهعาอนรกเงมยลวดท่ส้ัิ")
_SELDOM_LETTERS = frozenset("ъэёщфцхюш")
_MARKS = frozenset("，。、；：？！「」『』（）“”‘’…—–《》〈〉　・ー«»·¿¡„‚")
_NEUTRAL = frozenset("§°©®™£€½¼¾²³\xa0†•")
_ALPHABETS = tuple(
    frozenset(letters)
    for letters in (
        "àâæçéèêëîïôœùûü", "äöüß", "áéíñóúüºª", "áâãàçéêíóôõúºª", "àèéìòù", "äåæéöø", "áðéíóúýþæö", "ëïéèöü",
        "ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "čćđšž", "ăâîșțşţ", "çğıöşüâîû",
        "āčēģīķļņšūž", "ąčęėįšųūž",
    )
)  # fmt: skip
"""The letters beyond a-z of French, German, Spanish, Portuguese, Italian, the Nordic languages, Dutch, Polish, ..."""
_ACCENTED = frozenset[str]().union(*_ALPHABETS)

_ANY_LATIN = "A-Za-zÀ-ɏ"
_FAR = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uff61-\uff9fЀ-ӿ\u0370-\u03ff\u0590-\u06ff\u0e00-\u0e7f"
_ODD = re.compile(
    "[a-zà-öø-ÿа-яёα-ω][А-ЯЁÀ-ÖØ-ÞŠŽĄĘŁŚŻŹĆŃČŘŮŐŰΑ-Ω]"  # a capital inside a word
    f"|[{_ANY_LATIN}][{_FAR}]|[{_FAR}][{_ANY_LATIN}]"  # two scripts in one word
    "|[\u3400-\u9fff][\uac00-\ud7a3]|[\uac00-\ud7a3][\u3400-\u9fff]"
    "|[^\\W\\d_][¡-§©-«¬®-±´-¸º-¿×÷‚-‡•‰‹›€™][^\\W\\d_]"  # a sign between two letters
)


def plausibility(text: str) -> float:
    """Mean points of the characters beyond ASCII, about -5 (noise) to 3 (surely text); 2 when all is plain ASCII."""
    counts = Counter(c for c in text if c > "\x7f" or (c < " " and c not in "\t\n\f\r"))
    total = counts.total()
    if not total:
        return 2.0
    points = sum(_points(c) * n for c, n in counts.items())
    accented = {c: n for c, n in counts.items() if c.lower() in _ACCENTED}
    # Languages do not share all their accents: only those of the best-fitting alphabet count.
    points += max(sum(2 * n if c.lower() in known else -2 * n for c, n in accented.items()) for known in _ALPHABETS)
    return (points - 3 * len(_ODD.findall(text))) / total


@functools.cache
def _points(c: str) -> float:  # noqa: PLR0911
    """Points of one character by itself; accented Latin letters are judged together, so they have none."""
    if c == "\ufffd":
        return -50.0
    low = c.lower()
    if low in _ACCENTED or c in _NEUTRAL:
        return 0.0
    if c in _MARKS or c in _FREQUENT_LETTERS:
        return 2.0
    if c in _FREQUENT_HAN:
        return 3.0
    if "\u3041" <= c <= "\u3096":
        return 2.0
    if "\u30a1" <= c <= "\u30fa":
        return 1.0
    if "\uac00" <= c <= "\ud7a3":
        return 2.5 if c in _FREQUENT_HANGUL else 0.5
    if c in _usual_han():
        return 0.5
    if unicodedata.category(c) in ("Cc", "Cn", "Co", "Cs"):
        return -5.0
    if unicodedata.name(c, "").split(" ")[0] in ("CYRILLIC", "GREEK", "HEBREW", "ARABIC", "THAI"):
        return -1.0 if low in _SELDOM_LETTERS else 0.5
    return -2.0


@functools.cache
def _usual_han() -> frozenset[str]:
    """The characters that the Chinese, Taiwanese and Japanese standards put into their first, everyday level."""
    found: set[str] = set()
    for encoding, first, last in (("gb2312", 0xB0, 0xD7), ("big5", 0xA4, 0xC6), ("euc_jp", 0xB0, 0xCF)):
        for lead in range(first, last + 1):
            row = b"".join(bytes((lead, trail)) + b" " for trail in range(0x40, 0xFF))
            found.update(row.decode(encoding, "ignore"))
    return frozenset(c for c in found if c >= "\u3400")
