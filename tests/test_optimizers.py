"""The update rules against torch.optim, which is right but slow to import."""

import pytest
import torch

from fabula.optimizers import OPTIMIZERS, clip, gradients_of

REFERENCE = {
    "adamw": lambda ps: torch.optim.AdamW(ps, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1),
    "rmsprop": lambda ps: torch.optim.RMSprop(ps, lr=0.01, alpha=0.9),
    "sgd": lambda ps: torch.optim.SGD(ps, lr=0.01, momentum=0.9),
}


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_ten_steps_agree_with_torch(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    starts = [torch.empty(shape).normal_(generator=generator) for shape in ((3, 4), (5,))]
    ours, theirs = ([start.clone() for start in starts] for _ in range(2))
    optimizer = OPTIMIZERS[name](ours, weight_decay=0.1 if name == "adamw" else 0.0)
    reference = REFERENCE[name](theirs)
    for _ in range(10):
        gradients = [torch.empty_like(start).normal_(generator=generator) for start in starts]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        reference.step()
        optimizer.step(gradients, 0.01)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_clip_scales_all_together_and_tells_the_length() -> None:
    gradients = [torch.tensor([3.0]), torch.tensor([4.0])]
    assert clip(gradients, 1.0) == pytest.approx(5.0)
    torch.testing.assert_close(torch.cat(gradients), torch.tensor([0.6, 0.8]))


@pytest.mark.parametrize("longest", [0.0, 10.0])
def test_clip_leaves_short_gradients_alone(longest: float) -> None:
    gradients = [torch.tensor([3.0]), torch.tensor([4.0])]
    assert clip(gradients, longest) == pytest.approx(5.0)
    assert torch.cat(gradients).tolist() == [3.0, 4.0]


def sparse(rows: list[int], values: torch.Tensor, size: int) -> torch.Tensor:
    return torch.sparse_coo_tensor(
        torch.tensor([rows]), values, (size, values.shape[1]), check_invariants=True
    ).coalesce()


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_rows_at_rest_stay_and_the_others_learn_as_if_alone(name: str) -> None:
    """Rows 1 and 3 of a table learn in step with a table that has no other rows; a dense neighbour learns as ever."""
    generator = torch.Generator().manual_seed(0)
    table, beside = torch.empty(5, 4).normal_(generator=generator), torch.zeros(3)
    start, small, alone = table.clone(), table[[1, 3]], torch.zeros(3)
    lazy, plain = OPTIMIZERS[name]([table, beside]), OPTIMIZERS[name]([small, alone])
    for _ in range(5):
        values, dense = torch.empty(2, 4).normal_(generator=generator), torch.empty(3).normal_(generator=generator)
        lazy.step([sparse([1, 3], values.clone(), 5), dense.clone()], 0.01)
        plain.step([values, dense], 0.01)
    assert torch.equal(table[[1, 3]], small)
    assert torch.equal(beside, alone)
    assert torch.equal(table[[0, 2, 4]], start[[0, 2, 4]])
    for slot, values in lazy.state.items():
        assert torch.equal(values[1], plain.state[slot][1])
        if values[0].dim():
            assert not values[0][[0, 2, 4]].any()
            assert torch.equal(values[0][[1, 3]], plain.state[slot][0])


def test_a_row_used_twice_comes_once_in_a_sparse_gradient() -> None:
    table = torch.zeros(6, 2, requires_grad=True)
    ids = torch.tensor([4, 1, 4])
    scale = torch.tensor([[1.0], [2.0], [4.0]])
    twice = torch.nn.functional.embedding(ids, table, sparse=True)
    again = torch.nn.functional.embedding(torch.tensor([1]), table, sparse=True)
    (gradient,) = gradients_of((twice * scale).sum() + again.sum(), [table])
    assert gradient.indices().tolist() == [[1, 4]]
    assert gradient.values().tolist() == [[3.0, 3.0], [5.0, 5.0]]


def test_clip_counts_and_scales_sparse_gradients_too() -> None:
    gradients = [sparse([2], torch.tensor([[3.0]]), 9), torch.tensor([4.0])]
    assert clip(gradients, 1.0) == pytest.approx(5.0)
    assert gradients[0].values().item() == pytest.approx(0.6)
    assert gradients[1].item() == pytest.approx(0.8)
