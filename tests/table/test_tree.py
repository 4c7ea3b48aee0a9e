"""The tree of a story: nothing told is ever lost, and every walk ends where it should."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fabula.table import ROOT, Table


def story(*words: str) -> Table:
    table = Table()
    for word in words:
        table.add(word)
    return table


def test_a_story_is_its_words() -> None:
    table = story("Long", " ago", ",", " the", " mice")
    assert table.text == "Long ago, the mice"
    assert table.tail(2) == " the mice"
    assert (table.under, table.words[table.here].text) == (None, " mice")


def test_another_word_makes_a_branch_and_the_old_one_stays() -> None:
    table = story("the", " fox", " ran", " home")
    table.move(-3)
    assert table.words[table.under or 0].text == " fox"
    table.remember()
    table.add(" hen")
    assert table.text == "the hen"
    table.add(" sat")
    table.move(-2)
    assert table.versions == (2, 2)
    assert table.turn(1)
    assert (table.text, table.versions, table.tail(9)) == ("the fox ran home", (1, 2), "the")
    assert table.turn(1)
    assert table.text == "the hen sat"
    assert table.turn(-1)
    assert table.text == "the fox ran home"


def test_the_same_word_at_the_same_place_is_one_word() -> None:
    table = story("the", " fox")
    table.move(-1)
    assert table.add(" fox") == 2
    assert len(table.words) == 3
    table.move(-1)
    table.add(" fox", [7])  # spelled in other units it is another
    assert len(table.words) == 4


def test_undo_and_redo_walk_and_lose_nothing() -> None:
    table = story("one")
    table.remember()
    table.add(" two")
    table.remember()
    table.add(" three")
    assert (table.undo(), table.text) == (True, "one two")
    assert (table.undo(), table.text) == (True, "one")
    assert (table.undo(), table.text) == (False, "one")
    assert (table.redo(), table.redo(), table.redo(), table.text) == (True, True, False, "one two three")
    table.undo()
    table.remember()
    table.add(" four")
    assert (table.redo(), table.text) == (False, "one two four")
    assert {word.text for word in table.words} == {"", "one", " two", " three", " four"}


def test_undo_brings_back_the_place_too() -> None:
    table = story("one", " two", " three")
    table.move(-2)
    table.remember()
    table.cut()
    assert table.text == "one"
    table.undo()
    assert (table.text, table.tail(9)) == ("one two three", "one")


def test_a_visit_goes_on_as_the_story_last_went_on_there() -> None:
    table = story("a", " b", " c")
    table.move(-2)
    table.add(" B")
    table.visit(1)
    assert table.text == "a B"  # the last walk led there
    table.visit(2)
    assert (table.text, table.tail(9)) == ("a b c", "a b")
    table.visit(1)
    assert table.text == "a b c"  # now this is where the last walk led


def test_forks_are_found_round_the_story() -> None:
    table = story("a", " b", " c", " d")
    assert not table.go_to_branching(1)
    table.move(-3)
    table.add(" x")
    assert table.text == "a x"
    assert (table.go_to_branching(1), table.tail(9)) == (True, "a")
    table.turn(1)
    table.move(9)
    assert (table.go_to_branching(-1), table.tail(9)) == (True, "a")
    table.move(9)
    table.move(-1)
    table.cut()  # what was cut off is a branch as well
    assert (table.go_to_branching(1), table.tail(9)) == (True, "a")
    assert (table.go_to_branching(1), table.tail(9)) == (True, "a b c")
    assert table.versions == (0, 1)
    assert (table.turn(1), table.text) == (True, "a b c d")
    assert not table.turn(1)


def test_bookmarks_are_named_by_the_last_words() -> None:
    table = story("a", " fox", "\n\nran")
    assert table.mark() == "a fox ran"
    table.move(-1)
    assert table.mark("here") == "here"
    table.move(-9)
    assert table.mark() == "the beginning"
    assert table.bookmarks == {"a fox ran": 3, "here": 2, "the beginning": ROOT}
    assert story("x" * 99).mark() == "... " + "x" * 30
    assert story("one two", " three four five six seven eight").mark() == "... four five six seven eight"


def test_units_are_the_last_ones_before_the_gap() -> None:
    table = Table()
    table.add("a", [1, 2])
    table.add("b", [3])
    table.add("c", [4, 5])
    table.move(-1)
    assert [table.units(most) for most in (0, 1, 2, 9)] == [[], [3], [2, 3], [1, 2, 3]]


class Walks(RuleBasedStateMachine):
    """Whatever one does, the tree stays a tree, the story a path in it, and no word goes."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Table()
        self.known: list[tuple[str, int]] = [("", -1)]

    @rule(text=st.sampled_from("abc"))
    def add(self, text: str) -> None:
        here = self.table.here
        self.table.remember()
        word = self.table.add(text)
        assert (self.table.here, self.table.tip) == (word, word)
        assert (self.table.words[word].text, self.table.words[word].parent) == (text, here)

    @rule(step=st.integers(-3, 3))
    def move(self, step: int) -> None:
        before, gap = list(self.table.path), self.table.gap
        assert self.table.move(step) == (self.table.gap != gap)
        assert self.table.path == before

    @rule(step=st.sampled_from((-1, 1)))
    def turn(self, step: int) -> None:
        here, (now, branches) = self.table.here, self.table.versions
        assert self.table.turn(step) == (branches > (now > 0))
        assert self.table.here == here
        if branches > 1 and now:
            assert self.table.versions == ((now - 1 + step) % branches + 1, branches)

    @rule(step=st.sampled_from((-1, 1)))
    def fork(self, step: int) -> None:
        if self.table.go_to_branching(step):
            now, branches = self.table.versions
            assert branches > (now > 0)

    @rule()
    def cut(self) -> None:
        self.table.remember()
        self.table.cut()
        assert self.table.under is None

    @rule(data=st.data())
    def visit(self, data: st.DataObject) -> None:
        word = data.draw(st.integers(0, len(self.table.words) - 1))
        self.table.remember()
        self.table.visit(word)
        assert self.table.here == word

    @precondition(lambda self: len(self.table.words) > 1)
    @rule()
    def undo_and_redo(self) -> None:
        place = (self.table.here, self.table.tip)
        if self.table.undo():
            assert self.table.redo()
            assert (self.table.here, self.table.tip) == place

    @rule()
    def undo(self) -> None:
        self.table.undo()

    @invariant()
    def is_a_tree_with_a_path(self) -> None:
        table = self.table
        for number, word in enumerate(table.words):
            assert word.parent < number
            assert all(table.words[child].parent == number for child in word.children)
            assert word.latest == -1 or word.latest in word.children
        assert sorted(child for word in table.words for child in word.children) == list(range(1, len(table.words)))
        assert table.path[0] == ROOT
        assert all(table.words[b].parent == a for a, b in zip(table.path, table.path[1:], strict=False))
        assert 0 <= table.gap < len(table.path)
        now = [(word.text, word.parent) for word in table.words]
        assert now[: len(self.known)] == self.known  # nothing that was told is lost
        self.known = now


TestWalks = Walks.TestCase
TestWalks.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
