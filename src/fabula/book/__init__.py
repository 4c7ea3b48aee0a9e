"""A book: chapters that a model writes one after another, as EPUB and HTML; this file is only the room's door."""

from fabula.book.chapters import Book, Chapter, bind, write_book
from fabula.book.epub import to_epub
from fabula.book.html import to_html

__all__ = ["Book", "Chapter", "bind", "to_epub", "to_html", "write_book"]
