"""The number format is asked of the processor, so the same machine always answers the same."""

import pytest
import torch

from fabula import precision


def test_as_asked() -> None:
    assert precision.choose("fp32", 512) == "fp32"
    assert precision.choose("bf16", 8) == "bf16"


def test_narrow_networks_stay_in_full_precision() -> None:
    assert precision.choose("auto", 16) == "fp32"


def test_the_probe_repeats() -> None:
    assert precision.probe() == precision.probe() in {"fp32", "bf16"}


def test_a_processor_without_the_primitive_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(kind: str) -> torch.Tensor:
        if kind == "bf16":
            raise RuntimeError("could not create a primitive")
        return torch.ones(3)

    monkeypatch.setattr(precision, "_gradients", missing)
    assert precision.probe() == "fp32"


def test_a_processor_that_computes_nonsense_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_gradients", lambda kind: torch.ones(3) * (1 if kind == "fp32" else 2))
    assert precision.probe() == "fp32"
