"""Learning speed and memory by size of the vocabulary and kind of output layer: 512 units, words 256 wide, 64 x 32.

The ids are random with the frequencies of Zipf's law (1 / rank), which has more rare words than a real text. Each cell
is a process of its own; the cells take turns, round by round, and ratios are between cells of the same round.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time

import numpy as np
from record import timed, write

SIZES = (112, 10_000, 33_278, 170_000)
HEADS = ("full", "tied", "sampled", "adaptive")
Cell = tuple[int, str]
BATCH, LENGTH, STEPS = 64, 32, 16
REFERENCES = ((10_000, "tied"), (10_000, "sampled"), (10_000, "adaptive"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="measured in each cell")
    parser.add_argument("--threads", type=int, default=0, help="all cores when not given; 1 beside a busy program")
    parser.add_argument("--cell", nargs=2, metavar=("SIZE", "HEAD"), help="measure one cell and print it")
    options = parser.parse_args()
    if options.cell:
        print(json.dumps(measure(int(options.cell[0]), options.cell[1], options.seconds, options.threads)))
        return
    cells = [(size, head) for size in SIZES for head in HEADS]
    found: dict[Cell, list[dict[str, float]]] = {cell: [] for cell in cells}
    for turn in range(options.rounds):
        for size, head in cells[:: 1 if turn % 2 else -1]:
            command = [sys.executable, __file__, "--cell", str(size), head]
            command += ["--seconds", str(options.seconds), "--threads", str(options.threads)]
            found[size, head].append(json.loads(timed(command)[1]))
    write("vocabulary", [summary(cell, found) for cell in cells])


def summary(cell: Cell, found: dict[Cell, list[dict[str, float]]]) -> dict[str, object]:
    """Medians of a cell, and of its speed over each reference's in the same round."""
    rounds = found[cell]
    figures: dict[str, object] = {
        "vocabulary": cell[0],
        "head": cell[1],
        "words/s": round(statistics.median(one["words/s"] for one in rounds)),
    }
    for size, head in REFERENCES:
        ratios = [own["words/s"] / other["words/s"] for own, other in zip(rounds, found[size, head], strict=True)]
        figures[f"speed over {head} at {size:,}"] = round(statistics.median(ratios), 3)
    figures["MB of parameters and their averages"] = rounds[0]["kept"]
    figures["MB at most, beyond the program"] = round(statistics.median(one["peak"] for one in rounds))
    return figures


def measure(size: int, head: str, seconds: float, threads: int) -> dict[str, float]:
    """Words a second of whole steps as the training does them, and megabytes."""
    import torch

    from fabula import precision
    from fabula.config import ModelConfig
    from fabula.model import LanguageModel, Noise
    from fabula.optimizers import AdamW, clip, gradients_of

    torch.set_num_threads(threads or torch.get_num_threads())
    torch.set_flush_denormal(True)
    chosen, program = precision.choose("auto", 512), _peak()
    ids = zipf(size, BATCH * LENGTH * STEPS + 1)
    config = ModelConfig(layers=1, hidden=512, embedding=256, head=head, dropout=0.1)
    model = LanguageModel(config, size, torch.Generator().manual_seed(1))
    model.set_counts(np.bincount(ids, minlength=size))
    optimizer, state = AdamW(list(model.parameters())), model.initial_state(BATCH)
    lanes, noise, taken = torch.from_numpy(ids), torch.Generator(), []
    for step in range(10**6):
        begun, place = time.perf_counter(), step % STEPS * BATCH * LENGTH
        inputs, targets = (
            lanes[place + shift : place + shift + BATCH * LENGTH].view(BATCH, LENGTH) for shift in (0, 1)
        )
        with precision.autocast(chosen):
            nats, _, state = model.loss(inputs, targets, state, Noise(noise.manual_seed(step)))
        gradients = gradients_of(nats.mean(), optimizer.parameters)
        clip(gradients, 1.0)
        with torch.no_grad():
            optimizer.step(gradients, 1e-3)
        state = tuple(memory.detach().float() for memory in state)
        taken.append(time.perf_counter() - begun)
        if sum(taken[1:]) > seconds:  # the first step prepares
            break
    kept = [*model.parameters(), *(tensor for tensors in optimizer.state.values() for tensor in tensors)]
    return {
        "words/s": BATCH * LENGTH / statistics.median(taken[1:]),
        "kept": round(sum(tensor.numel() * 4 for tensor in kept) / 1e6),
        "peak": round(_peak() - program),
    }


def zipf(size: int, count: int) -> np.ndarray:
    """Random ids, id n as often as 1 / (n+1)."""
    shares = np.cumsum(1 / np.arange(1, size + 1))
    return np.searchsorted(shares, np.random.default_rng(0).random(count) * shares[-1])


def _peak() -> float:
    """Most megabytes this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    main()
