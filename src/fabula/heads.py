"""Output layers: hidden states to the nats of what came next; knows nothing of cells or time.

Legend: N positions, n some of them or of the units, K draws, H hidden units, E embedding width, V vocabulary,
S shortlist, C tail clusters.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fabula import clusters
from fabula.clusters import DRAWN

FLATTENED = 0.75
"""Power of the frequencies that they are drawn by (Mikolov et al. 2013)."""


class Head(nn.Module, ABC):
    """An output layer over V units."""

    sparse: bool = False
    """True when, while it learns, it looks at the embedding through `functional.embedding(..., sparse=True)` only."""

    sparse_names: ClassVar[tuple[str, ...]] = ("embedding.weight",)
    """Parameters of the network that have sparse gradients where it is so."""

    @abstractmethod
    def forward(
        self, hidden: Tensor, targets: Tensor, embedding: Tensor, noise: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Nats of each target and whether it was the likeliest: (N, H), (N,), (V, E) -> (N,), (N,) bool.

        `noise` is there while it learns; without it both are exact.
        """

    def set_counts(self, counts: NDArray[np.int64]) -> None:
        """Hear, before the first step, how often each unit occurs in the training text (V,)."""


class Softmax(Head):
    """A head that scores all units at every position."""

    @abstractmethod
    def logits(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """Unnormalised scores: hidden (N, H), embedding (V, E) -> (N, V)."""

    def forward(
        self,
        hidden: Tensor,
        targets: Tensor,
        embedding: Tensor,
        noise: torch.Generator | None = None,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Nats and hits: (N, H), (N,), (V, E) -> (N,), (N,) bool."""
        nats, scores = cross_entropy(self.logits(hidden, embedding), targets)
        return nats, scores.max(dim=1).indices == targets


class FullHead(Softmax):
    """A weight of its own for every unit: W h + b."""

    def __init__(self, hidden: int, embedding: int, vocabulary: int, generator: torch.Generator) -> None:  # noqa: ARG002
        super().__init__()
        self.weight = _uniform(vocabulary, hidden, generator)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def logits(self, hidden: Tensor, embedding: Tensor) -> Tensor:  # noqa: ARG002
        """(N, H) -> (N, V)."""
        return functional.linear(hidden, self.weight, self.bias)


class TiedHead(Softmax):
    """The word vectors once more: E (P h) + b, with P only where H and E differ.

    Source: Press and Wolf 2017; Inan et al. 2017.
    """

    def __init__(self, hidden: int, embedding: int, vocabulary: int, generator: torch.Generator) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.projection = _projection(hidden, embedding, generator)

    def logits(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """(N, H) -> (N, V)."""
        return functional.linear(_project(self.projection, hidden), embedding, self.bias)


class SampledHead(TiedHead):
    """The word vectors once more; while it learns, each target is scored against a sample of the other units.

    The sample is drawn by frequency, one for all positions of a step, and holds each unit once; each of its scores is
    lowered by the logarithm of the chance to be in it, so that together they estimate the sum over all units. Hits are
    those among the sample. Updates touch only the rows of the embedding and the biases that were used. The frequencies
    that `set_counts` hears set the biases too. Source: Bengio and Senecal 2008 (importance sampling), Jean et al. 2015,
    arXiv:1412.2007 (one sample for many positions), Horvitz and Thompson 1952 (chances without repetition).
    """

    sparse = True
    sparse_names = ("embedding.weight", "head.bias")

    def __init__(self, hidden: int, embedding: int, vocabulary: int, generator: torch.Generator) -> None:
        super().__init__(hidden, embedding, vocabulary, generator)
        self.drawn = min(DRAWN, vocabulary)
        # Not saved: the frequencies are those of the text, which is there whenever it learns.
        self.chances = nn.Buffer(torch.empty(vocabulary, dtype=torch.float64), persistent=False)
        self.reached = nn.Buffer(torch.empty(vocabulary, dtype=torch.float64), persistent=False)
        self.set_counts(np.zeros(vocabulary, np.int64))

    def set_counts(self, counts: NDArray[np.int64]) -> None:
        """Begin with these frequencies, and draw rare units a little oftener than they come."""
        seen = torch.from_numpy(counts + 1.0)  # (V,) what never came is not impossible
        flat = seen**FLATTENED
        chances = flat / flat.sum()
        self.chances.copy_(chances)
        self.reached.copy_(chances.cumsum(0))  # summed here: a GPU's sums need not repeat to the bit
        with torch.no_grad():
            self.bias.copy_((seen / seen.sum()).log())

    def forward(
        self, hidden: Tensor, targets: Tensor, embedding: Tensor, noise: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Nats and hits: (N, H), (N,), (V, E) -> (N,), (N,) bool."""
        if noise is None:
            return super().forward(hidden, targets, embedding)
        places = torch.rand(self.drawn, generator=noise, device=noise.device, dtype=torch.float64)  # (K,)
        others = torch.searchsorted(self.reached, places).clamp(max=len(self.reached) - 1).unique()  # (n,)
        there = -torch.expm1(self.drawn * torch.log1p(-self.chances[others]))  # (n,) chance to be drawn at all
        scored = torch.cat([targets, others])  # (N + n,)
        rows = functional.embedding(scored, embedding, sparse=True)  # (N + n, E)
        bias = self.bias.gather(0, scored, sparse_grad=True)  # (N + n,)
        narrow, count = _project(self.projection, hidden), len(targets)
        wanted = (narrow * rows[:count]).sum(1).float() + bias[:count]  # (N,)
        # The bias joins after the product, which may be in a short format that would round it.
        rivals = functional.linear(narrow, rows[count:]).float() + (bias[count:] - there.log().float())  # (N, n)
        rivals = rivals.masked_fill(others == targets[:, None], -math.inf)  # a target is no rival of its own
        logits = torch.cat([wanted[:, None], rivals], dim=1)  # (N, 1 + n)
        first = torch.zeros_like(targets)
        nats, scores = cross_entropy(logits, first)
        return nats, scores.max(dim=1).indices == first


class AdaptiveHead(Head):
    """Commonest units first, by their word vectors; the others by clusters that are scored only where they came.

    p(unit) = p(its cluster) p(unit | its cluster), so the probabilities are exact. The frequencies that `set_counts`
    hears sort the units and set the biases; without them the ids count as sorted. Updates touch only the rows of the
    embedding that were used. Source: Grave et al. 2017, arXiv:1609.04309; see `clusters` for their sizes.
    """

    sparse = True

    def __init__(self, hidden: int, embedding: int, vocabulary: int, generator: torch.Generator) -> None:
        super().__init__()
        self.ranges = clusters.tails(vocabulary, hidden)
        self.shortlist = clusters.shortlist(vocabulary)
        self.places = nn.Buffer(torch.arange(vocabulary))  # (V,) rank of each id
        self.projection = _projection(hidden, embedding, generator)
        self.clusters = _uniform(len(self.ranges), embedding, generator)
        self.bias = nn.Parameter(torch.zeros(self.shortlist + len(self.ranges)))
        self.tails = nn.ModuleList(Tail(hidden, tail.width, tail.end - tail.start, generator) for tail in self.ranges)

    def set_counts(self, counts: NDArray[np.int64]) -> None:
        """Sort the units by falling frequency, ties by id, and begin with their frequencies."""
        order = np.argsort(-counts, kind="stable")
        seen = torch.from_numpy(counts[order] + 1.0)  # (V,) by rank; what never came is not impossible
        with torch.no_grad():
            ranks = torch.empty_like(self.places, device="cpu")
            ranks[torch.from_numpy(order)] = torch.arange(len(order))
            self.places.copy_(ranks)
            whole = seen[: self.shortlist].tolist()
            for part, tail in zip(self.ranges, self._tails, strict=True):
                own = seen[part.start : part.end]
                tail.bias.copy_((own / own.sum()).log())
                whole.append(float(own.sum()))
            self.bias.copy_((torch.tensor(whole) / sum(whole)).log())

    def forward(
        self,
        hidden: Tensor,
        targets: Tensor,
        embedding: Tensor,
        noise: torch.Generator | None = None,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Nats and hits: (N, H), (N,), (V, E) -> (N,), (N,) bool.

        While gradients are computed, hits are counted without a look into the clusters of other units, which would cost
        time: they may be a little too many. Without gradients they are exact.
        """
        ranks = self.places[targets]  # (N,)
        starts = torch.tensor([part.start for part in self.ranges], device=ranks.device)
        cluster = torch.bucketize(ranks, starts, right=True)  # (N,) 0 in the shortlist, else 1 + its tail
        columns = torch.where(cluster == 0, ranks, self.shortlist - 1 + cluster)
        nats, log_first = cross_entropy(self._first(hidden, embedding), columns)  # (N,), (N, S+C)
        best, likeliest = log_first[:, : self.shortlist].max(dim=1)
        hits = likeliest == columns
        for number, (part, tail) in enumerate(zip(self.ranges, self._tails, strict=True), start=1):
            rows = (cluster == number).nonzero().squeeze(1)  # (n,)
            wanted = ranks[rows] - part.start
            within, inside = cross_entropy(tail(hidden[rows]), wanted)  # (n,), (n, end - start)
            nats = nats.index_add(0, rows, within)
            hits[rows] = (inside.max(dim=1).indices == wanted) & (-nats.detach()[rows] >= best[rows])
        if not torch.is_grad_enabled():
            self._leave_out(hits, hidden, cluster, -nats, log_first[:, self.shortlist :])
        return nats, hits

    def _first(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """Scores of the shortlist and of the tails as wholes: (N, H), (V, E) -> (N, S+C)."""
        ids = (self.places < self.shortlist).nonzero().squeeze(1)
        ids = ids[self.places[ids].argsort()]  # (S,) by rank
        rows = functional.embedding(ids, embedding, sparse=True)  # (S, E)
        return functional.linear(_project(self.projection, hidden), torch.cat([rows, self.clusters]), self.bias)

    def _leave_out(self, hits: Tensor, hidden: Tensor, cluster: Tensor, own: Tensor, log_tails: Tensor) -> None:
        """Take the hits away that a unit of another tail beats: only tails as likely as the hit can hold such a unit.

        `own` (N,) is each target's log-probability, `log_tails` (N, C) that of each tail as a whole.
        """
        for number, tail in enumerate(self._tails):
            rows = (hits & (cluster != number + 1) & (log_tails[:, number] > own)).nonzero().squeeze(1)  # (n,)
            rival = tail(hidden[rows]).float().log_softmax(dim=1).amax(dim=1) + log_tails[rows, number]
            hits[rows] = rival <= own[rows]

    @property
    def _tails(self) -> list[Tail]:
        return [tail for tail in self.tails if isinstance(tail, Tail)]


class Tail(nn.Module):
    """A cluster of rarer units: W (P h) + b, narrower than the network."""

    def __init__(self, hidden: int, width: int, units: int, generator: torch.Generator) -> None:
        super().__init__()
        self.projection = _uniform(width, hidden, generator)
        self.weight = _uniform(units, width, generator)
        self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, hidden: Tensor) -> Tensor:
        """(n, H) -> (n, units of the cluster)."""
        return functional.linear(functional.linear(hidden, self.projection), self.weight, self.bias)


class _CrossEntropy(torch.autograd.Function):
    """Softmax cross-entropy that keeps its log-probabilities, so that each score is visited as seldom as can be."""

    @staticmethod
    def forward(*args: Any, **_: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        ctx, logits, targets = args
        scores = torch.log_softmax(logits, dim=1, dtype=torch.float32)
        ctx.save_for_backward(scores, targets)
        ctx.mark_non_differentiable(scores)
        ctx.set_materialize_grads(False)
        ctx.format = logits.dtype
        return -scores.gather(1, targets[:, None]).squeeze(1), scores

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor | None) -> tuple[Tensor | None, None]:  # noqa: ANN401
        slope = slopes[0]
        if slope is None:
            return None, None
        scores, targets = ctx.saved_tensors
        chances = scores.exp()
        chances.scatter_add_(1, targets[:, None], chances.new_full((len(targets), 1), -1.0))
        return chances.mul_(slope[:, None]).to(ctx.format), None


def cross_entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Nats of the targets, and log-probabilities without gradients: (N, K), (N,) -> (N,), (N, K), both in fp32.

    >>> nats, scores = cross_entropy(torch.tensor([[1.0, 1.0], [2.0, 2.0]]), torch.tensor([0, 1]))
    >>> [round(value, 4) for value in nats.tolist()], scores.exp().tolist()
    ([0.6931, 0.6931], [[0.5, 0.5], [0.5, 0.5]])
    """
    nats, scores = _CrossEntropy.apply(logits, targets)
    return nats, scores


HEADS: dict[str, type[FullHead | TiedHead | SampledHead | AdaptiveHead]] = {
    "full": FullHead, "tied": TiedHead, "sampled": SampledHead, "adaptive": AdaptiveHead,
}  # fmt: skip


def _uniform(rows: int, columns: int, generator: torch.Generator) -> nn.Parameter:
    """A weight (rows, columns) to multiply vectors of length `columns`."""
    bound = 1 / math.sqrt(columns)
    return nn.Parameter(torch.empty(rows, columns).uniform_(-bound, bound, generator=generator))


def _projection(hidden: int, embedding: int, generator: torch.Generator) -> nn.Module | None:
    """What brings hidden states to the width of word vectors, where the two differ."""
    if hidden == embedding:
        return None
    projection = nn.Module()
    projection.weight = _uniform(embedding, hidden, generator)
    return projection


def _project(projection: nn.Module | None, hidden: Tensor) -> Tensor:
    """(N, H) -> (N, E)."""
    return hidden if projection is None else functional.linear(hidden, projection.get_parameter("weight"))
