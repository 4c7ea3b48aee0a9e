"""The update rules against torch.optim, which is right but slow to import."""

import pytest
import torch

from fabula.optimizers import OPTIMIZERS, clip

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
