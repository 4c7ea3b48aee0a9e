"""A store is the same whoever writes it, goes on where it stopped, and says what stands in its way."""

import gzip
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fabula.config import TextConfig
from fabula.errors import FabulaError, FolderError, SavingError, TextError, UsageError
from fabula.store import Progress, Store, build, is_large, open_store
from fabula.text import read_library

SMALL = 10_000
Tell = Callable[..., list[str]]


def texts_of(store: Store) -> list[str]:
    """The stories that are learned from, in their order."""
    return [store.tokenizer.decode(units) for units in store.train]


def all_of(store: Store) -> list[str]:
    """Those that are held out too, sorted."""
    return sorted([*texts_of(store), *(store.tokenizer.decode(units) for units in store.held_out or ())])


@pytest.mark.parametrize("unit", ["words", "subwords", "chars", "bytes"])
def test_a_store_has_every_story_once(library: Path, tmp_path: Path, unit: str) -> None:
    store = build([library], TextConfig(unit=unit), tmp_path / "store", processes=1, block=SMALL)
    told = [story.text for story in read_library([library], TextConfig()).stories]
    assert all_of(store) == sorted(set(told))
    assert store.copies == 10
    assert any("left out 10 copies" in note for note in store.notes)
    assert store.held_out
    learned = texts_of(store)
    known = set(learned)
    assert learned == [text for text in dict.fromkeys(told) if text in known], "in their order"
    assert store.counts.words == sum(len(text.split()) for text in learned)
    assert store.counts.bytes == sum(len(text.encode()) for text in learned)


def test_the_number_of_processes_changes_nothing(library: Path, tmp_path: Path) -> None:
    one = build([library], TextConfig(), tmp_path / "one", processes=1, block=SMALL)
    three = build([library], TextConfig(), tmp_path / "three", processes=3, block=SMALL)
    assert one.digest == three.digest
    assert len(one.files) > 20
    files = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "three").iterdir()}
    assert set(one.files) | {"manifest.json"} == set(files), "nothing is left of the way there"


class _EnoughError(Exception):
    """Raised in the middle."""


def test_it_goes_on_where_it_stopped(library: Path, tmp_path: Path) -> None:
    whole = build([library], TextConfig(), tmp_path / "whole", processes=1, block=SMALL)

    def stop(step: Progress) -> None:
        if step.stage == "storing" and step.done > step.total / 2:
            raise _EnoughError

    with pytest.raises(_EnoughError):
        build([library], TextConfig(), tmp_path / "store", processes=1, block=SMALL, tell=stop)
    with pytest.raises(FolderError, match="holds no manifest"):
        open_store(tmp_path / "store")
    done = {path: path.stat().st_ino for path in (tmp_path / "store").glob("*.tokens.npy")}
    assert 1 < len(done) < len(list((tmp_path / "whole").glob("shard-*.tokens.npy")))
    seen: list[str] = []
    store = build(
        [library], TextConfig(), tmp_path / "store", processes=1, block=SMALL, tell=lambda s: seen.append(s.stage)
    )
    assert store.digest == whole.digest
    assert "vocabulary" not in seen
    assert {path: path.stat().st_ino for path in done} == done, "what was there has not been written again"


def test_a_shard_that_is_cut_off_is_written_again(library: Path, tmp_path: Path) -> None:
    def stop(step: Progress) -> None:
        if step.stage == "finishing":
            raise _EnoughError

    with pytest.raises(_EnoughError):
        build([library], TextConfig(), tmp_path / "store", processes=1, block=SMALL, tell=stop)
    victim = sorted((tmp_path / "store").glob("*.tokens.npy"))[2]
    victim.write_bytes(victim.read_bytes()[:-6])
    whole = build([library], TextConfig(), tmp_path / "whole", processes=1, block=SMALL)
    assert build([library], TextConfig(), tmp_path / "store", processes=1, block=SMALL).digest == whole.digest


