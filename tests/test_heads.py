"""The output layers: exact probabilities and hits, a beginning with the frequencies, and a sample that is no bias."""

import os
import signal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fabula
from fabula import clusters, folder, heads
from fabula.engine import Engine
from fabula.events import Event, Stepped
from fabula.heads import HEADS, AdaptiveHead, Head, SampledHead
from fabula.model import LanguageModel, NumpyScorer

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


@pytest.mark.parametrize("form", [torch.float32, torch.bfloat16])
def test_cross_entropy_and_its_gradient_are_torchs(form: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(7, V, generator=generator).to(form)
    logits[3, 5] = -torch.inf  # what may not come
    targets, slope = torch.arange(7), torch.rand(7, generator=generator)
    found, right = (logits.clone().requires_grad_() for _ in range(2))
    nats, scores = heads.cross_entropy(found, targets)
    wanted = torch.nn.functional.cross_entropy(right.float(), targets, reduction="none")
    assert nats.tolist() == pytest.approx(wanted.tolist(), rel=1e-6)
    assert not scores.requires_grad
    torch.testing.assert_close(scores, right.detach().float().log_softmax(dim=1))
    (gradient,), (own,) = (
        torch.autograd.grad((cost * slope).sum(), logits) for cost, logits in ((nats, found), (wanted, right))
    )
    assert gradient.dtype == form
    torch.testing.assert_close(gradient, own)


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


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_sample_of_all_units_is_the_full_softmax_and_so_are_its_gradients() -> None:
    head = sampled(60_000, list(range(1, V + 1)))  # so many that none is left out
    hidden, embedding = (part.requires_grad_() for part in inputs(head, 40))
    targets, learned = torch.arange(40), [hidden, embedding, *head.parameters()]
    found, exact = (head(hidden, targets, embedding, noise)[0] for noise in (seeded(1), None))
    torch.testing.assert_close(found, exact)
    for ours, right in zip(*(torch.autograd.grad(nats.sum(), learned) for nats in (found, exact)), strict=True):
        torch.testing.assert_close(ours.to_dense(), right, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_small_sample_is_right_on_average() -> None:
    """The exponential of its nats is one plus a sum that is estimated without bias."""
    head = sampled(20, list(range(1, V + 1)))
    hidden, embedding = inputs(head, 40)
    hidden, targets = hidden / 3, torch.arange(40)
    exact = head(hidden, targets, embedding)[0]
    found = torch.stack([head(hidden, targets, embedding, seeded(seed))[0] for seed in range(600)])
    assert float(found.std(dim=0).mean()) > 0.1
    ratio = found.exp().mean(dim=0) / exact.exp()
    torch.testing.assert_close(ratio, torch.ones(40), rtol=0, atol=0.1)
    assert float(ratio.mean()) == pytest.approx(1, abs=0.02)


def test_a_target_is_no_rival_of_its_own() -> None:
    """Where the only unit that is ever drawn is the target itself, nothing speaks against it."""
    head = sampled(50, [10**15] + [0] * (V - 1))
    hidden, embedding = inputs(head, 3)
    nats, hits = head(hidden, torch.zeros(3, dtype=torch.long), embedding, seeded(0))
    assert nats.tolist() == [0.0] * 3
    assert hits.all()


def test_a_sampled_step_touches_only_what_it_scored_and_repeats() -> None:
    head = sampled(8, list(range(1, V + 1)))
    hidden, embedding = inputs(head, 4)
    embedding.requires_grad_()
    targets = torch.tensor([1, 2, 2, 5])
    first, again, other = (head(hidden, targets, embedding, seeded(seed))[0] for seed in (9, 9, 10))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    for gradient in torch.autograd.grad(first.sum(), [embedding, head.bias]):
        assert gradient.is_sparse
        rows = gradient.coalesce().indices()[0]
        assert {1, 2, 5} <= set(rows.tolist())
        assert len(rows) <= 3 + 8


def test_the_sample_follows_the_frequencies() -> None:
    """Of four units that come 1, 2, 4 and 9 times, one more each, three are drawn: how often is each among them?"""
    head = sampled(3, [9, 1, 2, 4])
    hidden, embedding = torch.zeros(1, H), torch.zeros(4, E).requires_grad_()
    there = torch.zeros(4)
    for seed in range(1000):
        nats = head(hidden, torch.tensor([0]), embedding, seeded(seed))[0].sum()
        (gradient,) = torch.autograd.grad(nats, [embedding])
        there += torch.bincount(gradient._indices()[0], minlength=4)
    there[0] -= 1000  # the target itself
    weights = torch.tensor([10.0, 2.0, 3.0, 5.0]) ** 0.75
    torch.testing.assert_close(there / 1000, 1 - (1 - weights / weights.sum()) ** 3, rtol=0, atol=0.05)


def test_a_sampled_head_begins_with_the_frequencies() -> None:
    counts = list(range(V))
    found = table(sampled(8, counts), torch.zeros(1, H), torch.zeros(V, E)).exp()[0]
    torch.testing.assert_close(found, (torch.tensor(counts) + 1) / (sum(counts) + V))


def learned(tales: Path, out: Path, stop_at: int = 0) -> list[float]:
    """Train a small network with a sampled head to step 120, or till it is stopped; the losses of its steps."""
    losses: list[float] = []

    def hear(event: Event) -> None:
        if isinstance(event, Stepped):
            losses.append(event.loss)
            if event.step == stop_at:
                os.kill(os.getpid(), signal.SIGINT)

    model = {"hidden": 24, "embedding": 8, "head": "sampled", "dropout": 0.2}
    plan = {"steps": 120, "batch": 4, "length": 16, "lr": 0.01, "threads": 1}
    fabula.train(tales, out, settings={"text": {"unit": "chars"}, "model": model, "training": plan}, listeners=[hear])
    return losses


def test_a_sampled_head_learns_and_goes_on_where_it_stopped(
    tales: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heads, "DRAWN", 8)
    losses = learned(tales, tmp_path / "whole")
    assert sum(losses[-20:]) < 0.9 * sum(losses[:20])
    assert len(learned(tales, tmp_path / "parts", stop_at=17)) < 20
    assert fabula.train(resume=tmp_path / "parts").steps == 120
    whole, parts = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert whole == parts


def test_a_sampled_head_is_written_and_judged_by_all_units(tales: Path, tmp_path: Path) -> None:
    learned(tales, tmp_path / "out")
    read = folder.read_model(tmp_path / "out")
    config, size = read.settings.model, read.tokenizer.size
    network = LanguageModel(config, size, torch.Generator())
    network.load_state_dict({name: torch.tensor(array) for name, array in read.weights.items()})
    scorer, engine = NumpyScorer(network), Engine(config, size, read.weights)
    story = np.random.default_rng(2).integers(0, size, 40)
    nats, hits, _ = scorer.score(story[None, :-1], story[None, 1:], scorer.initial_state(1))
    state = engine.initial_state(1)
    for moment, (unit, wanted) in enumerate(pairwise(story)):
        said, state = engine.step(np.array([unit]), state)  # (1, V)
        assert np.exp(said).sum() == pytest.approx(1, abs=1e-5)
        assert -said[0, wanted] == pytest.approx(nats[0, moment], abs=1e-4)
        assert (said[0].argmax() == wanted) == hits[0, moment]
