"""The number format is asked of the processor, so the same machine always answers the same."""

import pytest
import torch

from fabula import precision
from fabula.errors import UsageError


def without_bf16(form: str, hidden: int) -> torch.Tensor:
    if form == "bf16":
        raise RuntimeError("could not create a primitive")
    return torch.ones(3)


def test_as_asked_where_it_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    assert precision.choose("fp32", 512) == "fp32"
    monkeypatch.setattr(precision, "_gradients", lambda form, hidden: torch.ones(3))
    assert precision.choose("bf16", 8) == "bf16"
    monkeypatch.setattr(precision, "_gradients", without_bf16)
    assert precision.choose("bf16", 8, "cuda") == "bf16"
    with pytest.raises(UsageError, match=r"^training\.precision=bf16 needs a processor with instructions"):
        precision.choose("bf16", 8)


def test_narrow_networks_stay_in_full_precision() -> None:
    assert precision.choose("auto", 16) == "fp32"


def test_the_probe_repeats() -> None:
    assert precision.probe(128) == precision.probe(128) in {"fp32", "bf16"}


def test_a_processor_without_the_primitive_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(precision, "_gradients", without_bf16)
    assert precision.probe(512) == "fp32"


def test_a_processor_that_computes_nonsense_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only with wide layers, as was seen: the width that will learn is the one to ask."""
    wrong = 1024
    monkeypatch.setattr(
        precision, "_gradients", lambda kind, hidden: torch.ones(3) * (2 if kind == "bf16" and hidden >= wrong else 1)
    )
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    assert [precision.choose("auto", hidden) for hidden in (512, 1024)] == ["bf16", "fp32"]