def test_a_finished_store_is_opened_and_another_text_makes_it_anew(library: Path, tmp_path: Path) -> None:
    first = build([library], TextConfig(), tmp_path / "store", processes=1, block=SMALL)
    before = (tmp_path / "store" / "manifest.json").stat().st_ino
    again = build([library], TextConfig(), tmp_path / "store", processes=1, block=SMALL)
    assert again.digest == first.digest
    assert (tmp_path / "store" / "manifest.json").stat().st_ino == before
    library.write_text(library.read_text(encoding="utf-8") + "\n\n# New\n\nA fox came by.", encoding="utf-8")
    anew = build([library], TextConfig(), tmp_path / "store", processes=1, block=SMALL)
    assert anew.digest != first.digest
    assert any("made anew" in note for note in anew.notes)
    assert any("A fox came by." in text for text in all_of(anew))
    library.write_text(library.read_text(encoding="utf-8").replace("A fox", "A cat"), encoding="utf-8")
    last = build([library], TextConfig(), tmp_path / "store", processes=1, block=SMALL)
    assert any("A cat came by." in text for text in all_of(last)), "of the same size, but written later"


def test_a_text_that_changes_while_it_is_read_is_told(library: Path, tmp_path: Path) -> None:
    def meddle(step: Progress) -> None:
        if step.stage == "finishing" and step.done == step.total:
            library.write_bytes(library.read_bytes() + b"\n\n# More\n\nAnd more.")

    with pytest.raises(TextError, match="have changed while they were read"):
        build([library], TextConfig(), tmp_path / "store", processes=1, block=SMALL, tell=meddle)
    store = build([library], TextConfig(), tmp_path / "store", processes=1, block=SMALL)
    assert any("And more." in text for text in all_of(store))


def test_what_is_held_out_stays_when_the_text_grows(library: Path, tmp_path: Path, tell: Tell) -> None:
    small = build([library], TextConfig(), tmp_path / "small", processes=1, block=SMALL)
    more = tmp_path / "more.txt"
    more.write_text("\n\n".join(tell(40, seed=5)), encoding="utf-8")
    large = build([library, more], TextConfig(), tmp_path / "large", processes=1, block=SMALL)
    before, after = ({one.tokenizer.decode(units) for units in one.held_out or ()} for one in (small, large))
    assert before
    assert len(before & after) >= 0.8 * len(before)
    share = small.held_out_counts.bytes / (small.counts.bytes + small.held_out_counts.bytes)  # type: ignore[union-attr]
    assert 0.02 < share < 0.2


def test_texts_of_ones_own_are_measured_on(library: Path, tmp_path: Path, tell: Tell) -> None:
    own = tmp_path / "own.txt"
    own.write_text("\n\n".join(tell(7, seed=9)), encoding="utf-8")
    store = build([library], TextConfig(held_out_paths=(str(own),)), tmp_path / "store", processes=1, block=SMALL)
    assert [store.tokenizer.decode(units) for units in store.held_out or ()] == tell(7, seed=9)
    assert len(store.train) == 400
    assert store.held_out_counts
    assert store.held_out_counts.words == sum(len(text.split()) for text in tell(7, seed=9))


