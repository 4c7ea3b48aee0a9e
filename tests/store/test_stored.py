"""Stories on the disk are read as those in memory would be, and a damaged shard never gives a wrong one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fabula.errors import FolderError
from fabula.store.arrays import write_array
from fabula.store.names import array
from fabula.store.shards import Shard
from fabula.store.stored import PAGE, Place, Stored
from fabula.streams import Ids, Lanes

END = 300


def write(folder: Path, shards: Sequence[Sequence[Ids]], kept: Sequence[Sequence[int]] | None = None) -> Stored:
    """Stories as `store_block` writes them; `kept` are those of each shard that are learned from."""
    listed = []
    for number, stories in enumerate(shards):
        name = f"shard-{number:05}-00000"
        chosen = list(range(len(stories))) if kept is None else list(kept[number])
        tokens = np.concatenate([np.empty(0, np.int32), *stories]).astype(np.uint16)
        write_array(folder / array(name, "tokens"), tokens)
        write_array(folder / array(name, "starts"), np.cumsum([0, *map(len, stories)], dtype=np.int64))
        write_array(folder / array(name, "kept"), np.array(chosen, np.int32))
        listed.append(Shard(name, len(chosen), sum(len(stories[one]) for one in chosen)))
    return Stored(Place(folder, tuple(listed), END, "digest"))


def told(seed: int, sizes: Sequence[int]) -> list[Ids]:
    """Stories of some lengths."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, END, size, dtype=np.int32) for size in sizes]


def plain_ring(shards: Sequence[Sequence[Ids]], seed: int, epoch: int) -> list[int]:
    """The ring of an epoch, all of it in memory."""
    units: list[int] = []
    for shard in np.random.default_rng((seed, epoch)).permutation(len(shards)):
        for story in np.random.default_rng((seed, epoch, shard)).permutation(len(shards[shard])):
            units += [END, *shards[shard][story].tolist()]
    return units


