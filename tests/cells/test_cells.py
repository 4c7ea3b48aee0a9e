"""The contract of every cell: its fast pass is its equations."""

import pytest
import torch

from fabula.cells import CELLS, Cell


@pytest.fixture(params=sorted(CELLS))
def cell(request: pytest.FixtureRequest) -> Cell:
    return CELLS[request.param](5, 7, torch.Generator().manual_seed(3))


def test_forward_agrees_with_the_equations(cell: Cell) -> None:
    x = torch.empty(2, 6, 5).normal_(generator=torch.Generator().manual_seed(1))
    start = tuple(torch.full_like(memory, 0.3) for memory in cell.initial_state(2))
    fast, fast_state = cell(x, start)
    slow, slow_state = Cell.forward(cell, x, start)
    torch.testing.assert_close(fast, slow)
    for a, b in zip(fast_state, slow_state, strict=True):
        torch.testing.assert_close(a, b)


def test_state_goes_on_where_it_stopped(cell: Cell) -> None:
    x = torch.empty(3, 8, 5).normal_(generator=torch.Generator().manual_seed(2))
    whole, _ = cell(x, cell.initial_state(3))
    first, state = cell(x[:, :5], cell.initial_state(3))
    second, _ = cell(x[:, 5:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)


def test_gradients_of_both_ways_agree(cell: Cell) -> None:
    x = torch.empty(2, 4, 5).normal_(generator=torch.Generator().manual_seed(4))
    weights = list(cell.parameters())
    fast = torch.autograd.grad(cell(x, cell.initial_state(2))[0].square().sum(), weights)
    slow = torch.autograd.grad(Cell.forward(cell, x, cell.initial_state(2))[0].square().sum(), weights)
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_state_is_batch_first(cell: Cell) -> None:
    assert all(memory.shape == (4, 7) for memory in cell.initial_state(4))
    assert len(cell.initial_state(1)) == cell.memories


def test_the_forget_gate_starts_as_asked() -> None:
    lstm = CELLS["lstm"](5, 7, torch.Generator().manual_seed(0))
    lstm.set_forget_bias(0.5)
    total = lstm.get_parameter("bias_ih") + lstm.get_parameter("bias_hh")
    assert (total[7:14] == 0.5).all()


def test_each_gate_begins_by_turning_what_was(cell: Cell) -> None:
    for block in cell.get_parameter("weight_hh").detach().split(cell.hidden):
        torch.testing.assert_close(block @ block.T, torch.eye(cell.hidden))
