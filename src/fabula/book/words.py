"""What all forms of a book share: its own words in English and Chinese, paragraphs, the rows of its appendix."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fabula.book.chapters import Book
from fabula.novelty import LONG, SHORTEST

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Characters that XML has no place for, and control characters."""

_WORDS: Mapping[str, Mapping[str, Any]] = {
    "en": {
        "chapter": "Chapter {number}", "contents": "Contents", "by": "Written by the model {model} with seed {seed}.",
        "appendix": "What was copied",
        "explained": f"Of each chapter's words, how many lie in runs of {SHORTEST} and of {LONG} or more that the text "
        "which the model learned from has too, and the longest such run.",
        "columns": ("chapter", f"in runs of {SHORTEST}", f"in runs of {LONG}", "longest", "words", "the longest run"),
    },
    "zh": {
        "chapter": "第 {number} 章", "contents": "目录", "by": "由模型 {model} 写成，种子 {seed}。",
        "appendix": "抄了多少",
        "explained": f"每章有多大比例的词落在与训练文本相同的、连续 {SHORTEST} 个和 {LONG} 个词以上的片段里，"
        "以及最长的一段。",
        "columns": ("章", f"{SHORTEST} 词以上", f"{LONG} 词以上", "最长", "词数", "最长的一段"),
    },
}  # fmt: skip


def words_for(language: str) -> Mapping[str, Any]:
    """The book's own words, in Chinese for a Chinese book."""
    return _WORDS["zh" if language.startswith(("zh", "lzh")) else "en"]


def cleaned(text: str) -> str:
    """Text without characters that a book cannot hold."""
    return _FORBIDDEN.sub("\ufffd", text)


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a chapter, each on one line; lines of their own stay so where there are no blank ones."""
    parts = re.split(r"\n\s*\n" if re.search(r"\n\s*\n", text) else r"\n", cleaned(text))
    return [" ".join(part.split()) for part in parts if part.strip()]


def appendix_rows(book: Book) -> list[tuple[str, ...]]:
    """Number and title, shares, longest run and words of every chapter."""
    rows = list[tuple[str, ...]]()
    for number, chapter in enumerate(book.chapters, 1):
        name, found = f"{number} {cleaned(chapter.title)}", chapter.copied
        told = (
            ("–", "–", "–") if found is None else (f"{found.share:.0%}", f"{found.long_share:.0%}", str(found.longest))
        )
        rows.append((name, *told, f"{chapter.words:,}", " ".join(cleaned(chapter.longest).split())))
    return rows
