"""Memory is foreseen: parameters are counted exactly, and what cannot fit is refused before it is made."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fabula import footprint, machine
from fabula.config import CELLS, HEADS, ModelConfig, TrainingConfig
from fabula.errors import UsageError
from fabula.model import LanguageModel


def shape(**given: object) -> ModelConfig:
    chosen = {"layers": 1, "hidden": 8, "embedding": 8, "head": "full", "dropout": 0.0} | given
    return ModelConfig(**chosen)  # pyrefly: ignore


TRAINING = TrainingConfig(batch=4, length=5)


@given(
    layers=st.integers(1, 3), hidden=st.integers(1, 40), embedding=st.integers(1, 40), vocabulary=st.integers(9, 300),
    head=st.sampled_from(HEADS), cell=st.sampled_from(CELLS),
)  # fmt: skip
def test_parameters_are_those_of_the_network(
    layers: int, hidden: int, embedding: int, vocabulary: int, head: str, cell: str
) -> None:
    config = shape(layers=layers, hidden=hidden, embedding=embedding, head=head, cell=cell)
    network = LanguageModel(config, vocabulary, torch.Generator())
    assert footprint.parameters(config, vocabulary) == sum(part.numel() for part in network.parameters())


@pytest.mark.parametrize(
    "larger",
    [
        (shape(hidden=9), TRAINING), (shape(layers=2), TRAINING), (shape(embedding=9), TRAINING),
        (shape(), TrainingConfig(batch=5, length=5)), (shape(), TrainingConfig(batch=4, length=6)),
        (shape(), TrainingConfig(batch=4, length=5, averaging=0.1)),
    ],
)  # fmt: skip
def test_more_needs_more(larger: tuple[ModelConfig, TrainingConfig]) -> None:
    assert footprint.needed(*larger, 50, 99) > footprint.needed(shape(), TRAINING, 50, 99)


def test_this_machine_says_what_it_has() -> None:
    free = machine.free_memory()
    assert free is None or free > 1 << 20


def test_what_fits_is_let_through() -> None:
    for free in (footprint.needed(shape(), TRAINING, 50, 99), None):
        footprint.check(shape(), TRAINING, 50, 99, free)


def test_what_does_not_fit_is_refused_with_a_proposal_that_does() -> None:
    large = shape(hidden=4096, embedding=1024, head="tied")
    few = dataclasses.replace(large, hidden=1024, embedding=256)
    free = footprint.needed(few, TRAINING, 5000, 10**6)
    with pytest.raises(UsageError, match=r"^this training needs about [\d.]+ GB of memory, [\d.]+ GB are free") as told:
        footprint.check(large, TRAINING, 5000, 10**6, free)
    assert "--set model.hidden=1024 --set model.embedding=256 would fit" in str(told.value)


def test_a_huge_vocabulary_is_offered_the_adaptive_head() -> None:
    full = shape(hidden=512, embedding=256)
    with pytest.raises(UsageError, match=r"--set model\.head=adaptive would fit"):
        footprint.check(full, TrainingConfig(batch=16, length=32), 170_000, 10**6, 2_000_000_000)


def test_where_nothing_fits_it_says_so() -> None:
    with pytest.raises(UsageError, match="a machine with more"):
        footprint.check(shape(), TRAINING, 50, 99, 1000)
