"""The output layers: exact probabilities, exact hits, and an adaptive layer that begins with the frequencies."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fabula import clusters
from fabula.heads import HEADS, AdaptiveHead, Head, SampledHead

V, H, E = 61, 12, 5


@pytest.fixture(params=[(kind, width) for kind in HEADS for width in (E, H)], ids=lambda p: f"{p[0]}-{p[1]}")
def head(request: pytest.FixtureRequest) -> Head:
    kind, width = request.param
    generator = torch.Generator().manual_seed(3)
    head = HEADS[kind](H, width, V, generator)
    head.set_counts(np.random.default_rng(0).zipf(1.5, V))
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.empty_like(parameter).normal_(0, 0.5, generator=generator))
    return head


def inputs(head: Head, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states, and word vectors of the width that the head was made for."""
    generator = torch.Generator().manual_seed(1)
    width = H if getattr(head, "projection", None) is None else E
    return torch.empty(rows, H).normal_(generator=generator), torch.empty(V, width).normal_(generator=generator)


@torch.no_grad()
def table(head: Head, hidden: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of all units, asked for one by one: (N, V)."""
    return torch.stack([-head(hidden, torch.full((len(hidden),), unit), embedding)[0] for unit in range(V)], dim=1)


def test_probabilities_add_up_to_one(head: Head) -> None:
    hidden, embedding = inputs(head, 9)
    torch.testing.assert_close(table(head, hidden, embedding).exp().sum(dim=1), torch.ones(9))


@torch.no_grad()
def test_hits_are_exact_without_gradients(head: Head) -> None:
    hidden, embedding = inputs(head, 200)
    likeliest = table(head, hidden, embedding).argmax(dim=1)
    assert len(likeliest.unique()) > 5
    for unit in range(V):
        hits = head(hidden, torch.full((200,), unit), embedding)[1]
        assert torch.equal(hits, likeliest == unit), unit


def test_while_learning_hits_may_be_too_many_but_never_too_few(head: Head) -> None:
    hidden, embedding = inputs(head, 200)
    likeliest = table(head, hidden, embedding).argmax(dim=1)
    assert head(hidden, likeliest, embedding)[1].all()


def equations(head: AdaptiveHead, hidden: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
    """log p(unit) = log p(tail) + log p(unit | tail) for all units at once: (N, V)."""
    weights = dict(head.named_parameters())
    wide = hidden @ weights["projection.weight"].T
    rows = torch.cat([embedding[head.places.argsort()[: head.shortlist]], weights["clusters"]])
    first = (wide @ rows.T + weights["bias"]).log_softmax(dim=1)
    found = [first[:, : head.shortlist]]
    for tail in range(len(head.ranges)):
        own = {name: weights[f"tails.{tail}.{name}"] for name in ("projection", "weight", "bias")}
        inside = (hidden @ own["projection"].T @ own["weight"].T + own["bias"]).log_softmax(dim=1)
        found.append(inside + first[:, head.shortlist + tail, None])
    return torch.cat(found, dim=1)[:, head.places]


def test_the_adaptive_head_and_its_gradients_are_those_of_the_equations() -> None:
    head = AdaptiveHead(H, E, V, torch.Generator().manual_seed(3))
    head.set_counts(np.random.default_rng(0).zipf(1.5, V))
    hidden, embedding = (part.requires_grad_() for part in inputs(head, 40))
    targets = torch.arange(40) + 10
    learned = [hidden, embedding, *head.parameters()]
    nats, expected = head(hidden, targets, embedding)[0], -equations(head, hidden, embedding)[range(40), targets]
    torch.testing.assert_close(nats, expected)
    for ours, right in zip(*(torch.autograd.grad(sums.sum(), learned) for sums in (nats, expected)), strict=True):
        torch.testing.assert_close(ours.to_dense(), right, rtol=1e-4, atol=1e-5)


def test_an_adaptive_head_begins_with_the_frequencies() -> None:
    """Before anything is learned from a state, each unit is as likely as it was common; ranks break ties by id."""
    counts = np.array([0, 5, 9, 5, *[1] * (V - 4)])
    head = AdaptiveHead(H, H, V, torch.Generator().manual_seed(3))
    head.set_counts(counts)
    assert head.places[:5].tolist() == [V - 1, 1, 0, 2, 3]
    expected = torch.from_numpy((counts + 1) / (counts + 1).sum()).float()
    found = table(head, torch.zeros(1, H), torch.zeros(V, H)).exp()[0]
    torch.testing.assert_close(found, expected)


@given(vocabulary=st.integers(1, 10**6), hidden=st.integers(1, 4096))
@settings(deadline=None)
def test_clusters_hold_every_rank_once(vocabulary: int, hidden: int) -> None:
    place = clusters.shortlist(vocabulary)
    assert place >= 1
    widths = [hidden]
    for start, end, width in clusters.tails(vocabulary, hidden):
        assert start == place < end <= 2 * start
        assert 1 <= width <= widths[-1]
        place = end
        widths.append(width)
    assert place == vocabulary


def sampled(drawn: int, counts: list[int]) -> SampledHead:
    head = SampledHead(H, E, len(counts), torch.Generator().manual_seed(3))
    head.set_counts(np.array(counts))
    head.drawn = drawn
    return head


@torch.no_grad()
def test_a_sample_estimates_the_sum_over_all_units() -> None:
    """With many draws its nats come near to the exact ones, with few they are right on average but for their spread."""
    head = sampled(60_000, list(range(1, V + 1)))
    hidden, embedding = inputs(head, 40)
    targets = torch.arange(40)
    exact, _ = head(hidden, targets, embedding)
    near, _ = head(hidden, targets, embedding, torch.Generator().manual_seed(1))
    assert float((near - exact).abs().max()) < 0.1
    head.drawn = 20
    far = torch.stack([head(hidden, targets, embedding, torch.Generator().manual_seed(s))[0] for s in range(300)])
    assert float(far.std(dim=0).mean()) > 0.1
    # exp(nats) is one plus a sum that is estimated without bias
    torch.testing.assert_close(far.exp().mean(dim=0).log(), exact, atol=0.25, rtol=0.1)


def test_a_target_is_no_rival_of_its_own() -> None:
    """Where the only unit that is ever drawn is the target itself, nothing speaks against it."""
    head = sampled(50, [10**15] + [0] * (V - 1))
    hidden, embedding = inputs(head, 3)
    nats, hits = head(hidden, torch.zeros(3, dtype=torch.long), embedding, torch.Generator().manual_seed(0))
    assert nats.tolist() == [0.0] * 3
    assert hits.all()


def test_a_sampled_step_touches_only_what_it_scored_and_repeats() -> None:
    head = sampled(8, list(range(1, V + 1)))
    hidden, embedding = inputs(head, 4)
    embedding.requires_grad_()
    targets = torch.tensor([1, 2, 2, 5])
    nats = [head(hidden, targets, embedding, torch.Generator().manual_seed(9))[0] for _ in range(2)]
    assert torch.equal(nats[0], nats[1])
    (gradient,) = torch.autograd.grad(nats[0].sum(), [embedding])
    assert gradient.is_sparse
    rows = gradient.coalesce().indices()[0]
    assert {1, 2, 5} <= set(rows.tolist())
    assert len(rows) <= 3 + 8


def test_the_sample_follows_the_frequencies() -> None:
    head = sampled(5000, [0, 0, 1000, 0])
    _, embedding = inputs(head, 1)
    embedding = embedding[:4].requires_grad_()
    hidden = torch.zeros(1, H)
    (gradient,) = torch.autograd.grad(
        head(hidden, torch.tensor([0]), embedding, torch.Generator().manual_seed(2))[0].sum(), [embedding]
    )
    drawn = torch.bincount(gradient._indices()[0], minlength=4)
    assert drawn[2] / 5000 == pytest.approx(1001**0.75 / (1001**0.75 + 3), abs=0.01)
