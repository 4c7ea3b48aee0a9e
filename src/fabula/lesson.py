"""An LSTM by hand: forward, backward and update, each line beside its equation. Knows no text and no file.

It is the network of *LSTM by Example using TensorFlow* (Rowel Atienza, 2017): a window of W symbols goes in, one score
for each of V symbols comes out. The cell is that of Hochreiter and Schmidhuber (1997) with the forget gate of Gers et
al. (2000). Nothing is left to automatic differentiation; the tests compare every gradient with it.

Legend: W words of the window, I inputs of a layer, H hidden units, V symbols, P predictions (1 or W), E vector length.
One window at a time, so there is no batch axis. σ is the logistic function, * multiplies element by element, @ is the
matrix product, dX is the derivative of the loss by X.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

State = list[tuple[Tensor, Tensor]]
"""For each layer what it hands on to the next word: h (H,) and c (H,)."""

BLOCK = 1 << 19
"""Numbers updated together: few enough to stay in the processor's cache through all the lines of an update."""


SHARES = 2
"""Parts that such a product is cut into: what takes time is to read the matrix, and two cores read twice as fast."""


class Weight:
    """A matrix that learns, and what the optimiser remembers of each of its numbers."""

    def __init__(self, value: Tensor, rule: Rule) -> None:
        self.value = value
        self.memory = tuple(torch.full_like(value, start) for start in rule.starts)
        rows = min(len(value), max(1, BLOCK // value.shape[1]))
        gradient = torch.empty(rows, value.shape[1])
        self.blocks = [
            (place, gradient[: len(value) - place], *(part[place : place + rows] for part in (value, *self.memory)))
            for place in range(0, len(value), rows)
        ]

    def update(self, rule: Rule, left: Tensor, right: Tensor) -> None:
        """One step down the gradient left.T @ right, where left is (W, rows) and right (W, columns)."""
        left = left[:, :, None] * rule.scale
        for place, gradient, *parts in self.blocks:
            part = left[:, place : place + len(gradient)]
            torch.mul(part[0], right[0], out=gradient)  # outer products: far quicker than a product of thin matrices
            for t in range(1, len(right)):
                gradient.addcmul_(part[t], right[t])
            rule.step(gradient, *parts)


class RMSProp:
    """The article's optimiser as TensorFlow 1 has it (Hinton's lecture 6e), the square s beginning at one.

    Step n with the derivative d:  s = 0.9 s + 0.1 d²   w = w - rate d / √(s + 1e-10)

    Written with S = (s + 1e-10) / 0.9ⁿ and D = d √(0.1 / 0.9ⁿ) nothing decays any more and the same step reads
    S = S + D² + rise   w = w - rate / √0.1 * D / √S, which PyTorch has in one pass: it is Adagrad. So that 1 / 0.9ⁿ
    stays a modest number, n begins anew after 256 steps.
    """

    starts = (1.0 + 1e-10,)

    def __init__(self, rate: float) -> None:
        self.rate, self.steps, self.shrink = rate, 0, 1.0

    def tick(self) -> None:
        """Another step."""
        self.shrink = 0.9**256 if self.steps == 256 else 1.0
        self.steps = self.steps % 256 + 1
        self.scale = math.sqrt(0.1 / 0.9**self.steps)
        self.rise = 0.1 * 1e-10 / 0.9**self.steps

    def step(self, gradient: Tensor, value: Tensor, square: Tensor) -> None:
        """All of one shape, `gradient` times `scale`; changes `value` and `square`."""
        if self.shrink != 1.0:
            square.mul_(self.shrink)
        square.add_(self.rise)
        torch._fused_adagrad_(
            [value], [gradient], [square], [ONE], lr=self.rate / math.sqrt(0.1), lr_decay=0.0, weight_decay=0.0,
            eps=0.0, maximize=False,
        )  # fmt: skip


class Adam:
    """Kingma and Ba (2015), algorithm 1, with epsilon where TensorFlow 1 adds it.

    m = 0.9 m + 0.1 d   s = 0.999 s + 0.001 d²   w = w - rate √(1 - 0.999ⁿ) / (1 - 0.9ⁿ) * m / (√s + 1e-8)
    """

    starts = (0.0, 0.0)
    scale = 1.0

    def __init__(self, rate: float) -> None:
        self.rate, self.steps = rate, 0

    def tick(self) -> None:
        """Another step: both averages are less biased towards their start at zero."""
        self.steps += 1

    def step(self, gradient: Tensor, value: Tensor, mean: Tensor, square: Tensor) -> None:
        """All of one shape; changes `value`, `mean` and `square`."""
        torch._fused_adam_(
            [value], [gradient], [mean], [square], [], [ONE * self.steps], lr=self.rate, beta1=0.9, beta2=0.999,
            weight_decay=0.0, eps=1e-8 / math.sqrt(1 - 0.999**self.steps), amsgrad=False, maximize=False,
        )  # fmt: skip


class SGD:
    """The plain step down the slope: w = w - rate d."""

    starts: tuple[float, ...] = ()
    scale = 1.0

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def tick(self) -> None:
        """Nothing depends on the number of the step."""

    def step(self, gradient: Tensor, value: Tensor) -> None:
        """Both of one shape; changes `value`."""
        value.sub_(gradient, alpha=self.rate)


ONE = torch.tensor(1.0)
Rule = RMSProp | Adam | SGD
RULES: dict[str, Callable[[float], Rule]] = {"rmsprop": RMSProp, "adam": Adam, "sgd": SGD}


def forth(rows: Tensor, matrix: Tensor) -> Tensor:
    """A few rows times a large matrix: (n, a) @ (a, b) -> (n, b)."""
    parts = matrix.unflatten(1, (SHARES, -1)).transpose(0, 1)  # (S, a, b/S)
    return torch.bmm(rows.expand(SHARES, -1, -1), parts).transpose(0, 1).flatten(1)


def back(rows: Tensor, matrix: Tensor) -> Tensor:
    """A few rows times the same matrix transposed, the way back: (n, b) @ (a, b)ᵀ -> (n, a)."""
    shares = SHARES if len(matrix) % SHARES == 0 else 1
    parts = matrix.unflatten(0, (shares, -1)).transpose(1, 2)  # (S, b, a/S)
    return torch.bmm(rows.expand(shares, -1, -1), parts).transpose(0, 1).flatten(1)


class Moment(NamedTuple):
    """What one word did in one layer, every part (H,): kept for the way back, and for looking inside."""

    input: Tensor
    forget: Tensor
    output: Tensor
    candidate: Tensor
    before: Tensor | None
    """The cell state that the word found; None where it found nothing."""
    cell: Tensor
    squashed: Tensor
    """tanh of the cell state."""
    hidden: Tensor


class Layer:
    """One LSTM layer: four gates that read the word and what the layer said last.

    K (I+H+1, 4H) holds U, R and b on top of each other, so that one update serves all; columns are i, f, o, g.
    """

    def __init__(self, inputs: int, hidden: int, rule: Rule, generator: torch.Generator) -> None:
        limit = math.sqrt(6 / (inputs + hidden + 4 * hidden))  # Glorot and Bengio (2010), equation 16
        start = (torch.rand(inputs + hidden + 1, 4 * hidden, generator=generator) * 2 - 1) * limit
        self.kernel = Weight(start, rule)  # K
        self.from_word, self.from_last, bias = start.split((inputs, hidden, 1))  # U (I, 4H), R (H, 4H), b (1, 4H)
        self.bias = bias[0]
        self.bias.zero_()
        self.bias[hidden : 2 * hidden] = 1  # the forget gate begins open

    def forward(self, words: Tensor, last: tuple[Tensor, Tensor] | None = None) -> list[Moment]:
        """Read W words (W, I) one after the other, from a state or from nothing."""
        h, c = last or (None, None)
        moments = []
        for z in forth(words, self.from_word) + self.bias:  # z = x U + b   (4H,)
            if h is not None:
                z = z + forth(h[None], self.from_last)[0]  # noqa: PLW2901 - z = x U + h R + b
            i, f, o = z[: 3 * len(z) // 4].sigmoid().chunk(3)  # i = σ(zᵢ)   f = σ(z_f)   o = σ(zₒ)
            g = z[3 * len(z) // 4 :].tanh()  # g = tanh(z_g)
            before = c
            c = i * g if before is None else torch.addcmul(i * g, f, before)  # c = f * c + i * g
            squashed = c.tanh()
            h = o * squashed  # h = o * tanh(c)
            moments.append(Moment(i, f, o, g, before, c, squashed, h))
        return moments

    def backward(self, moments: Sequence[Moment], dhs: Sequence[Tensor | None]) -> Tensor:
        """From dh of each word (H,), None where nothing asks for it, to dz of each word (W, 4H); last word first."""
        dzs = [torch.empty(0)] * len(moments)
        dz = dc = None
        for t in reversed(range(len(moments))):
            i, f, o, g, before, _, squashed, _ = moments[t]
            dh = dhs[t]
            if dz is not None:  # what the next word's gates read of this h: dh = dh + dz Rᵀ
                heard = back(dz[None], self.from_last)[0]
                dh = heard if dh is None else dh + heard
            assert dh is not None
            down = dh * o * (1 - squashed * squashed)  # h = o * tanh(c), and tanh' = 1 - tanh²
            dc = down if dc is None else down + dc  # ... and what the next word's c kept of this one
            di = dc * g * i * (1 - i)  # σ' = σ (1 - σ)
            df = dc * before * f * (1 - f) if before is not None else torch.zeros_like(di)
            do = dh * squashed * o * (1 - o)
            dg = dc * i * (1 - g * g)
            dz = dzs[t] = torch.cat((di, df, do, dg))
            dc = dc * f  # c = f * c before + ..., so dc before = f * dc
        return torch.stack(dzs)

    def update(self, rule: Rule, words: Tensor, moments: Sequence[Moment], dz: Tensor, last: Tensor | None) -> None:
        """One step: dK = Σ [x, h before, 1]ᵀ dz, over the W words."""
        first = torch.zeros_like(moments[0].hidden) if last is None else last
        said = torch.stack([first, *(moment.hidden for moment in moments[:-1])])  # (W, H)
        self.kernel.update(rule, torch.cat((words, said, torch.ones(len(dz), 1)), dim=1), dz)


@dataclass
class Reading:
    """One way forward through the network."""

    words: list[Tensor] = field(default_factory=list)
    """What each layer read, (W, I)."""
    moments: list[list[Moment]] = field(default_factory=list)
    """What happened in each layer at each word."""
    scores: Tensor = field(default_factory=lambda: torch.empty(0))
    """A score for every symbol (P, V); their softmax is the prediction."""

    @property
    def state(self) -> State:
        """What the next window begins with, when the state is carried."""
        return [(moments[-1].hidden, moments[-1].cell) for moments in self.moments]


class Network:
    """Layers on top of each other, and an output of one score for each symbol.

    `vectors` (V, E) stands for the symbols; without it each is the raw number of its id, as in the article. They learn
    too when `learned`. `every` asks for a prediction after every word and not only after the last.
    """

    def __init__(
        self, symbols: int, rule: Rule, generator: torch.Generator, *, layers: int = 1, hidden: int = 512,
        vectors: Tensor | None = None, learned: bool = False, every: bool = False,
    ) -> None:  # fmt: skip
        self.rule, self.learned, self.every = rule, learned, every
        numbers = torch.arange(symbols, dtype=torch.float32)[:, None]  # (V, 1)
        self.vectors = Weight(numbers if vectors is None else vectors, rule)
        inputs = [self.vectors.value.shape[1]] + [hidden] * (layers - 1)
        self.layers = [Layer(width, hidden, rule, generator) for width in inputs]
        start = torch.randn(hidden + 1, symbols, generator=generator)  # A (H, V) over a (1, V), all from N(0, 1)
        self.out = Weight(start, rule)

    def forward(self, ids: Tensor, state: State | None = None) -> Reading:
        """Read W ids."""
        reading = Reading()
        words = self.vectors.value[ids]  # x (W, E)
        for number, layer in enumerate(self.layers):
            moments = layer.forward(words, state[number] if state else None)
            reading.words.append(words)
            reading.moments.append(moments)
            if number + 1 < len(self.layers):
                words = torch.stack([moment.hidden for moment in moments])  # the next layer reads h   (W, H)
        said = self._said(reading)
        reading.scores = torch.addmm(self.out.value[-1], said, self.out.value[:-1])  # y = h A + a   (P, V)
        return reading

    def learn(self, ids: Tensor, targets: Tensor, state: State | None = None) -> tuple[Tensor, Reading]:
        """Read W ids, compare with P targets, take one step; returns the losses (P,), in nats, and what was read."""
        reading = self.forward(ids, state)
        log_probabilities = torch.log_softmax(reading.scores, -1)
        picked = (torch.arange(len(targets)), targets)
        losses = -log_probabilities[picked]  # L = -log p(target)
        dy = log_probabilities.exp()
        dy[picked] -= 1  # dy = p - onehot(target)   (P, V)
        if len(targets) > 1:
            dy /= len(targets)
        self._backward(ids, reading, dy, state)
        return losses, reading

    def _backward(self, ids: Tensor, reading: Reading, dy: Tensor, state: State | None) -> None:
        """All derivatives with the old weights first, each layer's step as soon as nobody needs its weights."""
        self.rule.tick()
        said = self._said(reading)
        below = torch.mm(dy, self.out.value[:-1].t())  # dh = dy Aᵀ   (P, H)
        dhs: Sequence[Tensor | None] = [None] * (len(ids) - len(below)) + list(below)
        self.out.update(self.rule, torch.cat((said, torch.ones(len(dy), 1)), dim=1), dy)  # dA = hᵀ dy   da = Σ dy
        for number in reversed(range(len(self.layers))):
            layer, moments, words = self.layers[number], reading.moments[number], reading.words[number]
            dz = layer.backward(moments, dhs)
            if number or self.learned:
                dhs = list(back(dz, layer.from_word))  # dx = dz Uᵀ   (W, I)
            layer.update(self.rule, words, moments, dz, state[number][0] if state else None)
        if self.learned:
            chosen = torch.zeros(len(ids), len(self.vectors.value))
            chosen[torch.arange(len(ids)), ids] = 1
            self.vectors.update(self.rule, chosen, torch.stack([dx for dx in dhs if dx is not None]))

    def _said(self, reading: Reading) -> Tensor:
        """What the topmost layer said where a prediction is asked for, (P, H)."""
        moments = reading.moments[-1]
        return torch.stack([moment.hidden for moment in (moments if self.every else moments[-1:])])
