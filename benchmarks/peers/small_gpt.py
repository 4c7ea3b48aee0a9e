"""A transformer over characters as nanoGPT trains it on a CPU, written anew; prints what it reached as JSON.

Four layers of four heads, 128 wide, blocks of 64 characters, 12 at a time, no dropout, no biases, output tied to the
vectors; AdamW with betas 0.9 and 0.99 and weight decay 0.1, 100 steps of warm-up, then a cosine from 1e-3 to 1e-4,
gradient clipped at 1. The cosine follows the time, of which `--seconds` are given from the start of the process; at
every tenth a part of the valid text is measured and the best weights are kept. Characters that are not known are
spelled (see units.py). The last measurement comes after that time, while fabula's comes out of it: the peer is better
off. In it every character has at least half a block before it.

python benchmarks/peers/small_gpt.py TRAIN VALID --seconds 60
"""

import time

BEGUN = time.perf_counter()  # the time to import counts
# ruff: noqa: E402

import argparse
import json
import math
import statistics
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from units import Units, judged

BLOCK, BATCH, LAYERS, HEADS, WIDTH = 64, 12, 4, 4, 128
HIGHEST, LOWEST, WARM_UP, DECAY, CLIP = 1e-3, 1e-4, 100, 0.1, 1.0
CHECKED = 20 * BATCH * BLOCK
"""Characters of the valid text that are measured on the way, as many as in the recipe."""


class Layer(nn.Module):
    """Attention to what came before, then two products with a bend between them."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_bend = (nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
        self.asked = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.told = nn.Linear(WIDTH, WIDTH, bias=False)
        self.wide = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.narrow = nn.Linear(4 * WIDTH, WIDTH, bias=False)
        for linear in (self.asked, self.told, self.wide, self.narrow):
            nn.init.normal_(linear.weight, 0, 0.02)
        for linear in (self.told, self.narrow):  # what is added up over the layers begins smaller
            nn.init.normal_(linear.weight, 0, 0.02 / math.sqrt(2 * LAYERS))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, E) -> (B, T, E)."""
        parts = self.asked(self.before_attention(x)).unflatten(2, (3, HEADS, -1)).transpose(1, 3)  # (B, heads, 3, T, F)
        told = functional.scaled_dot_product_attention(*parts.unbind(2), is_causal=True)  # (B, heads, T, F)
        x = x + self.told(told.transpose(1, 2).flatten(2))
        return x + self.narrow(functional.gelu(self.wide(self.before_bend(x))))


class SmallGPT(nn.Module):
    """Characters to the scores of the next."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.characters, self.places = nn.Embedding(vocabulary, WIDTH), nn.Embedding(BLOCK, WIDTH)
        for embedding in (self.characters, self.places):
            nn.init.normal_(embedding.weight, 0, 0.02)
        self.layers = nn.Sequential(*(Layer() for _ in range(LAYERS)), nn.LayerNorm(WIDTH, bias=False))

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, V)."""
        x = self.characters(ids) + self.places.weight[: ids.shape[1]]
        return functional.linear(self.layers(x), self.characters.weight)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("valid", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=1337)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    learned, text = (path.read_text(encoding="utf-8") for path in (options.train, options.valid))
    units = Units(learned)
    ids, valid = (torch.from_numpy(units.encode(characters)) for characters in (learned, "\n" + text))
    model = SmallGPT(len(units.ids))
    paces = learn(model, ids, valid[: CHECKED + 1], options.seconds)
    learned_in = time.perf_counter() - BEGUN
    found = {
        "seconds": round(learned_in, 1),
        "steps": len(paces),
        "vocabulary": len(units.ids),
        "characters/s": round(BATCH * BLOCK / statistics.median(paces)),
        "valid": judged(nats_of(model, valid), units, text, "chars"),
    }
    print(json.dumps(found))


def learn(model: SmallGPT, ids: Tensor, check: Tensor, seconds: float) -> list[float]:
    """Learn until the time is over: the seconds of each step. The model then has its best weights."""
    groups = [[p for p in model.parameters() if (p.dim() > 1) == wide] for wide in (True, False)]
    options = [{"params": own, "weight_decay": decay} for own, decay in zip(groups, (DECAY, 0.0), strict=True)]
    optimizer = torch.optim.AdamW(options, lr=HIGHEST, betas=(0.9, 0.99))
    checks, best, first = 0, math.inf, time.perf_counter() - BEGUN
    paces: list[float] = []
    kept: dict[str, Tensor] = {}
    while (share := (time.perf_counter() - BEGUN - first) / max(seconds - first, 0.1)) < 1 or not paces:
        begun = time.perf_counter()
        cosine = LOWEST + (HIGHEST - LOWEST) * (1 + math.cos(math.pi * min(1.0, share))) / 2
        for group in optimizer.param_groups:
            group["lr"] = min(1.0, (len(paces) + 1) / WARM_UP) * cosine
        starts = torch.randint(len(ids) - BLOCK, (BATCH, 1))
        rows = ids[starts + torch.arange(BLOCK + 1)]  # (B, T+1)
        loss = functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        paces.append(time.perf_counter() - begun)
        if int(share * 10) > checks:
            checks = int(share * 10)
            if (nats := nats_of(model, check)) < best:
                best, kept = nats, {name: values.clone() for name, values in model.state_dict().items()}
    if nats_of(model, check) >= best:
        model.load_state_dict(kept)
    return paces


@torch.no_grad()
def nats_of(model: SmallGPT, ids: Tensor) -> float:
    """Cost of every character but the first: the later half of each block, and the whole of the first one."""
    half, first = BLOCK // 2, ids[: BLOCK + 1]
    total = functional.cross_entropy(model(first[None, :-1])[0], first[1:], reduction="sum").item()
    rows = functional.pad(ids[half:], (0, -(len(ids) - 1) % half), value=-1).unfold(0, BLOCK + 1, half)  # (n, T+1)
    for part in rows.split(256):
        scores = model(part[:, :-1].clamp(min=0))[:, half:]
        total += functional.cross_entropy(
            scores.flatten(0, 1), part[:, half + 1 :].flatten(), ignore_index=-1, reduction="sum"
        ).item()
    return total


if __name__ == "__main__":
    main()
