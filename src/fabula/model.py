"""The network: ids -> word vectors -> cells -> head, state in and state out; knows nothing of text or of learning.

Legend: B batch, T time, E embedding width, H hidden units, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from fabula.cells import CELLS, Cell, State
from fabula.config import ModelConfig
from fabula.hashing import APART, MULTIPLIERS, lengths
from fabula.heads import HEADS


@dataclass(frozen=True)
class Noise:
    """Where the masks of one step are drawn from; what computes a part of its lanes has the masks of those lanes.

    All parts draw the same numbers, and each takes its own, so that together they are one batch computed at once.
    """

    generator: torch.Generator
    number: int = 0
    parts: int = 1

    def mask(self, shape: Sequence[int], share: float) -> Tensor:
        """Zeros for a share, and for the rest what keeps the mean at one; the same in all parts."""
        ones = torch.empty(shape, device=self.generator.device).bernoulli_(1 - share, generator=self.generator)
        return ones.div_(1 - share)

    def mask_of_lanes(self, lanes: int, features: int, share: float) -> Tensor:
        """The same for the lanes of this part: (lanes, 1, features)."""
        return self._own(self.mask((lanes * self.parts, 1, features), share))

    def lanes_but(self, share: float, lanes: int) -> Tensor:
        """Which lanes of this part are not among a share drawn of all: (lanes, 1) bool."""
        whole = torch.empty(lanes * self.parts, 1, device=self.generator.device)
        return self._own(whole.bernoulli_(1 - share, generator=self.generator)).bool()

    def _own(self, whole: Tensor) -> Tensor:
        return whole.chunk(self.parts)[self.number]


class LanguageModel(nn.Module):
    """A recurrent language model over V units, by a ModelConfig whose fields are all chosen.

    With the adaptive head the gradient of the embedding is sparse: only the rows that were used. That of the vectors of
    n-grams always is.
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
        self.ngrams = Ngrams(config.ngrams or 2, config.buckets, config.embedding) if config.buckets else None
        kind = CELLS[config.cell]
        widths = [config.embedding] + [config.hidden] * (config.layers - 1)
        self.cells = nn.ModuleList(kind(width, config.hidden, generator) for width in widths)
        for cell in self.layers:
            cell.set_forget_bias(config.forget_bias or 0.0)
        self.head = HEADS[config.head](config.judged, config.embedding, vocabulary, generator)

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
    def device(self) -> torch.device:
        """Where it computes."""
        return self.embedding.get_parameter("weight").device

    @property
    def layers(self) -> list[Cell]:
        """The cells, lowest first."""
        return [cell for cell in self.cells if isinstance(cell, Cell)]

    def initial_state(self, batch: int) -> State:
        """The zero state of all layers: `memories` tensors (B, H) a layer, lowest layer first.

        With n-grams of N units a last tensor (B, N-1) holds the units before, as floats: end marks at first.
        """
        memories = tuple(memory for cell in self.layers for memory in cell.initial_state(batch))
        if self.ngrams is None:
            return memories
        like = self.embedding.get_parameter("weight")
        return *memories, like.new_full((batch, self.ngrams.longest - 1), self.vocabulary - 1.0)

    def forward(self, ids: Tensor, state: State, noise: Noise | None = None) -> tuple[Tensor, Tensor, State]:
        """Hidden states after and before dropout: ids (B, T) -> (B, T, H) twice, and the new state.

        They are those of the last layer; after dropout the vectors of the n-grams (B, T, E) stand beside them.
        `noise` switches dropout on: one mask a sequence, the same for all its moments (Gal and Ghahramani 2016); words
        of the vocabulary and weights between moments are silenced for the whole batch (Merity et al. 2018).
        """
        config, weight = self.config, self.embedding.get_parameter("weight")
        x = functional.embedding(ids, weight, sparse=self.head.sparse)  # (B, T, E)
        if noise is not None and config.dropout_embedding:
            x = x * noise.mask((self.vocabulary, 1), config.dropout_embedding)[ids]  # (B, T, 1)
        runs, before = self.ngrams(ids, state[-1]) if self.ngrams else (None, ())
        x = x if runs is None else x + runs
        dropped, plain = _drop(x, _or(config.dropout_input, config.dropout), noise), x  # (B, T, E)
        states: list[Tensor] = []
        between, last = _or(config.dropout_hidden, config.dropout), _or(config.dropout_output, config.dropout)
        for index, cell in enumerate(self.layers):
            own = state[index * cell.memories : (index + 1) * cell.memories]
            plain, own = self._through(cell, dropped, own, noise)  # (B, T, H)
            dropped = _drop(plain, last if index == len(self.cells) - 1 else between, noise)
            states.extend(own)
        if runs is not None:
            dropped = torch.cat([dropped, _drop(runs, last, noise).to(dropped.dtype)], dim=2)  # (B, T, H+E)
        return dropped, plain, (*states, *before)

    def loss(
        self, ids: Tensor, targets: Tensor, state: State, noise: Noise | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Nats and hits of every prediction: (B, T), (B, T) -> (B, T), (B, T) bool, state.

        With `targets` of shape (B, 1) only the last moment is judged, as the article's fixed window asks.
        """
        hidden, _, state = self(ids, state, noise)
        return *self.judge(hidden, targets, noise), state

    def judge(self, hidden: Tensor, targets: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        """Nats and hits of the last moments: hidden states (B, T, H), targets (B, T) or (B, 1) -> their shape twice.

        `noise` is given while it learns.
        """
        judged = hidden[:, -targets.shape[1] :].reshape(targets.numel(), -1)  # (B*T, H)
        drawn = noise.generator if noise else None
        nats, hits = self.head(judged, targets.reshape(-1), self.embedding.get_parameter("weight"), drawn)
        return nats.view(targets.shape), hits.view(targets.shape)

    def _through(self, cell: Cell, x: Tensor, state: State, noise: Noise | None) -> tuple[Tensor, State]:
        """One layer over time, some of its weights between moments silenced: (B, T, I) -> (B, T, H), state."""
        share = self.config.dropout_weight
        if noise is None or not share:
            return cell(x, state)
        weight = cell.get_parameter("weight_hh")
        return functional_call(cell, {"weight_hh": weight * noise.mask(weight.shape, share)}, (x, state))


class Learner(nn.Module):
    """All that is computed of one step before its gradients, as one module, so that several processes can share it."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    @property
    def sparse(self) -> list[str]:
        """Names of the parameters whose gradients hold only the rows that were used."""
        model = self.model
        names = [f"model.{name}" for name in model.head.sparse_names] if model.head.sparse else []
        return [*names, "model.ngrams.weight"] if model.ngrams else names

    def forward(
        self, ids: Tensor, targets: Tensor, state: State, noise: Noise
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, State]:
        """Nats and hits of every target, hidden states after and before dropout, and the new state."""
        dropped, plain, state = self.model(ids, state, noise)
        nats, hits = self.model.judge(dropped, targets, noise)
        return nats, hits, dropped, plain, state


class Ngrams(nn.Module):
    """Vectors of the last 2, 3, ... units, which tell the network what it would take long to learn; see `hashing`."""

    def __init__(self, longest: int, buckets: int, width: int) -> None:
        super().__init__()
        self.longest, self.buckets = longest, buckets
        self.weight = nn.Parameter(torch.zeros(buckets, width))  # a run never met says nothing

    def forward(self, ids: Tensor, before: Tensor) -> tuple[Tensor, tuple[Tensor]]:
        """Sums over the lengths: ids (B, T), the units before (B, N-1) -> (B, T, E), and those before the next."""
        units = torch.cat([before.long(), ids], dim=1)  # (B, N-1+T)
        found = []
        for length in lengths(self.longest):
            key = torch.full_like(ids, APART * (length - 2))
            for back in range(length):
                first = self.longest - 1 - back
                key = key + MULTIPLIERS[back] * units[:, first : first + ids.shape[1]]
            found.append(functional.embedding(key % self.buckets, self.weight, sparse=True))  # (B, T, E)
        return torch.stack(found).sum(0), (units[:, ids.shape[1] :].float(),)


def _drop(x: Tensor, share: float, noise: Noise | None) -> Tensor:
    """Silence the same features at every moment of a sequence: (B, T, F) -> (B, T, F)."""
    if noise is None or not share:
        return x
    return x * noise.mask_of_lanes(x.shape[0], x.shape[2], share).to(x.dtype)


def _or(chosen: float | None, otherwise: float | None) -> float:
    return (otherwise or 0.0) if chosen is None else chosen


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
        read, wanted = (torch.from_numpy(units).to(self._model.device) for units in (ids, targets))
        nats, hits, state = self._model.loss(read, wanted, state)
        return nats.cpu().numpy(), hits.cpu().numpy(), state
