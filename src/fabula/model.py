"""The network: ids -> word vectors -> cells -> head, state in and state out; knows nothing of text or of learning.

Legend: B batch, T time, E embedding width, H hidden units, V vocabulary.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fabula.cells import CELLS, Cell, State
from fabula.config import ModelConfig
from fabula.heads import HEADS


class LanguageModel(nn.Module):
    """A recurrent language model over V units, by a ModelConfig whose fields are all chosen.

    With the adaptive head the gradient of the embedding is sparse: only the rows that were used.
    """

    def __init__(self, config: ModelConfig, vocabulary: int, generator: torch.Generator) -> None:
        super().__init__()
        assert config.layers and config.hidden and config.embedding and config.dropout is not None
        self.config, self.vocabulary = config, vocabulary
        self.embedding = nn.Module()
        # Tied vectors are output weights too, so they start smaller, but not so small that the cells hear nothing.
        spread = 1.0 if config.head == "full" else 5 * config.embedding**-0.5
        start = torch.empty(vocabulary, config.embedding).normal_(0, spread, generator=generator)
        self.embedding.weight = nn.Parameter(start)
        kind = CELLS[config.cell]
        widths = [config.embedding] + [config.hidden] * (config.layers - 1)
        self.cells = nn.ModuleList(kind(width, config.hidden, generator) for width in widths)
        self.head = HEADS[config.head](config.hidden, config.embedding, vocabulary, generator)

    def set_embedding(self, start: NDArray[np.float32], *, frozen: bool) -> None:
        """Begin with given word vectors (V, E); `frozen` ones are never updated."""
        weight = self.embedding.get_parameter("weight")
        with torch.no_grad():
            weight.copy_(torch.from_numpy(start))
        weight.requires_grad_(not frozen)

    def set_counts(self, counts: NDArray[np.int64]) -> None:
        """Begin with how often each unit occurs in the training text (V,)."""
        self.head.set_counts(counts)

    @property
    def layers(self) -> list[Cell]:
        """The cells, lowest first."""
        return [cell for cell in self.cells if isinstance(cell, Cell)]

    def initial_state(self, batch: int) -> State:
        """The zero state of all layers: `memories` tensors (B, H) a layer, lowest layer first."""
        return tuple(memory for cell in self.layers for memory in cell.initial_state(batch))

    def forward(self, ids: Tensor, state: State, noise: torch.Generator | None = None) -> tuple[Tensor, State]:
        """Hidden states of the last layer: ids (B, T) -> (B, T, H) and the new state.

        `noise` switches dropout on: one mask a sequence, the same for all its moments (Gal and Ghahramani 2016).
        """
        weight = self.embedding.get_parameter("weight")
        x = functional.embedding(ids, weight, sparse=self.head.sparse)  # (B, T, E)
        x = self._drop(x, noise)
        states: list[Tensor] = []
        for index, cell in enumerate(self.layers):
            own = state[index * cell.memories : (index + 1) * cell.memories]
            x, own = cell(x, own)  # (B, T, H)
            x = self._drop(x, noise)
            states.extend(own)
        return x, tuple(states)

    def loss(
        self, ids: Tensor, targets: Tensor, state: State, noise: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Nats and hits of every prediction: (B, T), (B, T) -> (B, T), (B, T) bool, state.

        With `targets` of shape (B, 1) only the last moment is judged, as the article's fixed window asks.
        """
        hidden, state = self(ids, state, noise)
        judged = hidden[:, -targets.shape[1] :].reshape(targets.numel(), -1)  # (B*T, H)
        nats, hits = self.head(judged, targets.reshape(-1), self.embedding.get_parameter("weight"))
        return nats.view(targets.shape), hits.view(targets.shape), state

    def _drop(self, x: Tensor, noise: torch.Generator | None) -> Tensor:
        """Silence the same features at every moment of a sequence: (B, T, F) -> (B, T, F)."""
        share = self.config.dropout
        if noise is None or not share:
            return x
        mask = torch.empty(x.shape[0], 1, x.shape[2]).bernoulli_(1 - share, generator=noise).div_(1 - share)
        return x * mask.to(x.dtype)


class NumpyScorer:
    """A network behind the evaluation room's `Scorer`: NumPy arrays in and out, no gradients, full precision."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    def initial_state(self, batch: int) -> State:
        """The zero state."""
        return self._model.initial_state(batch)

    @torch.inference_mode()
    def score(
        self, ids: NDArray[np.int64], targets: NDArray[np.int64], state: State
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_], State]:
        """Nats and hits: ids (B, T), targets (B, T) or (B, 1) -> the targets' shape twice, and the state."""
        nats, hits, state = self._model.loss(torch.from_numpy(ids), torch.from_numpy(targets), state)
        return nats.numpy(), hits.numpy(), state
