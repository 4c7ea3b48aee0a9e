"""The tip `vocabulary`: what an output of V symbols costs, the article's way and fabula's. Knows no text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from fabula import precision, recipe
from fabula.article.tips import Table, say
from fabula.config import Settings
from fabula.lesson import Network, RMSProp
from fabula.model import LanguageModel
from fabula.optimizers import OPTIMIZERS, gradients_of

SIZES = (112, 10_000, 170_000)
"""The fable's symbols, a small book's, and the words of the Oxford dictionary, as the article counts them."""

SECONDS = 2.0
"""How long each way is timed, or two steps if these take longer."""


@dataclass(frozen=True)
class Cost:
    """What learning costs."""

    megabytes: float
    """Weights, and what the optimiser remembers of each."""
    words: float
    """Predictions learned from, a second."""


def table(progress: Callable[[int, int, int, int], None]) -> Table:
    """Measure both ways for every size."""
    rows: list[tuple[str, ...]] = []
    speeds: dict[int, tuple[Cost, Cost]] = {}
    for number, size in enumerate(SIZES):
        progress(2 * number, 2 * len(SIZES), number, len(SIZES))
        theirs = article_way(size)
        progress(2 * number + 1, 2 * len(SIZES), number, len(SIZES))
        ours = our_way(size)
        speeds[size] = theirs, ours
        rows.append((f"{size:,}", *(cell for cost in (theirs, ours) for cell in _cells(cost))))
    theirs, ours = speeds[SIZES[-1]]
    small, _ = speeds[SIZES[0]]
    sentence = say(
        f"With {SIZES[-1]:,} words the article's way, one word a step and every output weight moved for it, learns {theirs.words:,.1f} words/s "
        f"in place of {small.words:,.0f}; fabula, with integers for labels, vectors, and many words a step, {ours.words:,.0f}.",
        f"词汇量为 {SIZES[-1]:,} 时，文章的做法每步只学一个词，却要更新所有输出权重，每秒学 {theirs.words:,.1f} 个词，而不是 {small.words:,.0f} 个；"
        f"fabula 用整数标签、词向量，并且每步学许多词，每秒 {ours.words:,.0f} 个。",
    )
    heads = (
        say("words known", "词汇量"),
        say("one-hot, MB", "独热，MB"),
        say("one-hot, words/s", "独热，词/秒"),
        say("fabula, MB", "fabula,MB"),
        say("fabula, words/s", "fabula，词/秒"),
    )
    title = say("An output for 170,000 words", "面对 170,000 个词的输出层")
    return Table("vocabulary", title, sentence, heads, tuple(rows))


def article_way(size: int) -> Cost:
    """The article's network: one window a step, one-hot labels, a full softmax."""
    with torch.inference_mode():
        network = Network(size, RMSProp(0.001), torch.Generator().manual_seed(1))
        generator = torch.Generator().manual_seed(2)

        def step() -> int:
            ids = torch.randint(size, (4,), generator=generator)
            network.learn(ids[:3], ids[3:])
            return 1

        words = _speed(step)
        weights = [layer.kernel for layer in network.layers] + [network.out]
        tensors = [part for weight in weights for part in (weight.value, *weight.memory)]
    return Cost(sum(part.numel() * part.element_size() for part in tensors) / 2**20, words)


def our_way(size: int) -> Cost:
    """One step after another of what `fabula train` would choose for a large text with so many words."""
    facts = recipe.Facts(predictions=10**7, vocabulary=size, unit="words", by_heart=False)
    settings, _ = recipe.choose(Settings(), facts)
    training, hidden = settings.training, settings.model.hidden or 0
    assert training.batch
    assert training.length
    model = LanguageModel(settings.model, size, torch.Generator().manual_seed(1))
    model.set_counts(np.arange(size, 0, -1))  # ids by falling frequency
    parameters = list(model.parameters())
    optimizer = OPTIMIZERS[training.optimizer](parameters)
    batches = _zipf(size, training.batch, training.length)
    chosen = precision.choose(training.precision, hidden)

    def step() -> int:
        ids, targets = next(batches)
        with precision.autocast(chosen):
            nats, _, _ = model.loss(ids, targets, model.initial_state(len(ids)))
        gradients = gradients_of(nats.mean(), parameters)
        with torch.no_grad():
            optimizer.step(gradients, 1e-3)
        return targets.numel()

    words = _speed(step)
    memory = [part for parts in optimizer.state.values() for part in parts]
    tensors = [*parameters, *memory]
    return Cost(sum(part.numel() * part.element_size() for part in tensors) / 2**20, words)


def _zipf(size: int, batch: int, length: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Ids as words come in a text: the n-th commonest n times rarer than the first."""
    rng = np.random.default_rng(3)
    heights = np.cumsum(1 / np.arange(1, size + 1))
    while True:
        drawn = np.searchsorted(heights, rng.random((batch, length + 1)) * heights[-1])  # (B, T+1)
        ids = torch.from_numpy(drawn.astype(np.int64))
        yield ids[:, :-1], ids[:, 1:]


def _speed(step: Callable[[], int]) -> float:
    """Words a second, after a first step that warms up."""
    step()
    words, steps, begun = 0, 0, time.perf_counter()
    while steps < 2 or time.perf_counter() - begun < SECONDS:
        words += step()
        steps += 1
    return words / (time.perf_counter() - begun)


def _cells(cost: Cost) -> tuple[str, str]:
    return f"{cost.megabytes:,.1f}", f"{cost.words:,.0f}" if cost.words >= 100 else f"{cost.words:.1f}"
