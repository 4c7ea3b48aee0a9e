"""The processor is left as it was found, and its speed is a number of units a second."""

import pytest
import torch

from fabula import machine, processor
from fabula.errors import UsageError


def test_the_processor_is_left_as_it_was_found() -> None:
    before = torch.get_num_threads()
    with processor.ready(1):
        assert torch.get_num_threads() == 1
        assert (torch.tensor(1e-40) * 0.5).item() == 0.0
    assert torch.get_num_threads() == before
    assert (torch.tensor(1e-40) * 0.5).item() > 0.0


def test_the_speed_of_a_layer_is_measured() -> None:
    assert processor.units_per_second("fp32", torch.device("cpu"), 4) > 10
    assert machine.cores() >= 1


def test_it_learns_on_a_gpu_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert [processor.device(asked).type for asked in ("auto", "cpu")] == ["cpu", "cpu"]
    with pytest.raises(UsageError, match="no such GPU here"):
        processor.device("cuda")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 4)
    monkeypatch.setattr(torch.accelerator, "set_device_index", lambda _: None)
    monkeypatch.setenv("LOCAL_RANK", "6")
    assert processor.device("auto") == torch.device("cuda", 2)
    assert [processor.device(asked).type for asked in ("auto", "cpu", "cuda")] == ["cuda", "cpu", "cuda"]
