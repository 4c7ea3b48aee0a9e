"""The network: its losses are log-probabilities, its state carries, its noise is an argument."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from fabula.config import ModelConfig
from fabula.model import LanguageModel, NumpyScorer
from fabula.optimizers import AdamW, gradients_of

BASE = ModelConfig(cell="lstm", layers=2, hidden=8, embedding=6, head="full", dropout=0.5)
SHAPES = [
    BASE,
    dataclasses.replace(BASE, head="tied"),
    dataclasses.replace(BASE, head="tied", embedding=8),
    dataclasses.replace(BASE, cell="gru", layers=1),
    dataclasses.replace(BASE, head="adaptive"),
]


@pytest.fixture(params=SHAPES, ids=["full", "projected", "tied", "gru", "adaptive"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return LanguageModel(request.param, 11, torch.Generator().manual_seed(5))


IDS = torch.randint(0, 11, (3, 9), generator=torch.Generator().manual_seed(1))


def test_losses_are_a_distribution(model: LanguageModel) -> None:
    """Over all 11 possible next units the probabilities add up to one."""
    state = model.initial_state(1)
    total = 0.0
    for unit in range(11):
        nats, _, _ = model.loss(IDS[:1, :4], torch.tensor([[unit]]), state)
        total += math.exp(-nats.item())
    assert total == pytest.approx(1.0, abs=1e-5)


def test_hits_are_the_likeliest_unit(model: LanguageModel) -> None:
    state = model.initial_state(1)
    rows = [model.loss(IDS[:1], torch.tensor([[unit]]), state)[:2] for unit in range(11)]
    nats = [row[0].item() for row in rows]
    hits = [bool(row[1]) for row in rows]
    assert hits.count(True) == 1
    assert hits.index(True) == nats.index(min(nats))


def test_the_state_carries(model: LanguageModel) -> None:
    whole, _, last = model.loss(IDS[:, :-1], IDS[:, 1:], model.initial_state(3))
    first, _, state = model.loss(IDS[:, :3], IDS[:, 1:4], model.initial_state(3))
    second, _, end = model.loss(IDS[:, 3:-1], IDS[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    for a, b in zip(last, end, strict=True):
        torch.testing.assert_close(a, b)


def test_noise_is_an_argument(model: LanguageModel) -> None:
    def run(noise: torch.Generator | None) -> torch.Tensor:
        return model.loss(IDS[:, :-1], IDS[:, 1:], model.initial_state(3), noise)[0]

    same = [run(torch.Generator().manual_seed(4)) for _ in range(2)]
    torch.testing.assert_close(same[0], same[1], rtol=0, atol=0)
    assert not torch.allclose(same[0], run(torch.Generator().manual_seed(5)))
    torch.testing.assert_close(run(None), run(None), rtol=0, atol=0)
    assert not torch.allclose(same[0], run(None))


def test_a_seed_gives_the_same_network() -> None:
    one, two = (LanguageModel(BASE, 11, torch.Generator().manual_seed(2)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_tying_saves_the_output_weights() -> None:
    tied = LanguageModel(SHAPES[2], 11, torch.Generator())
    assert "head.weight" not in tied.state_dict()
    assert "head.projection.weight" not in tied.state_dict()


def test_given_vectors_can_be_frozen(model: LanguageModel) -> None:
    start = torch.ones(11, model.config.embedding or 0).numpy()
    model.set_embedding(start, frozen=True)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert "embedding.weight" not in names
    assert model.state_dict()["embedding.weight"].sum() == start.sum()


def test_an_update_of_the_adaptive_head_touches_only_the_rows_used() -> None:
    """Of 400 word vectors those of the shortlist and those read change, and the optimiser's memory likewise."""
    model = LanguageModel(SHAPES[-1], 400, torch.Generator().manual_seed(5))
    model.set_counts(np.arange(400)[::-1].copy())
    optimizer = AdamW(list(model.parameters()))
    before = model.embedding.get_parameter("weight").detach().clone()
    ids = torch.tensor([[399, 120, 120, 7]])
    nats, _, _ = model.loss(ids[:, :-1], ids[:, 1:], model.initial_state(1))
    gradients = gradients_of(nats.mean(), optimizer.parameters)
    with torch.no_grad():
        optimizer.step(gradients, 0.1)
    changed = (model.embedding.get_parameter("weight") != before).any(dim=1).nonzero().squeeze(1).tolist()
    remembered = optimizer.state["square"][0].any(dim=1).nonzero().squeeze(1).tolist()
    assert changed == remembered == [*range(50), 120, 399]


def test_the_scorer_speaks_numpy(model: LanguageModel) -> None:
    scorer = NumpyScorer(model)
    ids = IDS.numpy()
    nats, hits, _ = scorer.score(ids[:, :-1], ids[:, 1:], scorer.initial_state(3))
    expected, expected_hits, _ = model.loss(IDS[:, :-1], IDS[:, 1:], model.initial_state(3))
    torch.testing.assert_close(torch.from_numpy(nats), expected.detach())
    assert (hits == expected_hits.numpy()).all()