def test_of_one_long_text_the_end_is_held_out(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    lines = [f"This is line {number} of a text that never ends a story.\n" for number in range(3000)]
    path.write_text("".join(lines), encoding="utf-8")
    store = build([path], TextConfig(), tmp_path / "store", processes=1, block=60_000)
    assert store.held_out
    (aside,) = [store.tokenizer.decode(units) for units in store.held_out]
    assert "".join(lines).rstrip("\n").endswith(aside.rstrip("\n"))
    assert aside.startswith("This is line")
    assert 0.03 < len(aside) / sum(map(len, lines)) < 0.07
    assert store.held_out_counts
    assert store.held_out_counts.chars == len(aside)
    assert any("cut at a paragraph or line" in note for note in store.notes)
    joined = "".join(texts_of(store)) + aside
    assert joined.replace("\n", "") == "".join(lines).replace("\n", "")


def test_nothing_is_held_out_where_nothing_shall_be(library: Path, tmp_path: Path) -> None:
    store = build([library], TextConfig(held_out=0.0), tmp_path / "store", processes=1, block=SMALL)
    assert store.held_out is None
    assert len(store.train) == 400


def test_symbols_are_refused(library: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="symbols cannot"):
        build([library], TextConfig(unit="symbols"), tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_folder_with_other_things_stays_untouched(library: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "mine.txt").write_text("mine")
    with pytest.raises(FolderError, match=r"holds other files \('mine.txt'\)"):
        build([library], TextConfig(), tmp_path / "store")
    assert os.listdir(tmp_path / "store") == ["mine.txt"]  # noqa: PTH208


def test_a_model_folder_is_not_taken_for_a_store(library: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name in ("manifest.json", "tokenizer.json"):
        (tmp_path / "model" / name).write_text("{}")
    with pytest.raises(FolderError, match="something else than a store"):
        build([library], TextConfig(), tmp_path / "model")
    assert (tmp_path / "model" / "manifest.json").read_text() == "{}"


def test_no_room_is_one_line_and_then_it_goes_on(library: Path, tmp_path: Path) -> None:
    code = (
        "import sys, fabula.store as s, fabula.config as c, fabula.errors as e\n"
        "try: s.build([sys.argv[1]], c.TextConfig(unit='bytes'), sys.argv[2], processes=1, block=100000)\n"
        "except e.SavingError as error: print(error)"
    )

    def shrink() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        [sys.executable, "-c", code, str(library), str(tmp_path / "store")],
        capture_output=True, text=True, check=True, preexec_fn=shrink,
    )  # fmt: skip
    assert "make room, the same again goes on" in done.stdout
    assert done.stderr == ""
    assert len(build([library], TextConfig(unit="bytes"), tmp_path / "store", processes=1, block=100_000).train) > 300


def test_an_error_in_another_process_is_told_as_here(library: Path, tmp_path: Path) -> None:
    data = library.read_bytes()
    library.write_bytes(data[: len(data) // 2] + b"\0" + data[len(data) // 2 :])
    with pytest.raises(TextError, match="binary, not a text"):
        build([library], TextConfig(), tmp_path / "store", processes=2, block=SMALL)


def test_a_disk_that_refuses_in_another_process_is_told_too(library: Path, tmp_path: Path) -> None:
    def stop(step: Progress) -> None:
        if step.stage == "storing":
            (tmp_path / "store" / "tokenizer.json").unlink(missing_ok=True)

    with pytest.raises(SavingError, match="No such file"):
        build([library], TextConfig(), tmp_path / "store", processes=2, block=SMALL, tell=stop)


def test_a_process_that_is_killed_is_one_line(library: Path, tmp_path: Path) -> None:
    def kill(step: Progress) -> None:
        if step.stage == "storing":
            for path in Path("/proc/self/task").glob("*/children"):
                for number in path.read_text(encoding="ascii").split():
                    if b"fabula.store.worker" in Path(f"/proc/{number}/cmdline").read_bytes():
                        os.kill(int(number), signal.SIGKILL)

    with pytest.raises(FabulaError, match="a process that read the text has ended"):
        build([library], TextConfig(), tmp_path / "store", processes=2, block=SMALL, tell=kill)
    assert build([library], TextConfig(), tmp_path / "store", processes=2, block=SMALL).copies == 10


def test_two_at_once_do_not_write_the_same_store(library: Path, tmp_path: Path) -> None:
    def meddle(step: Progress) -> None:
        if step.stage == "finishing":
            with pytest.raises(FolderError, match="another process is writing"):
                build([library], TextConfig(), tmp_path / "store", processes=1, block=SMALL)

    build([library], TextConfig(), tmp_path / "store", processes=1, block=SMALL, tell=meddle)


def test_who_waits_gets_what_another_makes(library: Path, tmp_path: Path) -> None:
    code = (
        "import sys, fabula.store as s, fabula.config as c\n"
        "print(s.build([sys.argv[1]], c.TextConfig(), sys.argv[2], wait=True, block=10000).digest)"
    )
    waiting = subprocess.Popen(
        [sys.executable, "-c", code, str(library), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True
    )
    made = build([library], TextConfig(), tmp_path / "store", processes=1, block=SMALL)
    assert waiting.communicate(timeout=60)[0].strip() == made.digest


def test_what_is_large_is_seen_without_reading(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.truncate(65 << 20)
    assert is_large([str(path)])
    assert is_large([str(tmp_path)])
    assert is_large(["hf:me/tales"])
    with path.open("wb") as file:
        file.truncate(63 << 20)
    assert not is_large([str(path)])
    assert not is_large(["-"])
    assert not is_large([str(tmp_path / "missing.txt")])
    packed = tmp_path / "packed.txt.gz"
    packed.write_bytes(gzip.compress(b"x"))
    assert not is_large([str(packed)])
