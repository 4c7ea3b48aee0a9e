"""What every recurrent layer promises: one step that is the equations, one fast pass over time that agrees with it.

Legend: B batch, T time, I input width, H hidden units, G gates of the cell.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""What a layer remembers; every tensor batch-first, (B, H)."""


@contextmanager
def _one_thread() -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Cell(nn.Module, ABC):
    """One recurrent layer with torch's parameter names, shapes and start values.

    Start values are uniform in +-1/sqrt(H), as in torch.nn.LSTM, but for the weights between moments: each gate's block
    turns what was, and neither stretches nor shrinks it. Source: Saxe, McClelland and Ganguli 2014, arXiv:1312.6120.
    """

    gates: ClassVar[int]
    """Blocks of H rows in each weight."""

    memories: ClassVar[int]
    """Tensors in the state."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor

    def __init__(self, inputs: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        rows, bound = self.gates * hidden, 1 / math.sqrt(hidden)
        for name, shape in (
            ("weight_ih", (rows, inputs)), ("weight_hh", (rows, hidden)), ("bias_ih", (rows,)), ("bias_hh", (rows,)),
        ):  # fmt: skip
            start = torch.empty(shape).uniform_(-bound, bound, generator=generator)
            if name == "weight_hh":
                with _one_thread():  # by which alone a seed gives the same numbers wherever it is used
                    for block in start.split(hidden):
                        nn.init.orthogonal_(block, generator=generator)
            self.register_parameter(name, nn.Parameter(start))

    def initial_state(self, batch: int) -> State:
        """The state before the first input: zeros, `memories` times (B, H)."""
        like = self.get_parameter("weight_hh")
        return tuple(like.new_zeros(batch, self.hidden) for _ in range(self.memories))

    def set_forget_bias(self, bias: float) -> None:
        """Begin with that bias of the gate that keeps the memory, in cells with a gate for nothing else."""

    @abstractmethod
    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One step in time: (B, I) -> (B, H) and the new state. The equations, the truth."""

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Many steps: (B, T, I) -> (B, T, H) and the last state; loops over `step` unless a cell has a faster way."""
        outputs = []
        for moment in x.unbind(1):
            output, state = self.step(moment, state)
            outputs.append(output)
        return torch.stack(outputs, dim=1), state