SHARDS = st.lists(st.lists(st.integers(1, 40), max_size=6), min_size=1, max_size=5)
SIZES = SHARDS.filter(lambda one: any(map(len, one)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    sizes=SIZES, seed=st.integers(0, 9), epoch=st.integers(0, 3), count=st.integers(1, 70), backward=st.booleans(),
    data=st.data(),
)  # fmt: skip
def test_the_ring_is_that_of_all_stories_in_memory(
    tmp_path: Path, sizes: list[list[int]], seed: int, epoch: int, count: int, backward: bool, data: st.DataObject
) -> None:
    shards = [told(number, one) for number, one in enumerate(sizes)]
    stored = write(tmp_path, shards)
    if backward:
        stored = stored.backwards()
        shards = [[story[::-1] for story in stories] for stories in shards]
    expected = np.array(plain_ring(shards, seed, epoch))
    ring = stored.ring(END, seed, epoch)
    assert len(ring) == len(expected)
    firsts = data.draw(st.lists(st.integers(0, len(expected) - 1), min_size=1, max_size=5))
    places = (np.array(firsts)[:, None] + np.arange(count)) % len(expected)
    np.testing.assert_array_equal(ring.take(places), expected[places])


@pytest.mark.parametrize("backward", [False, True])
def test_a_ring_of_many_pages(tmp_path: Path, backward: bool) -> None:
    rng = np.random.default_rng(3)
    shards = [told(number, rng.integers(1, 900, 30).tolist()) for number in range(4)]
    stored = write(tmp_path, shards)
    if backward:
        stored, shards = stored.backwards(), [[story[::-1] for story in stories] for stories in shards]
    expected, ring = np.array(plain_ring(shards, 1, 2)), stored.ring(END, 1, 2)
    assert len(ring) > 5 * PAGE
    for first in (0, PAGE - 3, PAGE, len(ring) - 5, 3 * PAGE - 40):
        places = (first + np.arange(2 * PAGE + 100)[None]) % len(ring)
        np.testing.assert_array_equal(ring.take(places), expected[places])
    lanes = Lanes(stored, END, batch=7, length=33, seed=1)
    seen = np.concatenate([lanes.batch(step)[1].ravel() for step in range(lanes.steps_per_epoch)])
    assert (np.bincount(seen, minlength=END + 1) >= stored.frequencies(END)).all()


def test_stories_are_read_one_by_one_and_in_slices(tmp_path: Path) -> None:
    shards = [told(number, sizes) for number, sizes in enumerate([[3, 4], [], [5], [1, 2, 3]])]
    stored = write(tmp_path, shards, kept=[[1], [], [0], [0, 2]])
    expected = [shards[0][1], shards[2][0], shards[3][0], shards[3][2]]
    assert len(stored) == 4
    assert stored.tokens == 4 + 5 + 1 + 3
    assert [story.tolist() for story in stored] == [story.tolist() for story in expected]
    assert [story.tolist() for story in stored[1:3]] == [story.tolist() for story in expected[1:3]]
    assert stored[-1].tolist() == expected[3].tolist()
    assert stored[0].dtype == np.int32
    assert [story.tolist() for story in stored.backwards()] == [story[::-1].tolist() for story in expected]
    assert [story.tolist() for story in stored.backwards().backwards()] == [story.tolist() for story in stored]
    assert stored.backwards().digest != stored.digest
    counts = np.bincount(np.concatenate(expected), minlength=END + 1)
    counts[END] = 4
    assert stored.frequencies(END).tolist() == counts.tolist()
    with pytest.raises(IndexError):
        stored[4]


@pytest.mark.parametrize("strange", [END, END + 1, 65_535])
def test_an_id_that_no_unit_has_is_one_line(tmp_path: Path, strange: int) -> None:
    stored = write(tmp_path, [told(0, [30, 40])])
    path = tmp_path / array("shard-00000-00000", "tokens")
    tokens = np.load(path)
    tokens[35] = strange
    np.save(path, tokens)
    with pytest.raises(FolderError, match="ids beyond its 300 units"):
        stored[1]
    with pytest.raises(FolderError, match="ids beyond its 300 units"):
        stored.ring(END, 1, 0).take(np.arange(len(stored) + stored.tokens)[None])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("starts", [0, 30, 71]),
        ("starts", [0, 71, 70]),
        ("starts", [1, 30, 70]),
        ("starts", [0, -5, 70]),
        ("starts", [0, 30]),
        ("kept", [0, 2]),
        ("kept", [-1, 1]),
        ("kept", [1, 1]),
        ("kept", [1]),
        ("tokens", [5] * 69),
        ("tokens", []),
    ],
)
def test_parts_that_do_not_fit_together_are_one_line(tmp_path: Path, kind: str, values: list[int]) -> None:
    stored = write(tmp_path, [told(0, [30, 40])])
    dtype = {"starts": np.int64, "kept": np.int32, "tokens": np.uint16}[kind]
    np.save(tmp_path / array("shard-00000-00000", kind), np.array(values, dtype))
    with pytest.raises(FolderError, match="is damaged"):
        stored[0]


@pytest.mark.parametrize("harm", ["cut", "longer", "text", "floats", "objects", "flat", "link", "gone", "empty"])
def test_a_file_that_is_no_such_array_is_one_line(tmp_path: Path, harm: str) -> None:
    stored = write(tmp_path, [told(0, [30, 40])])
    path = tmp_path / array("shard-00000-00000", "tokens")
    data, tokens = path.read_bytes(), np.load(path)
    path.unlink()
    if harm == "floats":
        np.save(path, tokens.astype(np.float64))
    elif harm == "objects":
        np.save(path, tokens.astype(object), allow_pickle=True)
    elif harm == "flat":
        np.save(path, tokens[:, None])
    elif harm == "link":
        (tmp_path / "elsewhere.npy").write_bytes(data)
        path.symlink_to(tmp_path / "elsewhere.npy")
    elif harm != "gone":
        path.write_bytes({"cut": data[:-2], "longer": data + b"\0", "text": b"x" * 200, "empty": b""}[harm])
    with pytest.raises(FolderError, match="is damaged"):
        stored.ring(END, 1, 0).take(np.arange(4)[None])
