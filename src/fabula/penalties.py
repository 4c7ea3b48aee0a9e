"""What the hidden states cost besides the loss; knows no network."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from fabula.config import TrainingConfig


def penalties(
    training: TrainingConfig, dropped: Tensor, plain: Tensor, scale: float = 1.0
) -> list[tuple[Tensor, Tensor]]:
    """Gradients by which the hidden states of the last layer, after and before dropout, are penalised: (B, T, H) twice.

    What is added to the loss is `penalty_activation` times the mean square of the first, and `penalty_slope` times the
    mean square of how the second change from moment to moment. Only the gradients are computed, for nobody reads the
    sum. Source: Merity, McCann and Socher 2017 (activation regularization, the same over time).
    """
    found: list[tuple[Tensor, Tensor]] = []
    dropped_now, plain_now = dropped.detach(), plain.detach()
    if training.penalty_activation and dropped.requires_grad:
        found.append((dropped, dropped_now * (2 * scale * training.penalty_activation / dropped.numel())))
    if training.penalty_slope and plain.requires_grad and plain.shape[1] > 1:
        changes = functional.pad(plain_now.diff(dim=1), (0, 0, 1, 1))  # (B, T+1, H) nothing before and after
        share = 2 * scale * training.penalty_slope / plain_now[:, 1:].numel()
        found.append((plain, (changes[:, :-1] - changes[:, 1:]) * share))
    return found
