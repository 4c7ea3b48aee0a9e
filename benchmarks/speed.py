"""How fast fabula learns, beside its peers: one LSTM layer forth and back, and whole steps over 33,000 words.

The layer has inputs 256 wide and 512 units; its floating-point operations are 3 (forth, and back to the weights and to
the inputs) x 2 x (256 + 512) x 4 x 512 x B x T. Its rate stands beside that of a product of two matrices 2048 x 2048,
measured in fabula's own process of the same round. The whole steps are those of `fabula train` on the words of
WikiText-2 and of the recipe of pytorch/examples word_language_model, each a process of its own for the same time; a
word is what stands between white space, and the end of each line. All take turns, round by round; figures are medians,
ratios are within a round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

from peers.lstm_step import numbers, pace
from peers.units import CUTS
from record import DATA, fabula, median, timed, write

PEERS = Path(__file__).parent / "peers"
EMBEDDING, HIDDEN, SIDE = 256, 512, 2048
SHAPES = ((32, 35), (64, 64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="measured in each process of the layer")
    parser.add_argument("--time", type=int, default=150, help="seconds of each training on WikiText-2; 0 for none")
    parser.add_argument("--trainings", type=int, default=3, help="pairs of trainings")
    parser.add_argument("--tensorflow", metavar="PYTHON", help="of an environment with tensorflow")
    parser.add_argument("--jax", metavar="PYTHON", help="of an environment with jax")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--cell", nargs=2, type=int, metavar=("BATCH", "TIME"), help="measure fabula's layer alone")
    options = parser.parse_args()
    if options.cell:
        print(json.dumps(layer(options.cell[0], options.cell[1], options.seconds)))
        return
    from fabula.api import calm_threads

    calm_threads()  # as fabula does for itself, for all
    pythons = {"pytorch": sys.executable, "tensorflow": options.tensorflow, "jax": options.jax}
    figures: dict[str, object] = {
        f"layer, {batch} x {moments}": layers(batch, moments, options.rounds, options.seconds, pythons)
        for batch, moments in SHAPES
    }
    if options.time:
        figures["WikiText-2 words"] = trainings(options.data / "wikitext2", options.time, options.trainings)
    write("speed", figures)


def layers(
    batch: int, moments: int, rounds: int, seconds: float, pythons: dict[str, str | None]
) -> dict[str, dict[str, object]]:
    """Medians over the rounds: GFLOP/s, share of the product's rate, and fabula's speed over each peer's."""
    shape, work = [str(batch), str(moments)], 3 * 2 * (EMBEDDING + HIDDEN) * 4 * HIDDEN * batch * moments
    commands = {"fabula": [sys.executable, __file__, "--seconds", str(seconds), "--cell", *shape]}
    for name, python in pythons.items():
        peer = [str(PEERS / "lstm_step.py"), name, *shape, str(EMBEDDING), str(HIDDEN), str(seconds)]
        commands |= {name: [python, *peer]} if python else {}
    rates: dict[str, list[float]] = {}
    versions: dict[str, str] = {}
    for turn in range(rounds):
        for name in sorted(commands, reverse=turn % 2 == 1):
            said = json.loads(timed(commands[name])[1].splitlines()[-1])
            versions[name] = said.pop("version", "")
            for what, taken in said.items():
                operations = 2 * SIDE**3 if what.startswith("product") else work
                label = name if what == "seconds" else what
                rates.setdefault(label, []).append(operations / taken / 1e9)
            print(shape, turn, name, {label: round(values[-1], 1) for label, values in rates.items()}, file=sys.stderr)
    table: dict[str, dict[str, object]] = {}
    for name, own in rates.items():
        table[name] = {"GFLOP/s": round(statistics.median(own), 1)}
        if version := versions.get(name):
            table[name]["version"] = version
        for product in ("fp32", "bf16"):
            table[name][f"of the product in {product}"] = ratio(own, rates[f"product {product}"])
        if name in commands:
            for ours in ("fp32", "bf16"):
                table[name][f"fabula {ours} over it"] = ratio(rates[f"fabula {ours}"], own)
    return table


def layer(batch: int, moments: int, seconds: float) -> dict[str, float]:
    """Seconds of fabula's layer forth and back as in training, and of a product of matrices, in both formats."""
    import torch

    from fabula.cells import LSTM
    from fabula.precision import autocast

    torch.set_flush_denormal(True)
    cell = LSTM(EMBEDDING, HIDDEN, torch.Generator().manual_seed(1))
    inputs = torch.from_numpy(numbers(0, batch, moments, EMBEDDING)).requires_grad_()
    back = torch.from_numpy(numbers(1, batch, moments, HIDDEN))
    state, wanted = cell.initial_state(batch), [inputs, *cell.parameters()]

    def step(precision: str, error: torch.Tensor) -> object:
        with autocast(precision):
            outputs, _ = cell(inputs, state)
        return torch.autograd.grad(outputs, wanted, error)

    square = torch.from_numpy(numbers(2, SIDE, SIDE))
    found: dict[str, float] = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        error, factor = back.to(kind), square.to(kind)
        found[f"product {name}"] = pace(partial(torch.matmul, factor, factor), seconds / 2)
        found[f"fabula {name}"] = pace(partial(step, name, error), seconds)
    return found


def trainings(data: Path, seconds: int, pairs: int) -> dict[str, object]:
    """Words a second while learning, once it runs steadily."""
    train, valid = str(data / "wiki.train.tokens"), str(data / "wiki.valid.tokens")
    ours: list[float] = []
    theirs: list[float] = []
    for pair in range(pairs):
        peer = [sys.executable, str(PEERS / "word_language_model.py"), train, valid, "--cut", "space", "--speed"]
        theirs.append(json.loads(timed([*peer, "--seconds", str(seconds), "--seed", str(pair)])[1])["words/s"])
        with tempfile.TemporaryDirectory() as folder:
            model = f"{folder}/model"
            words = ["--unit", "words", "--set", "text.vocabulary=33278", "--set", "text.stories=whole"]
            kept = ["--held-out", valid, "--time", str(seconds), "--seed", str(pair)]
            timed(fabula("train", train, *words, *kept, "-o", model, "--json", "-q"))
            ours.append(pace_of(Path(model), train))
        print("words/s", pair, theirs[-1], ours[-1], file=sys.stderr)
    return {
        "seconds of each": seconds,
        "pairs": pairs,
        "fabula words/s": median(ours),
        "word_language_model words/s": median(theirs),
        "times faster": ratio(ours, theirs),
    }


def pace_of(model: Path, train: str) -> float:
    """Published words a second: fabula's units a second in the later half of its training, by how many make a word."""
    from fabula.corpus import encode
    from fabula.storyteller import load
    from fabula.text import read_library

    lines = (model / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rates = [json.loads(line)["tokens_per_second"] for line in lines]
    teller = load(model)
    units = encode(read_library([train], teller.settings.text).stories, teller.tokenizer).tokens
    words = len(CUTS["space"](Path(train).read_text(encoding="utf-8")))  # 2,088,628, as published
    return round(statistics.median(rates[len(rates) // 2 :]) * words / units)


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Median of the ratios of the rounds."""
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3)


if __name__ == "__main__":
    main()
