"""Settings: precedence, bounds, and one clear line for what cannot be."""

import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula import config
from fabula.errors import UsageError
from fabula.hashing import MULTIPLIERS


def test_a_later_source_overrules_an_earlier_one() -> None:
    resolved = config.resolve({"training": {"lr": 0.1, "seed": 3}}, {"training": {"lr": "0.002"}})
    assert (resolved.training.lr, resolved.training.seed) == (0.002, 3)


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ({"training": {"lr": "fast"}}, "training.lr must be a number, got 'fast'"),
        ({"training": {"batch": 0}}, "training.batch must be between 1 and 65536, got 0"),
        ({"training": {"batch": 1.5}}, "training.batch must be a whole number, got 1.5"),
        ({"training": {"batch": True}}, "training.batch must be a whole number, got True"),
        ({"training": {"lr": float("nan")}}, "training.lr must be between 0 and 1000, got nan"),
        ({"training": {"time": "soon"}}, "a time must look like 60s, 3m or 1h, got 'soon'"),
        ({"text": {"unit": "syllables"}}, "text.unit must be one of auto, symbols, words, subwords, chars, bytes"),
        ({"text": {"paths": "one"}}, "text.paths must be a list of texts"),
        ({"text": {"held_out": None}}, "text.held_out must be given"),
        ({"model": {"depth": 2}}, "unknown setting model.depth: model has buckets, cell"),
        ({"models": {}}, "unknown section 'models'"),
        ({"model": 3}, "[model] must be a table of settings"),
        ({"model": {"head": "perhaps"}}, "model.head must be one of auto, full, tied, sampled, adaptive"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(layer: dict, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        config.resolve(layer)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["training.lr", "lr=0.1", "=", "training.=1"])
def test_set_must_name_section_and_setting(text: str) -> None:
    with pytest.raises(UsageError):
        config.resolve(config.from_assignments((text,)))


def test_set_and_environment_become_layers() -> None:
    assert config.from_assignments(("training.lr = 0.5", "text.field=body=x")) == {
        "training": {"lr": "0.5"}, "text": {"field": "body=x"},
    }  # fmt: skip
    assert config.from_environment({"FABULA_TRAINING_SEED": "7", "FABULA_OTHER": "x", "HOME": "y"}) == {
        "training": {"seed": "7"}
    }


@given(
    lr=st.floats(0, 1000), seed=st.integers(0, 2**63 - 1), field=st.none() | st.text(st.characters(codec="utf-8")),
    paths=st.lists(st.text(st.characters(codec="utf-8")), max_size=3),
    head=st.sampled_from(["auto", *config.HEADS]),
)  # fmt: skip
def test_toml_brings_back_the_same_settings(
    lr: float, seed: int, field: str | None, paths: list[str], head: str
) -> None:
    settings = config.resolve(
        {"training": {"lr": lr, "seed": seed}, "text": {"field": field, "paths": paths}, "model": {"head": head}}
    )
    assert config.resolve(tomllib.loads(config.to_toml(settings))) == settings


def test_a_settings_file_that_is_none(tmp_path: Path) -> None:
    broken = tmp_path / "x.toml"
    broken.write_text("[training\nlr=1")
    for path in (broken, tmp_path / "missing.toml", tmp_path):
        with pytest.raises(UsageError, match="cannot read settings"):
            config.from_toml(path)


def test_runs_of_units_are_no_longer_than_what_can_be_hashed() -> None:
    longest = len(MULTIPLIERS)
    assert config.resolve({"model": {"ngrams": longest}}).model.ngrams == longest
    with pytest.raises(UsageError):
        config.resolve({"model": {"ngrams": longest + 1}})


@pytest.mark.parametrize("kind", ["deep", "fifo", "device", "binary", "giant", "missing"])
def test_settings_that_cannot_be_read_are_one_short_line(tmp_path: Path, kind: str) -> None:
    """Deep nesting was a traceback, a pipe waited for ever, and /dev/zero took all memory."""
    path = tmp_path / "x.toml"
    if kind == "deep":
        path.write_text("a = " + "[" * 100_000)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "binary":
        path.write_bytes(bytes(range(256)))
    elif kind == "giant":
        path.touch()
        os.truncate(path, 1 << 40)
    with pytest.raises(UsageError, match="cannot read settings") as caught:
        config.from_toml(path)
    assert len(str(caught.value)) < 200


def test_a_huge_value_does_not_make_a_huge_message() -> None:
    for layer in (
        {"model": {"cell": "x" * 10**6}},
        {"x" * 10**6: {}},
        {"model": {"x" * 10**6: 1}},
        {"model": "x" * 10**6},
    ):
        with pytest.raises(UsageError) as caught:
            config.resolve(layer)
        assert len(str(caught.value)) < 500


def test_a_name_that_is_no_text_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"unknown setting training\.1: "):
        config.resolve({"training": {1: 2}})
