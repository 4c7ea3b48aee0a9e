"""The recipe of pytorch/examples word_language_model with its defaults, written anew; prints what it reached as JSON.

Two LSTM layers of 200 units, vectors of 200, a score for every word at every place, 20 lanes read 35 words at a time,
SGD at rate 20, quartered after a reading of the text that did not better the valid text, gradient clipped at 0.25,
dropout 0.2. The best weights on the valid text are kept. Two things are not in the recipe: learning ends `--seconds`
after the process began, and words that are not known are spelled (see units.py). The last measurement comes after that
time, while fabula's comes out of it: the peer is better off.

python benchmarks/peers/word_language_model.py TRAIN VALID --seconds 60
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
from units import CUTS, Units, judged

LANES, MOMENTS, WIDTH, LAYERS, RATE, CLIP, DROPOUT = 20, 35, 200, 2, 20.0, 0.25, 0.2
MEASURED = 10
"""Lanes that are measured side by side, as in the recipe."""


class WordModel(nn.Module):
    """Words to the scores of the next: vectors, LSTM, one product."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, WIDTH)
        self.cells = nn.LSTM(WIDTH, WIDTH, LAYERS, dropout=DROPOUT)
        self.head = nn.Linear(WIDTH, vocabulary)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.uniform_(self.head.weight, -0.1, 0.1)
        nn.init.zeros_(self.head.bias)

    def forward(self, ids: Tensor, state: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Ids (T, B) and state -> scores (T, B, V) and state."""
        x = functional.dropout(self.embedding(ids), DROPOUT, self.training)
        x, state = self.cells(x, state)
        return self.head(functional.dropout(x, DROPOUT, self.training)), state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("valid", type=Path)
    parser.add_argument("--test", type=Path, help="measured too, at the end")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--cut", choices=CUTS, default="words")
    parser.add_argument("--speed", action="store_true", help="no measurement at the end")
    parser.add_argument("--seed", type=int, default=1111)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    learned = CUTS[options.cut](options.train.read_text(encoding="utf-8"))
    units = Units(learned)
    valid = stream(options.valid, units, options.cut)
    model = WordModel(len(units.ids))
    paces = learn(model, torch.from_numpy(units.encode(learned)), valid, options.seconds)
    found = {
        "seconds": round(time.perf_counter() - BEGUN, 1),
        "steps": len(paces),
        "vocabulary": len(units.ids),
        "words/s": round(LANES * MOMENTS / statistics.median(paces)),
    }
    if not options.speed:
        for name, path in {"valid": options.valid, "test": options.test}.items():
            found |= {name: measured(model, path, units, options.cut)} if path else {}
    print(json.dumps(found))


def stream(path: Path, units: Units, cut: str) -> Tensor:
    """Ids of a file, with the end of a line before the first word: (N + 1,)."""
    return torch.from_numpy(units.encode(["<eos>" if cut == "space" else "\n", *CUTS[cut](path.read_text("utf-8"))]))


def learn(model: WordModel, ids: Tensor, valid: Tensor, seconds: float) -> list[float]:
    """Learn until the time is over: the seconds of each step. The model then has its best weights."""
    lanes = ids[: len(ids) // LANES * LANES].view(LANES, -1).T.contiguous()  # (N / B, B)
    rate, best = RATE, math.inf
    kept: dict[str, Tensor] = {}
    paces: list[float] = []
    while True:
        state = None
        for start in range(0, len(lanes) - 1, MOMENTS):
            begun = time.perf_counter()
            if paces and begun - BEGUN + paces[-1] > seconds:
                if kept and nats_of(model, valid) >= best:
                    model.load_state_dict(kept)
                return paces
            part = lanes[start : start + MOMENTS + 1]  # (T+1, B)
            model.train()
            model.zero_grad()
            scores, state = model(part[:-1], state)
            state = tuple(memory.detach() for memory in state)
            functional.cross_entropy(scores.flatten(0, 1), part[1:].flatten()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.grad is not None:
                        parameter.sub_(parameter.grad, alpha=rate)
            paces.append(time.perf_counter() - begun)
        nats = nats_of(model, valid)
        if nats < best:
            best, kept = nats, {name: values.clone() for name, values in model.state_dict().items()}
        else:
            rate /= 4


@torch.no_grad()
def nats_of(model: WordModel, ids: Tensor) -> float:
    """Cost of every word but the first, in lanes that each begin without memory."""
    model.eval()
    length = -(-(len(ids) - 1) // MEASURED)
    rows = functional.pad(ids, (0, length * MEASURED + 1 - len(ids)), value=-1)
    rows = torch.stack([rows[lane * length : lane * length + length + 1] for lane in range(MEASURED)], 1)  # (N+1, B)
    total, state = 0.0, None
    for start in range(0, length, MOMENTS):
        part = rows[start : start + MOMENTS + 1]
        scores, state = model(part[:-1].clamp(min=0), state)
        total += functional.cross_entropy(
            scores.flatten(0, 1), part[1:].flatten(), ignore_index=-1, reduction="sum"
        ).item()
    return total


def measured(model: WordModel, path: Path, units: Units, cut: str) -> dict[str, float]:
    """Nats of a whole text, its unknown words spelled, and what follows from them."""
    return judged(nats_of(model, stream(path, units, cut)), units, path.read_text(encoding="utf-8"), cut)


if __name__ == "__main__":
    main()
