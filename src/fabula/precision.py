"""Which number format this processor multiplies faster; asked of the processor, not of a clock, so that a seed repeats.

bf16 keeps the range of fp32 with 8 bits of mantissa, fp16 has 11 bits and a small range, so that losses are scaled up
before their gradients are computed; weights, sums and losses stay in fp32.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from fabula.errors import UsageError

FORMATS = {"bf16": torch.bfloat16, "fp16": torch.float16}

WIDEST = 1024
"""Hidden units up to which a GPU can keep a layer's weights on the chip."""

PATIENCE = 1000
"""Good steps after which losses are scaled up again."""

NARROW = 128
"""Hidden units below which the conversions cost more than bf16 gains."""


def choose(asked: str, hidden: int, device: str = "cpu") -> str:
    """`fp32`, `bf16` or `fp16`: as asked, or by what the processor can do when asked for `auto`.

    On NVIDIA the kernels that keep an LSTM's weights on the chip want fp16 and a width that is a multiple of 128 up to
    1,024. That is from cuDNN's documentation, not measured here. Errors: UsageError for a format that no LSTM has here.
    """
    if asked != "auto":
        if not has(asked, hidden, device):
            needed = "a GPU" if asked == "fp16" else "a processor with instructions for it"
            raise UsageError(f"training.precision={asked} needs {needed}: leave it out, or take auto or fp32")
        return asked
    if device == "cuda":
        if hidden % 128 == 0 and hidden <= WIDEST:
            return "fp16"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device != "cpu":
        return "fp32"
    return "fp32" if hidden < NARROW else probe(hidden)


def has(form: str, hidden: int, device: str = "cpu") -> bool:
    """Whether an LSTM can learn in a format here, well or not."""
    if device != "cpu" or form not in FORMATS:
        return True
    try:
        return form != "fp16" and _gradients(form, hidden) is not None
    except RuntimeError:  # there is no such LSTM primitive
        return False


@dataclass
class Scaling:
    """What losses in fp16 are multiplied by, lest their gradients become zero: halved when they become infinite.

    Source: Micikevicius et al. 2018, arXiv:1710.03740 (mixed precision, dynamic loss scaling).
    """

    factor: float = 2.0**14
    good: int = 0
    """Steps in a row without infinity."""

    def hear(self, *, finite: bool) -> None:
        """Suit the factor to what a step came to.

        >>> scaling = Scaling(8.0)
        >>> scaling.hear(finite=False)
        >>> scaling.factor
        4.0
        """
        self.good = self.good + 1 if finite else 0
        if not finite:
            self.factor = max(self.factor / 2, 1.0)
        elif self.good % PATIENCE == 0:
            self.factor = min(self.factor * 2, 2.0**24)


def probe(hidden: int) -> str:
    """`bf16` when the processor has instructions for it and its LSTM learns right with them, otherwise `fp32`.

    Asked of a layer as wide as the one that will learn: there are processors on which the gradients are wrong from
    1,024 units on. Takes some milliseconds.
    """
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    if not (native and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return "fp32"
    try:
        full, half = (_gradients(form, hidden) for form in ("fp32", "bf16"))
    except RuntimeError:  # some processors lack the bf16 LSTM primitive although they announce bf16
        return "fp32"
    return "bf16" if float((full - half).norm()) < 0.1 * float(full.norm()) else "fp32"


def _gradients(precision: str, hidden: int) -> torch.Tensor:
    """Gradients of all weights of an LSTM layer, one after another."""
    generator = torch.Generator().manual_seed(0)
    rows = 4 * hidden
    shapes = ((rows, 32), (rows, hidden), (rows,), (rows,))
    spread = hidden**-0.5
    weights = [torch.empty(shape).normal_(0, spread, generator=generator).requires_grad_() for shape in shapes]
    x = torch.empty(16, 4, 32).normal_(generator=generator)  # (B, T, I)
    start = torch.zeros(1, 16, hidden)
    with autocast(precision):
        output, _, _ = torch.lstm(x, (start, start), weights, True, 1, 0.0, True, False, True)
    return torch.cat([gradient.flatten() for gradient in torch.autograd.grad(output.float().square().sum(), weights)])


def autocast(precision: str, device: str = "cpu") -> torch.autocast:
    """The context in which products are computed in the given format."""
    return torch.autocast(device, FORMATS.get(precision, torch.bfloat16), enabled=precision in FORMATS)


@contextmanager
def no_denormals() -> Generator[None]:
    """Numbers too near to zero are zero, for they slow an LSTM many times over; afterwards as it was found."""
    flushed = (torch.tensor(1e-40) * 0.5).item() == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed)
