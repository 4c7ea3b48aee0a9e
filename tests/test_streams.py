"""Lanes and windows lose no unit, repeat exactly, and go on where they stopped."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.errors import UsageError
from fabula.streams import Ahead, Held, Lanes, Share, Windows, ceiling, join

END = 99
STORIES = [np.arange(10, 10 + n, dtype=np.int32) for n in (4, 1, 7, 3)]


def test_join_marks_the_beginning_of_every_story() -> None:
    assert join(STORIES[:2], END).tolist() == [END, 10, 11, 12, 13, END, 10]


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    batch=st.integers(1, 9),
    length=st.integers(1, 11),
    seed=st.integers(0, 5),
)
def test_every_unit_is_a_target_once_an_epoch_or_twice_at_a_seam(
    lengths: list[int], batch: int, length: int, seed: int
) -> None:
    starts = np.cumsum([0, *lengths])
    stories = [np.arange(starts[i], starts[i + 1], dtype=np.int32) for i in range(len(lengths))]
    end = int(starts[-1])
    lanes = Lanes(Held(stories), end, batch=batch, length=length, seed=seed)
    seen = np.concatenate([lanes.batch(step)[1].ravel() for step in range(lanes.steps_per_epoch)])
    counts = np.bincount(seen, minlength=end + 1)
    assert (counts[:end] >= 1).all()
    assert counts[end] >= len(stories)
    assert seen.size - (end + len(stories)) < lanes.lanes


def test_a_single_text_is_read_on_without_a_break() -> None:
    lanes = Lanes(Held([np.arange(23, dtype=np.int32)]), 23, batch=4, length=3, seed=1)
    previous = lanes.batch(0)
    assert previous[0][0, 0] == 23, "the first lane begins where a story does, with the end mark"
    for step in range(1, 3 * lanes.steps_per_epoch):
        current = lanes.batch(step)
        ahead = (current[0][:, 0] - previous[1][:, -1]) % 24
        assert set(ahead.tolist()) <= {0, 23}, "a lane repeats at most one unit at a seam"
        previous = current


def test_batches_are_functions_of_seed_and_step() -> None:
    one, other = (Lanes(Held(STORIES), END, batch=2, length=3, seed=7) for _ in range(2))
    later = one.batch(40)
    for step in (3, 40):
        other.batch(step)
    np.testing.assert_array_equal(later[0], other.batch(40)[0])
    different = Lanes(Held(STORIES), END, batch=2, length=3, seed=8)
    orders = [np.concatenate([feed.batch(s)[1].ravel() for s in range(9)]).tolist() for feed in (one, different)]
    assert orders[0] != orders[1]


def test_targets_follow_inputs() -> None:
    inputs, targets = Lanes(Held(STORIES), END, batch=3, length=4, seed=0).batch(0)
    np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])


def test_windows_hold_each_unit_and_what_came_before_it() -> None:
    windows = Windows([np.array([1, 2, 3, 4], np.int32), np.array([5, 6], np.int32)], 9, window=3, batch=100, seed=0)
    inputs, targets = windows.batch(0)
    rows = sorted((*left.tolist(), int(right)) for left, right in zip(inputs, targets[:, 0], strict=True))
    assert rows == sorted(
        [(9, 9, 9, 1), (9, 9, 1, 2), (9, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 9), (9, 9, 9, 5), (9, 9, 5, 6), (9, 5, 6, 9)]
    )


def test_windows_read_everything_once_an_epoch() -> None:
    windows = Windows(STORIES, END, window=2, batch=4, seed=3)
    seen = [windows.batch(step)[1].size for step in range(windows.steps_per_epoch)]
    assert sum(seen) == sum(len(story) + 1 for story in STORIES)


@pytest.mark.parametrize(("window", "share"), [(1, 64.0), (2, 91.6), (3, 99.0), (4, 99.5), (5, 99.5), (6, 100.0)])
def test_ceiling_of_the_fable(fable, window: int, share: float) -> None:  # noqa: ANN001
    """What a look-up table of the last words of the article's text can reach at best."""
    ids: dict[str, int] = {}
    words = fable.read_text(encoding="utf-8").split()
    stream = np.array([ids.setdefault(word, len(ids)) for word in words], np.int32)
    found = ceiling([stream], window)
    assert round(100 * found.right / found.total, 1) == share
    assert found.total == 204 - window


@pytest.mark.parametrize("steps", [range(9), (4, 5, 0, 0, 7)])
def test_batches_made_ahead_are_the_same(steps: Iterable[int]) -> None:
    plain, ahead = (Lanes(Held(STORIES), END, batch=2, length=3, seed=7) for _ in range(2))
    feed = Ahead(ahead)
    assert (feed.carried, feed.steps_per_epoch) == (plain.carried, plain.steps_per_epoch)
    for step in steps:
        for one, other in zip(plain.batch(step), feed.batch(step), strict=True):
            assert (one == other).all()


@pytest.mark.parametrize("parts", [2, 3])
def test_shares_side_by_side_are_the_batch_of_one(parts: int) -> None:
    whole = Lanes(Held(STORIES), END, batch=6, length=3, seed=7)
    shares = [Lanes(Held(STORIES), END, batch=6, length=3, seed=7, share=Share(n, parts)) for n in range(parts)]
    for step in range(2 * whole.steps_per_epoch):
        together = [np.concatenate(rows) for rows in zip(*(share.batch(step) for share in shares), strict=True)]
        for one, other in zip(whole.batch(step), together, strict=True):
            assert (one == other).all()
    with pytest.raises(UsageError, match="cannot be shared"):
        Lanes(Held(STORIES), END, batch=6, length=3, seed=7, share=Share(0, 4))


@pytest.mark.parametrize("pieces", [2, 3])
def test_the_short_last_batch_of_windows_has_rows_for_all(pieces: int) -> None:
    """15 units and 4 end marks in batches of 12: the second has 7, some of which come twice."""
    share = Share(1, 2, pieces)
    rows = [len(Windows(STORIES, END, window=2, batch=12, seed=3, share=share).batch(step)[0]) for step in range(2)]
    assert rows[0] == 6
    assert rows[1] >= 7 / 2
    assert not rows[1] % pieces
    with pytest.raises(UsageError, match="cannot be shared by 8 equal parts"):
        Lanes(Held(STORIES), END, batch=100, length=3, seed=7, share=Share(0, 2, 4))  # a text of 19 makes 19 of them
