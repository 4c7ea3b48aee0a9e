"""The network: its losses are log-probabilities, its state carries, its noise is an argument."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from fabula.cells import CELLS
from fabula.config import ModelConfig
from fabula.engine import Engine
from fabula.model import LanguageModel, Noise, NumpyScorer
from fabula.optimizers import AdamW, gradients_of

BASE = ModelConfig(cell="lstm", layers=2, hidden=8, embedding=6, head="full", dropout=0.5)
SHAPES = [
    BASE,
    dataclasses.replace(BASE, head="tied"),
    dataclasses.replace(BASE, head="tied", embedding=8),
    dataclasses.replace(BASE, cell="gru", layers=1),
    dataclasses.replace(BASE, head="adaptive"),
    dataclasses.replace(BASE, head="tied", ngrams=3, buckets=29),
]


@pytest.fixture(params=SHAPES, ids=["full", "projected", "tied", "gru", "adaptive", "ngrams"])
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


def test_the_engine_writes_what_was_learned(model: LanguageModel) -> None:
    """Without torch, from the same weights: the same nats, and the same state to go on from."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.empty(parameter.shape).normal_(0, 0.5, generator=torch.Generator().manual_seed(2)))
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    engine = Engine(model.config, 11, weights)
    nats, hits, state = NumpyScorer(model).score(IDS[:, :-1].numpy(), IDS[:, 1:].numpy(), model.initial_state(3))
    found, right, last = engine.score(IDS[:, :-1].numpy(), IDS[:, 1:].numpy(), engine.initial_state(3))
    np.testing.assert_allclose(found, nats, atol=1e-5)
    assert (right == hits).all()
    for a, b in zip(last, state, strict=True):
        np.testing.assert_allclose(a, b.numpy(), atol=1e-5)


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
    def run(noise: Noise | None) -> torch.Tensor:
        return model.loss(IDS[:, :-1], IDS[:, 1:], model.initial_state(3), noise)[0]

    same = [run(Noise(seeded(4))) for _ in range(2)]
    torch.testing.assert_close(same[0], same[1], rtol=0, atol=0)
    assert not torch.allclose(same[0], run(Noise(seeded(5))))
    torch.testing.assert_close(run(None), run(None), rtol=0, atol=0)
    assert not torch.allclose(same[0], run(None))


def seeded(seed: int = 4) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(number: int = 0, parts: int = 1) -> Noise:
    return Noise(seeded(), number, parts)


def shaped(**shares: float | str) -> LanguageModel:
    """A network with these shares silenced and no others."""
    return LanguageModel(dataclasses.replace(BASE, **{"dropout": 0.0, **shares}), 11, seeded(5))


def test_dropout_stands_for_the_shares_that_are_not_given() -> None:
    all_alike = {"dropout_input": 0.5, "dropout_hidden": 0.5, "dropout_output": 0.5}
    one, two, other = shaped(dropout=0.5), shaped(**all_alike), shaped(dropout=0.5, dropout_hidden=0.0)
    state = one.initial_state(3)
    found = [model(IDS, state, drawn())[0] for model in (one, two, other)]
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


def test_each_share_silences_its_own_place() -> None:
    """Seen from the last layer: its output alone, its input alone, or what came before both."""
    state = shaped().initial_state(3)
    _, quiet, _ = shaped()(IDS, state)
    dropped, plain, _ = shaped(dropout_output=0.5)(IDS, state, drawn())
    assert torch.equal(plain, quiet)
    assert ((dropped == 0) | (dropped == 2 * plain)).all()
    silent = dropped == 0  # the same features at all moments of a sequence
    assert 0 < silent.sum() < silent.numel()
    assert (silent == silent[:, :1]).all()
    assert not (silent == silent[:1]).all()
    for place in ("dropout_input", "dropout_hidden"):
        dropped, plain, _ = shaped(**{place: 0.5})(IDS, state, drawn())
        assert torch.equal(dropped, plain)
        assert not torch.allclose(plain, quiet)
    single = LanguageModel(dataclasses.replace(BASE, layers=1, dropout=0.0, dropout_hidden=0.5), 11, seeded())
    state = single.initial_state(3)
    assert torch.equal(single(IDS, state, drawn())[0], single(IDS, state)[0])


