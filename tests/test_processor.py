"""The processor is left as it was found, and its speed is a number of units a second."""

import torch

from fabula import machine, processor


def test_the_processor_is_left_as_it_was_found() -> None:
    before = torch.get_num_threads()
    with processor.ready(1):
        assert torch.get_num_threads() == 1
        assert (torch.tensor(1e-40) * 0.5).item() == 0.0
    assert torch.get_num_threads() == before
    assert (torch.tensor(1e-40) * 0.5).item() > 0.0


def test_the_speed_of_a_layer_is_measured() -> None:
    assert processor.units_per_second("fp32") > 10
    assert machine.cores() >= 1
