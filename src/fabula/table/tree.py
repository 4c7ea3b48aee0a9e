"""The story as a tree of words: where one is in it, its branches and bookmarks; knows no network, file or terminal.

Every word that was ever told stays where it was told. The present story is a path from the root to a tip; the gap in it
is where the writer is, and whatever comes there makes way for what followed, which stays as another branch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

ROOT = 0
"""The word before all words: it has no text."""

UNDONE = 1000
"""Steps that can be taken back."""

NAMED = 30
"""Characters in the name of a bookmark that was given none."""


@dataclass(slots=True)
class Word:
    """A word of the tree with the space before it, or a mark: what one can step over, and what can be another."""

    text: str
    units: tuple[int, ...] = ()
    """The units that spell it, as they were drawn or read."""
    own: bool = False
    """Whether the writer put it down; a word that both said counts as whoever said it first."""
    nats: float | None = None
    """How much it surprised the network; None where it was not asked yet."""
    parent: int = -1
    asked: int = 0
    """Times the model told what comes next: each asking draws other words."""
    children: list[int] = field(default_factory=list)
    """What came after it, in the order in which it came."""
    latest: int = -1
    """That of the children which the last path led through."""


class Table:
    """The words by their numbers, a parent before its children, and the present story.

    >>> table = Table()
    >>> _ = table.add("Long"), table.add(" ago"), table.move(-1), table.add(" live")
    >>> table.text, table.versions
    ('Long live', (0, 0))
    >>> _ = table.move(-1), table.turn(1)
    >>> table.text, table.versions
    ('Long ago', (1, 2))
    """

    def __init__(self) -> None:
        self.words = [Word("")]
        self.path = [ROOT]
        """The present story by the numbers of its words, the root first."""
        self.gap = 0
        """The place in the path of the word before the gap."""
        self.bookmarks: dict[str, int] = {}
        self.changes = 0
        """Grows with whatever a file would have to say."""
        self._done: deque[tuple[int, int]] = deque(maxlen=UNDONE)
        self._undone: deque[tuple[int, int]] = deque()

    @property
    def here(self) -> int:
        """The word before the gap."""
        return self.path[self.gap]

    @property
    def under(self) -> int | None:
        """The word after the gap, the one under the cursor; None at the end."""
        return self.path[self.gap + 1] if self.gap + 1 < len(self.path) else None

    @property
    def tip(self) -> int:
        """The last word of the present story."""
        return self.path[-1]

    @property
    def text(self) -> str:
        """The present story."""
        return "".join(self.words[word].text for word in self.path)

    def tail(self, words: int) -> str:
        """The last few words before the gap."""
        return "".join(self.words[word].text for word in self.path[max(0, self.gap + 1 - words) : self.gap + 1])

    def units(self, most: int) -> list[int]:
        """The last units before the gap."""
        found: list[int] = []
        for word in reversed(self.path[: self.gap + 1]):
            if len(found) >= most:
                break
            found += reversed(self.words[word].units)
        return found[:most][::-1]

    # --- growing ---------------------------------------------------------------------------------------------------

    def add(self, text: str, units: Sequence[int] = (), *, own: bool = False, nats: float | None = None) -> int:
        """Put a word into the gap and step over it; its number, an old one where the same came there before."""
        spelled = tuple(units)
        word = self.child(text, spelled)
        if word is None:
            word = len(self.words)
            self.words.append(Word(text, spelled, own, nats, self.here))
            self.words[self.here].children.append(word)
        self.words[self.here].latest = word
        self.cut()
        self.path.append(word)
        self.gap += 1
        return word

    def child(self, text: str, units: tuple[int, ...]) -> int | None:
        """The word that came into this gap before with that text and those units."""
        known = ((word, self.words[word]) for word in self.words[self.here].children)
        return next((number for number, word in known if word.units == units and word.text == text), None)

    def cut(self) -> None:
        """End the present story at the gap."""
        del self.path[self.gap + 1 :]
        self.changes += 1

    # --- walking ---------------------------------------------------------------------------------------------------

    def move(self, words: int) -> bool:
        """Go so many words on, or back; whether that led anywhere."""
        before, self.gap = self.gap, min(max(0, self.gap + words), len(self.path) - 1)
        self.changes += self.gap != before
        return self.gap != before

    def visit(self, word: int) -> None:
        """Make the present story one that leads through a word, and on as it last did; the gap is after the word."""
        self._settle(word, self._leaf(word))

    def turn(self, step: int) -> bool:
        """Let the next of the branches follow the gap, or the one before; False where there is no other."""
        children = self.words[self.here].children
        now = children.index(self.under) if self.under is not None else (-1 if step > 0 else 0)
        if not children or (self.under is not None and len(children) == 1):
            return False
        self._settle(self.here, self._leaf(children[(now + step) % len(children)]))
        return True

    @property
    def versions(self) -> tuple[int, int]:
        """Which of the branches at the gap is the present one, counted from 1, 0 for none; and how many there are."""
        children = self.words[self.here].children
        return (children.index(self.under) + 1 if self.under is not None else 0), len(children)

    def go_to_branching(self, step: int) -> bool:
        """Go to the next gap where the story was told in other ways too, round from the end to the beginning."""
        size = len(self.path)
        for place in ((self.gap + step * far) % size for far in range(1, size)):
            if self._is_fork(place):
                return self.move(place - self.gap)
        return False

    def _is_fork(self, place: int) -> bool:
        return len(self.words[self.path[place]].children) > (place + 1 < len(self.path))

    def _leaf(self, word: int) -> int:
        """Where the story went from a word when it was last walked there."""
        while self.words[word].latest >= 0:
            word = self.words[word].latest
        return word

    def _settle(self, here: int, tip: int) -> None:
        path = [tip]
        while self.words[path[-1]].parent >= 0:
            path.append(self.words[path[-1]].parent)
        self.path = path[::-1]
        self.gap = self.path.index(here)
        for before, after in zip(self.path, self.path[1:], strict=False):
            self.words[before].latest = after
        self.changes += 1

    # --- taking back -----------------------------------------------------------------------------------------------

    def remember(self) -> None:
        """What comes now can be taken back as one step."""
        self._done.append((self.here, self.tip))
        self._undone.clear()

    def undo(self) -> bool:
        """Back to where the last step began; no word is lost by it."""
        return self._swap(self._done, self._undone)

    def redo(self) -> bool:
        """Forth again."""
        return self._swap(self._undone, self._done)

    @property
    def undoable(self) -> tuple[bool, bool]:
        """Whether there is a step to take back, and one to take again."""
        return bool(self._done), bool(self._undone)

    def _swap(self, source: deque[tuple[int, int]], target: deque[tuple[int, int]]) -> bool:
        if not source:
            return False
        target.append((self.here, self.tip))
        self._settle(*source.pop())
        return True

    # --- bookmarks -------------------------------------------------------------------------------------------------

    def mark(self, name: str = "") -> str:
        """Remember this place by a name, its last words where none is given; an old place of that name is let go."""
        line = " ".join((name or self.tail(NAMED)).split())
        if not name and len(line) > NAMED:
            end = line[-NAMED:]
            line = f"... {end.partition(' ')[2] or end}"
        name = name or line or "the beginning"
        self.bookmarks[name] = self.here
        self.changes += 1
        return name