@pytest.mark.parametrize("head", ["full", "tied", "adaptive"])
def test_silenced_words_are_rows_of_zeros(head: str) -> None:
    """The same losses and gradients as with an embedding whose rows are zero or twice as long where it is read."""
    model, plain = shaped(head=head, dropout_embedding=0.5), shaped(head=head)
    weight = plain.embedding.get_parameter("weight")
    kept = torch.empty(11, 1).bernoulli_(0.5, generator=seeded()) * 2
    assert 0 < kept.count_nonzero() < 11
    state = model.initial_state(3)
    nats, _, _ = model.loss(IDS[:, :-1], IDS[:, 1:], state, drawn())
    found = torch.autograd.grad(nats.mean(), list(model.parameters()))
    read = torch.nn.functional.embedding
    with pytest.MonkeyPatch.context() as patch:  # only what is read is silenced, not what the head compares with
        patch.setattr("fabula.model.functional.embedding", lambda ids, weight, sparse: read(ids, weight * kept))
        hidden, _, _ = plain(IDS[:, :-1], state)
    nats_again, _ = plain.judge(hidden, IDS[:, 1:])
    torch.testing.assert_close(nats, nats_again)
    wanted = torch.autograd.grad(nats_again.mean(), [weight, *list(plain.parameters())[1:]])
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(*(gradient.to_dense() if gradient.is_sparse else gradient for gradient in (a, b)))


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_silenced_weights_are_zeros_between_moments(cell: str) -> None:
    """A network whose weights were set to zero or twice their size by hand says the same; gradients pass the rest."""
    model, plain = shaped(cell=cell, dropout_weight=0.5), shaped(cell=cell)
    masks, noise = [], seeded()
    for layer in plain.layers:
        weight = layer.get_parameter("weight_hh")
        masks.append(torch.empty(weight.shape).bernoulli_(0.5, generator=noise) * 2)
        with torch.no_grad():
            weight.mul_(masks[-1])
    state = tuple(torch.full_like(memory, 0.3) for memory in model.initial_state(3))
    (dropped, _, last), (wanted, _, last_wanted) = model(IDS, state, drawn()), plain(IDS, state)
    for a, b in zip((dropped, *last), (wanted, *last_wanted), strict=True):
        torch.testing.assert_close(a, b)
    found = torch.autograd.grad(dropped.sum(), [layer.weight_hh for layer in model.layers])
    by_hand = torch.autograd.grad(wanted.sum(), [layer.weight_hh for layer in plain.layers])
    for gradient, masked, mask in zip(found, by_hand, masks, strict=True):
        torch.testing.assert_close(gradient, masked * mask)
    before = shaped(cell=cell).state_dict()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_gradients_under_all_noise_are_those_of_small_differences(cell: str) -> None:
    shares = {"dropout": 0.3, "dropout_embedding": 0.2, "dropout_weight": 0.4}
    model = shaped(cell=cell, **shares).double()
    parameters = [*model.embedding.parameters(), *model.cells.parameters()]  # the head counts in 32 bits

    def loss() -> torch.Tensor:
        state = tuple(memory.double() for memory in model.initial_state(3))
        return model(IDS, state, drawn())[0].square().sum()

    for parameter, gradient in zip(parameters, torch.autograd.grad(loss(), parameters), strict=True):
        direction = torch.empty_like(parameter).normal_(generator=seeded(7))
        ends = []
        for sign in (1e-5, -2e-5, 1e-5):  # there, beyond, and back
            with torch.no_grad():
                parameter.add_(direction, alpha=sign)
                ends.append(loss().item())
        assert (gradient * direction).sum().item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-8)


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
    model = LanguageModel(dataclasses.replace(BASE, head="adaptive"), 400, torch.Generator().manual_seed(5))
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


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_of_the_lanes_computed_apart_are_the_whole(parts: int) -> None:
    """Masks are those of the lanes, whoever computes them."""
    ids = torch.randint(0, 11, (6, 9), generator=seeded(1))
    noisy = {"dropout": 0.4, "dropout_embedding": 0.3, "dropout_weight": 0.3}
    model = LanguageModel(dataclasses.replace(BASE, **noisy), 11, seeded(5))
    whole = model(ids, model.initial_state(6), drawn())[0]
    each = 6 // parts
    apart = [model(ids[n * each : (n + 1) * each], model.initial_state(each), drawn(n, parts))[0] for n in range(parts)]
    torch.testing.assert_close(torch.cat(apart), whole)
    assert not torch.allclose(apart[0], model(ids[:each], model.initial_state(each), drawn(1, parts))[0])
