"""The hand-written network against automatic differentiation, and the optimisers against their plain formulas."""

import math

import pytest
import torch
from torch import Tensor

from fabula import lesson
from fabula.lesson import SGD, Adam, Network, RMSProp, Weight

SYMBOLS, WINDOW = 11, 4


def network(layers: int = 1, *, hidden: int = 7, vectors: bool = False, every: bool = False, seed: int = 0) -> Network:
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(SYMBOLS, 5, generator=generator) if vectors else None
    return Network(
        SYMBOLS, SGD(0.5), generator, layers=layers, hidden=hidden, vectors=start, learned=vectors, every=every
    )


def matrices(net: Network) -> list[Tensor]:
    """Everything that learns."""
    return [layer.kernel.value for layer in net.layers] + [net.out.value, net.vectors.value]


def automatic(net: Network, ids: Tensor, targets: Tensor, state: lesson.State | None) -> tuple[Tensor, list[Tensor]]:
    """Losses and gradients of the same network by torch's own LSTM and autograd."""
    values = [part.detach().clone().double().requires_grad_() for part in matrices(net)]
    *kernels, out, vectors = values
    x = vectors[ids][None]
    for number, kernel in enumerate(kernels):
        inputs, hidden = x.shape[-1], (kernel.shape[1]) // 4
        order = torch.cat([torch.arange(hidden) + gate * hidden for gate in (0, 1, 3, 2)])  # torch's is i, f, g, o
        parts = kernel[:, order]
        cell = torch.nn.LSTM(inputs, hidden, batch_first=True, dtype=torch.float64)
        weights = {
            "weight_ih_l0": parts[:inputs].t(), "weight_hh_l0": parts[inputs:-1].t(), "bias_ih_l0": parts[-1],
            "bias_hh_l0": torch.zeros_like(parts[-1]),
        }  # fmt: skip
        h, c = (
            (part.double()[None, None] for part in state[number])
            if state
            else (torch.zeros(1, 1, hidden).double(),) * 2
        )
        x = torch.func.functional_call(cell, weights, (x, (h, c)))[0]
    said = x[0] if net.every else x[0, -1:]
    losses = torch.nn.functional.cross_entropy(said @ out[:-1] + out[-1], targets, reduction="none")
    losses.mean().backward()
    return losses.detach(), [torch.zeros_like(v) if v.grad is None else v.grad for v in values]


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("carried", [False, True])
def test_every_gradient_is_that_of_autograd(layers: int, every: bool, vectors: bool, carried: bool) -> None:
    net = network(layers, every=every, vectors=vectors)
    generator = torch.Generator().manual_seed(1)
    state = None
    if carried:
        state = [(torch.randn(7, generator=generator), torch.randn(7, generator=generator)) for _ in range(layers)]
    ids = torch.randint(SYMBOLS, (WINDOW,), generator=generator)
    targets = torch.randint(SYMBOLS, (WINDOW if every else 1,), generator=generator)
    losses, gradients = automatic(net, ids, targets, state)
    before = [part.clone() for part in matrices(net)]
    with torch.inference_mode():
        said, _ = net.learn(ids, targets, state)
    torch.testing.assert_close(said.double(), losses, rtol=1e-5, atol=1e-5)
    if not vectors:
        gradients[-1].zero_()  # raw integers stay what they are
    for old, new, gradient in zip(before, matrices(net), gradients, strict=True):
        torch.testing.assert_close(((old - new) / 0.5).double(), gradient, rtol=1e-4, atol=2e-5)


def test_a_carried_state_is_one_long_reading() -> None:
    net = network(2)
    ids = torch.arange(8)
    first = net.forward(ids[:5])
    torch.testing.assert_close(net.forward(ids[5:], first.state).scores, net.forward(ids).scores)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = network(2)
    monkeypatch.setattr(lesson, "BLOCK", 50)
    parts = network(2)
    assert len(parts.layers[0].kernel.blocks) > 5
    for net in (whole, parts):
        net.learn(torch.tensor([1, 2, 3]), torch.tensor([4]))
    assert all(torch.equal(a, b) for a, b in zip(matrices(whole), matrices(parts), strict=True))


def test_rmsprop_is_tensorflows() -> None:
    """In double precision by the formula of TensorFlow 1; past 256 steps, where the growing numbers begin anew."""
    generator = torch.Generator().manual_seed(2)
    rule = RMSProp(0.001)
    weight = Weight(torch.randn(3, 4, generator=generator), rule)
    value, square = weight.value.double(), torch.ones(3, 4).double()
    for step in range(600):
        # Ever smaller ones, so that epsilon counts in the end.
        left, right = torch.randn(2, 3, generator=generator), torch.randn(2, 4, generator=generator) * 0.97**step
        gradient = left.double().t() @ right.double()
        square = 0.9 * square + 0.1 * gradient**2
        value = value - 0.001 * gradient / torch.sqrt(square + 1e-10)
        rule.tick()
        weight.update(rule, left, right)
        torch.testing.assert_close(weight.value.double(), value, rtol=1e-4, atol=2e-6)
    assert float(square.max()) < 1e-10


def test_adam_is_tensorflows() -> None:
    generator = torch.Generator().manual_seed(3)
    rule = Adam(0.01)
    weight = Weight(torch.randn(3, 4, generator=generator), rule)
    value = weight.value.double()
    mean = square = torch.zeros(3, 4).double()
    for step in range(1, 60):
        left, right = (
            torch.randn(1, 3, generator=generator),
            torch.randn(1, 4, generator=generator) * 10.0 ** (-step / 6),
        )
        gradient = left.double().t() @ right.double()
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        rate = 0.01 * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        value = value - rate * mean / (torch.sqrt(square) + 1e-8)
        rule.tick()
        weight.update(rule, left, right)
        torch.testing.assert_close(weight.value.double(), value, rtol=1e-4, atol=2e-6)


def test_the_first_weights_are_the_articles() -> None:
    net = Network(500, RMSProp(0.001), torch.Generator().manual_seed(0), hidden=64)
    kernel = net.layers[0].kernel.value
    limit = math.sqrt(6 / (1 + 64 + 4 * 64))
    assert 0.99 * limit < float(kernel[:-1].abs().max()) <= limit
    assert kernel[-1].reshape(4, 64).unique(dim=1).flatten().tolist() == [0, 1, 0, 0]
    assert abs(float(net.out.value.mean())) < 0.02
    assert abs(float(net.out.value.std()) - 1) < 0.02
    assert net.vectors.value.flatten().tolist() == list(range(500))
    assert torch.equal(net.out.memory[0], torch.full_like(net.out.value, 1 + 1e-10))
