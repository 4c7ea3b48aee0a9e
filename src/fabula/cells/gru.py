"""Gated recurrent unit; knows nothing outside its own equations.

Source: Cho et al. 2014, in the form torch and cuDNN compute (the reset gate after the product with h).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from fabula.cells.contract import Cell, State


class GRU(Cell):
    """Two gates (reset, update) and no separate memory; gate order r, z, n as in torch."""

    gates: ClassVar[int] = 3
    memories: ClassVar[int] = 1

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """r, z = sigmoid(...); n = tanh(W x + b + r (U h + c)); h' = (1 - z) n + z h."""
        (h,) = state
        from_x = (x @ self.weight_ih.T + self.bias_ih).chunk(3, dim=1)  # each (B, H)
        from_h = (h @ self.weight_hh.T + self.bias_hh).chunk(3, dim=1)
        r = (from_x[0] + from_h[0]).sigmoid()
        z = (from_x[1] + from_h[1]).sigmoid()
        n = (from_x[2] + r * from_h[2]).tanh()
        h = (1 - z) * n + z * h
        return h, (h,)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The same over time by torch's fused kernel: (B, T, I) -> (B, T, H)."""
        weights = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        output, h = torch.gru(x, state[0].unsqueeze(0), weights, True, 1, 0.0, self.training, False, True)
        return output, (h.squeeze(0),)
