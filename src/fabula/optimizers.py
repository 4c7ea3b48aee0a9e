"""The update rules, as fused torch operations on lists of tensors; knows nothing of networks or schedules.

They stand here because the first step of `torch.optim` imports a second's worth of compiler that nobody asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor


class Optimizer(ABC):
    """Updates parameters in place from their gradients; its memory is `state`, one tensor a name."""

    def __init__(self, parameters: Sequence[Tensor], *, weight_decay: float = 0.0) -> None:
        self.parameters = list(parameters)
        self.weight_decay = weight_decay
        self.state: dict[str, list[Tensor]] = {name: self._start(name) for name in self.slots}

    slots: tuple[str, ...] = ()
    """Names of the lists of tensors it remembers, each as long as the parameters."""

    def _start(self, name: str) -> list[Tensor]:  # noqa: ARG002
        return [torch.zeros_like(parameter) for parameter in self.parameters]

    @abstractmethod
    def step(self, gradients: list[Tensor], lr: float) -> None:
        """One update; the gradients may be overwritten."""


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019); betas 0.9 and 0.99.

    The second beta is shorter than the usual 0.999 because our runs are short.
    """

    slots = ("mean", "square", "count")

    def _start(self, name: str) -> list[Tensor]:
        if name == "count":
            return [torch.zeros(()) for _ in self.parameters]
        return super()._start(name)

    def step(self, gradients: list[Tensor], lr: float) -> None:
        """One fused update."""
        torch._foreach_add_(self.state["count"], 1)
        torch._fused_adamw_(
            self.parameters, gradients, self.state["mean"], self.state["square"], [], self.state["count"],
            lr=lr, beta1=0.9, beta2=0.99, weight_decay=self.weight_decay, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip


class RMSProp(Optimizer):
    """Gradient over the root of its running mean square (Hinton 2012); decay 0.9, epsilon 1e-8."""

    slots = ("square",)

    def step(self, gradients: list[Tensor], lr: float) -> None:
        """One update."""
        square = self.state["square"]
        torch._foreach_mul_(square, 0.9)
        torch._foreach_addcmul_(square, gradients, gradients, 0.1)
        root = torch._foreach_sqrt(square)
        torch._foreach_add_(root, 1e-8)
        torch._foreach_addcdiv_(self.parameters, gradients, root, -lr)


class SGD(Optimizer):
    """Plain gradient descent with momentum 0.9 (Polyak 1964)."""

    slots = ("momentum",)

    def step(self, gradients: list[Tensor], lr: float) -> None:
        """One update."""
        momentum = self.state["momentum"]
        torch._foreach_mul_(momentum, 0.9)
        torch._foreach_add_(momentum, gradients)
        torch._foreach_add_(self.parameters, momentum, alpha=-lr)


OPTIMIZERS: dict[str, type[Optimizer]] = {"adamw": AdamW, "rmsprop": RMSProp, "sgd": SGD}


def clip(gradients: list[Tensor], longest: float) -> float:
    """Scale all gradients together so that their joint length is at most `longest` (0: no limit); returns the length.

    Source: Pascanu, Mikolov and Bengio 2013.
    """
    length = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))))
    if 0 < longest < length:
        torch._foreach_mul_(gradients, longest / length)
    return length
