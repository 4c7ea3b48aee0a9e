"""A guess at the language of a text from its script and its commonest words; knows no files, promises nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from fabula.text.counting import words_of

UNKNOWN = "unknown"

_COMMON: Mapping[str, frozenset[str]] = {
    code: frozenset(common.split())
    for code, common in {
        "en": "the and of to in that he was his it with had for as you but said they she",
        "fr": "le la les de des et un une il elle que qui ne pas dans est en du au je ce se",
        "de": "der die das und ein eine er sie es ist nicht ich zu den dem mit sich war auf von",
        "es": "el la los las de y que en un una no se por con su lo del al es como más",
        "it": "il la le di e che un una non si per con del della è gli era al lo ma",
        "pt": "os as de que um uma não se do da em por com ao seu mas para ele",
        "nl": "de het een en van ik te dat die in is niet zijn op met hij was er aan ze",
        "sv": "och att det en jag som han på är av för med till den hon var inte om ett",
        "pl": "się na nie do to że jest jak co ale po tak za od był ja jego gdy był",
    }.items()
}
_BY_SCRIPT: Mapping[str, str] = {
    "Hangul": "ko", "Kana": "ja", "Thai": "th", "Arabic": "ar", "Devanagari": "hi", "Greek": "el", "Hebrew": "he",
}  # fmt: skip
_SIMPLIFIED = frozenset(
    "们这说来时为国会对过后经么学当没动还进样从实与长机关点业将两间问应头体见东声论处义几认条气题别变总电书听难记马门"
)
_TRADITIONAL = frozenset(
    "們這說來時為國會對過後經麼學當沒動還進樣從實與長機關點業將兩間問應頭體見東聲論處義幾認條氣題別變總電書聽難記馬門"
)
_CLASSICAL = frozenset("之也者曰矣焉乃吾汝其乎哉耳")
_MODERN = frozenset("的了是们們这這那吗嗎呢我你他")


def guess_language(text: str, shares: Mapping[str, float]) -> str:
    """Language code of a text whose `script_shares` are known, `unknown` when nothing points clearly to one.

    Chinese is `zh-Hans` or `zh-Hant`, classical Chinese `lzh-Hans` or `lzh-Hant`.

    >>> guess_language("Il était une fois un roi et une reine qui ne riaient pas.", {"Latin": 1.0})
    'fr'
    """
    if not shares:
        return UNKNOWN
    script = next(iter(shares))
    if script == "Latin":
        return _by_common_words(text)
    if script == "Cyrillic":
        return _cyrillic(text)
    if script == "Han":
        return "ja" if shares.get("Kana", 0.0) > 0.05 else _chinese(text)
    return _BY_SCRIPT.get(script, UNKNOWN)


def _by_common_words(text: str) -> str:
    """The language whose commonest words make up the largest share, if it is large enough."""
    counts = Counter(words_of(text))
    scores = Counter({code: sum(counts[word] for word in common) for code, common in _COMMON.items()})
    (best, score), (_, second) = scores.most_common(2)
    return best if score >= max(2, 0.1 * counts.total()) and score > second else UNKNOWN


def _cyrillic(text: str) -> str:
    counts = Counter(text.lower())
    ukrainian = counts["і"] + counts["ї"] + counts["є"]
    russian = counts["ы"] + counts["э"] + counts["ё"]
    return UNKNOWN if ukrainian == russian else "uk" if ukrainian > russian else "ru"


def _chinese(text: str) -> str:
    counts = Counter(text)
    simplified = sum(counts[c] for c in _SIMPLIFIED - _TRADITIONAL)
    traditional = sum(counts[c] for c in _TRADITIONAL - _SIMPLIFIED)
    classical = sum(counts[c] for c in _CLASSICAL) > sum(counts[c] for c in _MODERN)
    return f"{'lzh' if classical else 'zh'}-{'Hant' if traditional > simplified else 'Hans'}"
