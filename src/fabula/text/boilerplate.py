"""What stands in a text and is no story: licences, imprints, page furniture, damage; knows no files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_KINDS: Mapping[str, re.Pattern[str]] = {
    "Project Gutenberg licence": re.compile(r"Project Gutenberg|\*\*\* ?(?:START|END) OF TH(?:E|IS)"),
    "copyright or imprint": re.compile(
        r"\bISBN\b|(?<!Ã)©|[Aa]ll [Rr]ights [Rr]eserved|ALL RIGHTS RESERVED|\bCopyright\b|Creative Commons"
    ),
    "web addresses": re.compile(r"https?://|\bwww\."),
    "page furniture": re.compile(
        r"[Aa]ccept (?:all )?[Cc]ookies|[Cc]ookie [Pp]olicy|[Pp]rivacy [Pp]olicy|[Tt]erms of [Uu]se|[Ss]ubscribe to our"
    ),
    "markup": re.compile(r"</?(?:p|br|div|span|strong|em|b|i|a)\b[^<>\n]{0,100}>|&(?:nbsp|amp|quot|lt|gt|#\d+);"),
}
_DAMAGE: Mapping[str, re.Pattern[str]] = {
    "control characters": re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]"),
    "U+FFFD in place of lost characters": re.compile("\ufffd"),
    "text decoded twice": re.compile("Ã[\x80-\xbf]|â€[™œ˜“”¦\x9d]|Ð[\x80-\xbf]Ð|Ñ[\x80-\xbf]Ð|ï¿½|锟斤拷"),
}
_LONG_LINE = 12  # characters from which a line that comes again and again is no refrain
_MANY = 0.05  # share of the stories that must have such a line
_EXAMPLES = 5
_FEW_TEXTS = 10  # below so many nothing can be said


@dataclass(frozen=True)
class Finding:
    """One kind of thing that does not belong into a story."""

    kind: str
    count: int
    """Places, or stories for a repeated line."""
    example: str


def find_boilerplate(texts: Sequence[str]) -> list[Finding]:
    """Licences, imprints, page furniture, damage and lines that many texts have in common, each with an example."""
    findings = [finding for kind, pattern in {**_KINDS, **_DAMAGE}.items() if (finding := _count(kind, pattern, texts))]
    lines = Counter(line for text in texts for line in {line.strip() for line in text.split("\n")})
    common = [(line, count) for line, count in lines.most_common(50) if len(line) >= _LONG_LINE]
    for line, count in common[:_EXAMPLES] if len(texts) >= _FEW_TEXTS else ():
        if count >= max(3, _MANY * len(texts)):
            findings.append(Finding("line repeated in many stories", count, _shown(line)))
    return findings


def _count(kind: str, pattern: re.Pattern[str], texts: Sequence[str]) -> Finding | None:
    """How often a pattern is found, with the first place."""
    count, example = 0, ""
    for text in texts:
        for found in pattern.finditer(text):
            if not count:
                start = max(text.rfind("\n", 0, found.start()) + 1, found.start() - 30)
                example = _shown(text[start : found.end() + 30].partition("\n")[0])
            count += 1
    return Finding(kind, count, example) if count else None


def _shown(line: str) -> str:
    """A line for people: short, without control characters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)[:80]
