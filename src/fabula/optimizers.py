"""The update rules, as fused torch operations on lists of tensors; knows nothing of networks or schedules.

They stand here because the first step of `torch.optim` imports a second's worth of compiler that nobody asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

Memory = dict[str, list[Tensor]]
"""What a rule remembers: a list of tensors for each name, as long as the parameters."""


class Optimizer(ABC):
    """Updates parameters in place from their gradients; its memory is `state`, one tensor a name.

    Of a parameter whose gradient is sparse only the rows in the gradient change, and only their memory: it neither
    fades nor moves them while they rest (lazy Adam). Counts of steps go on for all rows alike.
    """

    def __init__(self, parameters: Sequence[Tensor], *, weight_decay: float = 0.0) -> None:
        self.parameters = list(parameters)
        self.weight_decay = weight_decay
        self.state: Memory = {name: self._start(name) for name in self.slots}

    slots: tuple[str, ...] = ()
    """Names of the lists of tensors it remembers, each as long as the parameters."""

    def _start(self, name: str) -> list[Tensor]:  # noqa: ARG002
        return [torch.zeros_like(parameter) for parameter in self.parameters]

    def step(self, gradients: list[Tensor], lr: float) -> None:
        """One update by gradients as `pull` gives them, which may be overwritten."""
        parameters, state = list(self.parameters), {name: list(values) for name, values in self.state.items()}
        borrowed: list[tuple[Tensor, Tensor, Tensor]] = []
        for number, gradient in enumerate(gradients):
            if gradient.is_sparse:
                rows = gradient.indices()[0]
                for values in (parameters, *state.values()):
                    whole = values[number]
                    if whole.dim():  # not a count of steps
                        values[number] = whole.index_select(0, rows)
                        borrowed.append((whole, rows, values[number]))
        self._update(parameters, [values_of(gradient) for gradient in gradients], state, lr)
        for whole, rows, part in borrowed:
            whole.index_copy_(0, rows, part)

    @abstractmethod
    def _update(self, parameters: list[Tensor], gradients: list[Tensor], state: Memory, lr: float) -> None:
        """Change parameters and state in place; all lists are of one length, all of a place of one shape."""


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019); betas 0.9 and 0.99.

    The second beta is shorter than the usual 0.999 because our runs are short.
    """

    slots = ("mean", "square", "count")

    def _start(self, name: str) -> list[Tensor]:
        if name == "count":
            return [torch.zeros((), device=parameter.device) for parameter in self.parameters]
        return super()._start(name)

    def _update(self, parameters: list[Tensor], gradients: list[Tensor], state: Memory, lr: float) -> None:
        torch._foreach_add_(state["count"], 1)
        torch._fused_adamw_(
            parameters, gradients, state["mean"], state["square"], [], state["count"],
            lr=lr, beta1=0.9, beta2=0.99, weight_decay=self.weight_decay, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip


class RMSProp(Optimizer):
    """Gradient over the root of its running mean square (Hinton 2012); decay 0.9, epsilon 1e-8."""

    slots = ("square",)

    def _update(self, parameters: list[Tensor], gradients: list[Tensor], state: Memory, lr: float) -> None:
        square = state["square"]
        torch._foreach_mul_(square, 0.9)
        torch._foreach_addcmul_(square, gradients, gradients, 0.1)
        root = torch._foreach_sqrt(square)
        torch._foreach_add_(root, 1e-8)
        torch._foreach_addcdiv_(parameters, gradients, root, -lr)


class SGD(Optimizer):
    """Plain gradient descent with momentum 0.9 (Polyak 1964)."""

    slots = ("momentum",)

    def _update(self, parameters: list[Tensor], gradients: list[Tensor], state: Memory, lr: float) -> None:
        momentum = state["momentum"]
        torch._foreach_mul_(momentum, 0.9)
        torch._foreach_add_(momentum, gradients)
        torch._foreach_add_(parameters, momentum, alpha=-lr)


OPTIMIZERS: dict[str, type[Optimizer]] = {"adamw": AdamW, "rmsprop": RMSProp, "sgd": SGD}


def push(loss: Tensor, *, also: Sequence[tuple[Tensor, Tensor]] = (), alone: Sequence[Tensor] | None = None) -> None:
    """Add the gradients of a loss to those of the parameters.

    `also` are tensors on the way to the loss, each with what its gradient has besides. The parameters `alone` have no
    gradient before, and nobody waits for it: then nothing is added up, which copies.
    """
    given = [loss, *(tensor for tensor, _ in also)]
    if alone is not None:
        found = torch.autograd.grad(given, alone, [None, *(gradient for _, gradient in also)])
        for parameter, gradient in zip(alone, found, strict=True):
            parameter.grad = gradient
        return
    torch.autograd.backward(given, [None, *(gradient for _, gradient in also)])


def pull(parameters: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of each parameter, which then has none; in a sparse one each row comes once.

    >>> table = torch.zeros(9, 2, requires_grad=True)
    >>> rows = torch.nn.functional.embedding(torch.tensor([4, 7, 4]), table, sparse=True)
    >>> push(rows.sum())
    >>> pull([table])[0].values().tolist()
    [[2.0, 2.0], [1.0, 1.0]]
    """
    found = []
    for parameter in parameters:
        gradient, parameter.grad = parameter.grad, None
        assert gradient is not None
        found.append(gradient.coalesce() if gradient.is_sparse else gradient)
    return found


class Rows:
    """Gradients that hold only some rows, gathered from parts of a step so that each part is added as a whole.

    Several processes add what each of them has as a whole too: so both come to the same bits.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._parameters = parameters
        self._taken: dict[int, Tensor] = {}

    def take(self) -> None:
        """Take the rows of a part away from the parameters."""
        for number, parameter in enumerate(self._parameters):
            if parameter.grad is not None and parameter.grad.is_sparse:
                rows, parameter.grad = parameter.grad.coalesce(), None
                before = self._taken.get(number)
                self._taken[number] = rows if before is None else (before + rows).coalesce()

    def give(self) -> None:
        """Give the sums of what was taken to the parameters."""
        for number, rows in self._taken.items():
            self._parameters[number].grad = rows


def gradients_of(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of one loss for each parameter."""
    push(loss, alone=parameters)
    return pull(parameters)


def values_of(gradient: Tensor) -> Tensor:
    """The numbers of a gradient, of a sparse one those that it holds."""
    return gradient.values() if gradient.is_sparse else gradient


def clip(gradients: Sequence[Tensor], longest: float, *, scaled: float = 1.0) -> float:
    """Scale all gradients together so that their joint length is at most `longest` (0: no limit); returns the length.

    What they were multiplied by before, `scaled`, is taken away.

    Source: Pascanu, Mikolov and Bengio 2013.
    """
    values = [values_of(gradient) for gradient in gradients]
    length = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(values)))) / scaled
    shorter = longest / length if 0 < longest < length else 1.0
    if shorter != scaled:
        torch._foreach_mul_(values, shorter / scaled)
    return length
