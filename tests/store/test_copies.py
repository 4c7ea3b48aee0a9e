"""Copies and sides beside what a few plain lines find with everything in memory."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fabula.store import copies, sides
from fabula.store.arrays import write_array
from fabula.store.encoding import facts_of, hash_of
from fabula.store.names import FACTS, array

TOP = 2**64


def write(folder: Path, shards: list[list[tuple[int, int]]]) -> list[tuple[str, int]]:
    """The facts of shards of (hash, bytes); their names and numbers of stories."""
    listed = []
    for number, stories in enumerate(shards):
        facts = np.zeros((4, len(stories)), np.uint64)
        for place, (hashed, size) in enumerate(stories):
            facts[:2, place] = hashed, size
        write_array(folder / array(f"shard-{number:05}-00000", FACTS), facts)
        listed.append((f"shard-{number:05}-00000", len(stories)))
    return listed


def mark(folder: Path, listed: list[tuple[str, int]], parts: int) -> tuple[list[bool], int]:
    """Whether each story is a copy, and how many are."""
    total = sum(count for _, count in listed)
    copies.make_marks(folder, total)
    found = sum(copies.find_copies(str(folder), [name for name, _ in listed], part, parts) for part in range(parts))
    return copies.marks_of(folder, 0, total).tolist(), found


EDGES = [0, 1, TOP - 1, TOP // 2, TOP // 2 - 1, TOP // 3, TOP // 3 + 1]
HASHES = st.one_of(st.sampled_from(EDGES), st.integers(0, TOP - 1), st.integers(0, 5))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.lists(HASHES, max_size=8), min_size=1, max_size=5).filter(lambda one: any(map(len, one))))
def test_copies_are_all_but_the_first_whatever_the_ranges(tmp_path: Path, hashes: list[list[int]]) -> None:
    listed = write(tmp_path, [[(one, 9) for one in shard] for shard in hashes])
    flat = [one for shard in hashes for one in shard]
    expected = [one in flat[:place] for place, one in enumerate(flat)]
    for parts in (1, 2, 3, 7):
        assert mark(tmp_path, listed, parts) == (expected, sum(expected))


def test_so_many_ranges_that_the_hashes_of_one_fit_into_memory() -> None:
    assert [copies.ranges(stories) for stories in (0, 1, copies.AT_ONCE, copies.AT_ONCE + 1)] == [1, 1, 1, 2]
    assert copies.ranges(50_000_000) < 50


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(seed=st.integers(0, 99), share=st.sampled_from([0.01, 0.05, 0.3]), count=st.integers(20, 400))
def test_the_lowest_hashes_are_held_out_as_far_as_the_share_goes(
    tmp_path: Path, seed: int, share: float, count: int
) -> None:
    rng = np.random.default_rng(seed)
    stories = [(int(one), int(size)) for one, size in zip(
        rng.integers(0, TOP, count, dtype=np.uint64), rng.integers(50, 150, count), strict=True
    )]  # fmt: skip
    stories += stories[:3]
    shards = [stories[start::4] for start in range(4)]
    listed, total = write(tmp_path, shards), sum(size for _, size in stories)
    mark(tmp_path, listed, 1)
    chosen = [
        shards[shard][number]
        for shard, numbers in sides.choose(tmp_path, listed, share, total).items()
        for number in numbers
    ]
    assert len(set(chosen)) == len(chosen), "no copies"
    target = share * total
    if target > 200:
        below = [one for one in sorted(set(stories)) if one[0] < share * TOP and one[1] <= 3 * target]
        size = sum(size for _, size in chosen)
        assert sorted(chosen) == sorted(set(stories))[: len(chosen)]
        assert target / 2 <= size <= 4 * target
        assert set(below) <= set(chosen) or size > 4 * target - 150, "all below the share, as far as it goes"
        assert len(chosen) <= max(len(below), 1) or size - max(chosen)[1] < target / 2, "and no more than are needed"
    assert sides.choose(tmp_path, listed, 0.0, total) == {}


def test_long_stories_are_not_held_out_whole(tmp_path: Path) -> None:
    listed = write(tmp_path, [[(5, 100_000), (9, 100_000), (TOP - 5, 100_000)]])
    mark(tmp_path, listed, 1)
    assert sides.choose(tmp_path, listed, 0.05, 300_000) == {}
    listed = write(tmp_path, [[(5, 100_000), (9, 300_000), (TOP - 5, 15_000), (TOP - 4, 15_000), (TOP - 3, 9000)]])
    mark(tmp_path, listed, 1)
    assert sides.choose(tmp_path, listed, 0.05, 439_000) == {0: [2]}


@pytest.mark.parametrize(("wished", "total", "share"), [(0.05, 10**6, 0.05), (0.05, 2 << 30, 1 / 1024), (0.0, 5, 0.0)])
def test_of_many_gigabytes_some_megabytes_are_held_out(wished: float, total: int, share: float) -> None:
    assert sides.share_of(wished, total) == share


def test_a_hash_is_that_of_the_text_without_the_space_around_it() -> None:
    assert hash_of(" a tale \n") == hash_of("a tale")
    assert hash_of("a tale") != hash_of("a  tale")
    assert hash_of("a tale") == 0xA7F3FB6B05E5A913, "what is held out must not change from version to version"
    assert facts_of(["né 猫"])[1:, 0].tolist() == [7, 4, 2]
