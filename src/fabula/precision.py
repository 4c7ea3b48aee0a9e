"""Which number format this processor multiplies faster; a measurement, not a guess; knows nothing of models.

bf16 keeps the range of fp32 with 8 bits of mantissa; weights, sums and losses stay in fp32.
"""

from __future__ import annotations

import time

import torch


def choose(asked: str) -> str:
    """`fp32` or `bf16`: as asked, or by the probe when asked for `auto`."""
    return probe() if asked == "auto" else asked


def probe() -> str:
    """`bf16` when a small LSTM learns at least a tenth faster with it and agrees with fp32, otherwise `fp32`.

    Takes about a tenth of a second.
    """
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "fp32"
    try:
        full, half = _seconds("fp32"), _seconds("bf16")
    except RuntimeError:  # some processors lack the bf16 LSTM primitive although they announce bf16
        return "fp32"
    return "bf16" if half * 1.1 < full else "fp32"


def _seconds(precision: str) -> float:
    """Best time of a forward and backward pass of one LSTM layer."""
    generator = torch.Generator().manual_seed(0)
    weights = [torch.empty(shape).normal_(0, 0.05, generator=generator) for shape in ((1024, 64), (1024, 256), (1024,), (1024,))]
    x = torch.empty(16, 16, 64).normal_(generator=generator)
    start = torch.zeros(1, 16, 256)
    best = float("inf")
    for weight in weights:
        weight.requires_grad_()
    for _ in range(4):
        begun = time.perf_counter()
        with autocast(precision):
            output, _, _ = torch.lstm(x, (start, start), weights, True, 1, 0.0, True, False, True)
        output.float().sum().backward()
        best = min(best, time.perf_counter() - begun)
    return best


def autocast(precision: str) -> torch.autocast:
    """The context in which products are computed in the given format."""
    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
