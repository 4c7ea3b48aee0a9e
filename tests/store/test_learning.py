"""Training learns from a store as from a text: exactly again, both ways, on from a model; writing needs it no more."""

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fabula
import fabula.tokens
from fabula import baseline, folder, footprint
from fabula.config import ModelConfig, TextConfig, TrainingConfig
from fabula.corpus import Corpus, prepare
from fabula.errors import FolderError, TextError, UsageError
from fabula.evaluation import Counts
from fabula.events import Began, Event, Stepped
from fabula.store import build, is_large
from fabula.streams import Lanes, Windows
from fabula.text import read_library

SMALL = 10_000
SHAPE = {"hidden": 24, "embedding": 8}
STEPS = {"threads": 1, "steps": 8, "batch": 4, "length": 16, "evaluations": 2, "checkpoint_every": "4"}
Tell = Callable[..., list[str]]


def learn(paths: Path, out: Path, *, steps: int = 8, text: dict[str, Any] | None = None, **options: Any) -> Any:
    settings = {"model": SHAPE, "training": {**STEPS, "steps": steps}, "text": text or {}}
    return fabula.train(paths, out, settings=settings, **options)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, tell: Tell) -> Path:
    """The text of the stores below."""
    path = tmp_path_factory.mktemp("text") / "library.txt"
    path.write_text("\n\n".join(tell(120)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def store(library: Path) -> Path:
    """A store of several shards."""
    return build([library], TextConfig(), library.parent / "store", processes=1, block=SMALL).path


@pytest.fixture
def table(library: Path, tmp_path: Path) -> Path:
    """The same stories in a file of a kind that only a store reads."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    texts = [story.text for story in read_library([library], TextConfig()).stories]
    parquet.write_table(arrow.table({"text": texts}), tmp_path / "library.parquet")
    return tmp_path / "library.parquet"


def weights(path: Path) -> bytes:
    return (path / "model.safetensors").read_bytes()


def test_a_corpus_of_a_store(store: Path, library: Path) -> None:
    corpus, plain = prepare(TextConfig(paths=(str(store),))), prepare(TextConfig(paths=(str(library),)))
    assert corpus.held_out
    assert (corpus.opening, corpus.closing) == (plain.opening, plain.closing)
    assert not corpus.by_heart
    assert corpus.train.held == 0
    assert plain.train.held == plain.train.tokens
    assert [len(units) for units in corpus.held_out.streams] == [
        len(corpus.tokenizer.encode(story.text)) for story in corpus.held_out_stories
    ]
    assert corpus.held_out.counts.chars == sum(len(story.text) for story in corpus.held_out_stories)
    assert corpus.digest != corpus.backwards().digest
    part = corpus.kept(40)
    assert part
    assert 0 < part.tokens < 80
    turned = corpus.backwards()
    assert turned.train.streams[3].tolist() == corpus.train.streams[3].tolist()[::-1]


def test_lanes_over_a_store_and_windows_not(store: Path) -> None:
    corpus = prepare(TextConfig(paths=(str(store),)))
    lanes = Lanes(corpus.train.streams, corpus.tokenizer.end, batch=4, length=16, seed=1)
    assert lanes.batch(0)[0].shape == (4, 16)
    np.testing.assert_array_equal(lanes.batch(3)[0][:, 1:], lanes.batch(3)[1][:, :-1])
    with pytest.raises(UsageError, match="a window needs the whole text in memory"):
        Windows(corpus.train.streams, corpus.tokenizer.end, window=3, batch=4, seed=1)


def test_settings_that_a_store_does_not_have_are_refused(store: Path, library: Path, tmp_path: Path) -> None:
    def of(**asked: Any) -> Corpus:
        return prepare(TextConfig(paths=(str(store),), **asked))

    unit, size = of().tokenizer.unit, of().tokenizer.size
    assert of(unit=unit, vocabulary=size).digest == of().digest
    with pytest.raises(UsageError, match=rf"holds {unit}, got the unit bytes"):
        of(unit="bytes")
    with pytest.raises(UsageError, match=r"got text\.vocabulary=300"):
        of(vocabulary=300)
    with pytest.raises(UsageError, match="has chosen what it is measured on"):
        of(held_out_paths=(str(library),))
    with pytest.raises(UsageError, match="written in other units"):
        prepare(TextConfig(paths=(str(store),)), tokenizer=fabula.tokens.build("bytes", []))
    with pytest.raises(UsageError, match="a window needs"):
        fabula.train(store, tmp_path / "m", settings={"model": {**SHAPE, "window": 3}, "training": STEPS})
    with pytest.raises(UsageError, match="must be the only text, got 2"):
        prepare(TextConfig(paths=(str(store), str(library))))
    half = shutil.copytree(store, tmp_path / "half")
    (half / "manifest.json").rename(half / "plan.json")
    with pytest.raises(FolderError, match="is unfinished: the same fabula store"):
        prepare(TextConfig(paths=(str(half),)))
    with pytest.raises(UsageError, match="word vectors need words"):
        fabula.train(store, tmp_path / "m2", settings={"model": SHAPE, "training": {**STEPS, "vectors": "train"}})


def test_learning_from_a_store_goes_on_exactly(store: Path, tmp_path: Path) -> None:
    heard: list[Event] = []
    whole = learn(store, tmp_path / "whole", steps=12, listeners=[heard.append])
    assert whole.held_out
    assert any("read from the store" in note for event in heard if isinstance(event, Began) for note in event.notes)

    def stop(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 7:
            os.kill(os.getpid(), signal.SIGINT)

    assert learn(store, tmp_path / "parts", steps=12, listeners=[stop]).interrupted
    fabula.train(resume=tmp_path / "parts")
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    model = folder.read_model(tmp_path / "parts")
    assert model.about["digest"] == prepare(TextConfig(paths=(str(store),))).digest
    assert model.about["learned_from"]["stories"] == len(prepare(TextConfig(paths=(str(store),))).train.streams)


def test_a_text_that_only_a_store_reads_gets_one_in_the_model_folder(table: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    out = tmp_path / "m"
    told = learn(table, out, both_ways=True, tell=lambda step: steps.append(step.stage))
    assert told.backward
    assert {"vocabulary", "storing", "finishing"} == set(steps)
    assert (out / "store" / "manifest.json").exists()
    table.unlink()  # nothing needs it any more
    more = fabula.train(resume=out, settings={"training": {"steps": 10}})
    assert (more.steps, more.backward.steps) == (10, 10)  # type: ignore[union-attr]
    assert baseline.fit_again(out).weight > 0 if folder.read_model(out).about.get("mixture_weight") else True
    shutil.rmtree(out / "store")
    assert fabula.load(out).write("Once", words=5)
    with pytest.raises(TextError, match="no file or folder"):
        fabula.train(resume=out)


def test_a_training_that_was_stopped_while_it_stored_begins_again(table: Path, tmp_path: Path) -> None:
    class EnoughError(Exception):
        pass

    def stop(step: object) -> None:
        raise EnoughError

    with pytest.raises(EnoughError):
        learn(table, tmp_path / "m", tell=stop)
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["store"]
    assert learn(table, tmp_path / "m").held_out
    with pytest.raises(FolderError, match="exists"):
        learn(table, tmp_path / "m")
    digest = folder.read_model(tmp_path / "m").about["digest"]
    learn(table, tmp_path / "m", force=True)
    assert folder.read_model(tmp_path / "m").about["digest"] == digest


@pytest.mark.parametrize("unit", ["words", "subwords"])
def test_a_model_learns_on_from_a_store_in_its_own_units(library: Path, table: Path, tmp_path: Path, unit: str) -> None:
    learn(library, tmp_path / "old", text={"unit": unit})
    told = learn(table, tmp_path / "new", from_model=tmp_path / "old")
    assert told.old_held_out
    old, new = (folder.read_model(tmp_path / name) for name in ("old", "new"))
    assert new.tokenizer.to_json() == old.tokenizer.to_json()
    again = learn(library, tmp_path / "third", from_model=tmp_path / "new")
    assert again.old_held_out, "what the store had held out is measured"
    shutil.rmtree(tmp_path / "new" / "store")
    assert learn(library, tmp_path / "fourth", from_model=tmp_path / "new").old_held_out is None


def test_of_a_store_the_n_gram_model_knows_the_beginning(store: Path) -> None:
    corpus = prepare(TextConfig(paths=(str(store),)))
    assert baseline.said_of(corpus) == ()
    assert sum(map(len, baseline.beginning(corpus))) == corpus.train.tokens
    few = baseline.beginning(corpus, most=1000)
    assert sum(map(len, few)) == 1000
    assert few[0].tolist() == corpus.train.streams[0].tolist()
    assert "first 1,000 units" in baseline.said_of(corpus, most=1000)[0]


def test_what_needs_the_text_in_memory_stays_there(tmp_path: Path, tell: Tell) -> None:
    """A text above the limit that is learned with a window is read as a small one is."""
    path = tmp_path / "large.txt"
    path.write_text("\n\n".join(tell(30)) + "\n" * (65 << 20), encoding="utf-8")
    assert is_large([str(path)])
    settings = {"model": {**SHAPE, "window": 3}, "training": {**STEPS, "steps": 2}, "text": {"unit": "bytes"}}
    assert fabula.train(path, tmp_path / "m", settings=settings).steps == 2
    assert not (tmp_path / "m" / "store").exists()


def test_the_memory_of_a_store_is_not_that_of_its_text(store: Path) -> None:
    corpus = prepare(TextConfig(paths=(str(store),)))
    model = ModelConfig(layers=1, hidden=24, embedding=8)
    training = TrainingConfig(batch=4, length=16)
    needed = footprint.needed(replace(model, head="tied"), training, 500, corpus.train.held)
    assert needed == footprint.needed(replace(model, head="tied"), training, 500, 0)
    assert corpus.train.counts == Counts(**vars(corpus.train.counts))
