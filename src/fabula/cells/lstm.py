"""Long short-term memory; knows nothing outside its own equations.

Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber and Cummins 2000.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fabula.cells.contract import Cell, State


class LSTM(Cell):
    """Three gates (input, forget, output) around a memory; gate order i, f, g, o as in torch."""

    gates: ClassVar[int] = 4
    memories: ClassVar[int] = 2

    def set_forget_bias(self, bias: float) -> None:
        """Begin with that bias of the forget gate: above 0 it starts open, and the memory lasts before all learning.

        Source: Jozefowicz et al. 2015, whose choice is 1.
        """
        with torch.no_grad():
            self.get_parameter("bias_ih")[self.hidden : 2 * self.hidden] = bias
            self.get_parameter("bias_hh")[self.hidden : 2 * self.hidden] = 0.0

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """i, f, o = sigmoid(W x + U h + b); g = tanh(...); c' = f c + i g; h' = o tanh(c')."""
        h, c = state
        sums = x @ self.weight_ih.T + self.bias_ih + h @ self.weight_hh.T + self.bias_hh  # (B, 4H)
        i, f, g, o = sums.chunk(4, dim=1)  # each (B, H)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h, (h, c)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The same over time by torch's fused kernel: (B, T, I) -> (B, T, H)."""
        h, c = (memory.unsqueeze(0) for memory in state)  # (1, B, H)
        weights = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        output, h, c = torch.lstm(x, (h, c), weights, True, 1, 0.0, self.training, False, True)
        return output, (h.squeeze(0), c.squeeze(0))
