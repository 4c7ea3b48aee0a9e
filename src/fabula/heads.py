"""Output layers: hidden states to log-probabilities and losses; knows nothing of cells or time.

Legend: N positions, H hidden units, E embedding width, V vocabulary.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional


class Head(nn.Module, ABC):
    """An output layer over V units."""

    @abstractmethod
    def logits(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """Unnormalised scores: hidden (N, H), embedding (V, E) -> (N, V)."""

    def forward(self, hidden: Tensor, targets: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Nats of each target and whether it was the likeliest: (N, H), (N,) -> (N,), (N,) bool."""
        logits = self.logits(hidden, embedding).float()
        nats = functional.cross_entropy(logits, targets, reduction="none")
        return nats, logits.detach().argmax(dim=-1) == targets


class FullHead(Head):
    """A weight of its own for every unit: W h + b."""

    def __init__(self, hidden: int, embedding: int, vocabulary: int, generator: torch.Generator) -> None:  # noqa: ARG002
        super().__init__()
        bound = 1 / math.sqrt(hidden)
        self.weight = nn.Parameter(torch.empty(vocabulary, hidden).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def logits(self, hidden: Tensor, embedding: Tensor) -> Tensor:  # noqa: ARG002
        """(N, H) -> (N, V)."""
        return functional.linear(hidden, self.weight, self.bias)


class TiedHead(Head):
    """The word vectors once more: E (P h) + b, with P only where H and E differ.

    Source: Press and Wolf 2017; Inan et al. 2017.
    """

    def __init__(self, hidden: int, embedding: int, vocabulary: int, generator: torch.Generator) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.projection: nn.Module | None = None
        if hidden != embedding:
            bound = 1 / math.sqrt(hidden)
            self.projection = nn.Module()
            start = torch.empty(embedding, hidden).uniform_(-bound, bound, generator=generator)
            self.projection.weight = nn.Parameter(start)

    def logits(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """(N, H) -> (N, V)."""
        if self.projection is not None:
            hidden = functional.linear(hidden, self.projection.get_parameter("weight"))
        return functional.linear(hidden, embedding, self.bias)
