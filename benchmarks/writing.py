"""How fast a story is written: the engine beside PyTorch's eager step; 64 stories together; what novelty costs.

One layer of 512 units, vectors of 256, 10,000 units, tied, fp32, random weights. Each way runs in a process of its own,
in turn, and draws nothing: a step takes a unit in and gives log-probabilities.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from record import DATA, median, timed, write

HIDDEN, EMBEDDING, UNITS, TOGETHER = 512, 256, 10_000, 64
SECONDS, WARM = 2.0, 30
PRODUCTS = 2 * (4 * HIDDEN * (EMBEDDING + HIDDEN) + HIDDEN * EMBEDDING + EMBEDDING * UNITS)
"""Floating-point operations of a step of one story."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=WAYS)
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(WAYS[options.child]()))
        return
    rows: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way, found in rows.items():
            found.append(json.loads(timed([sys.executable, __file__, "--child", way])[1]))
    speed = {way: median(found) for way, found in rows.items()}
    pairs = {
        way: median([ours / theirs for ours, theirs in zip(rows["engine"], rows[way], strict=True)])
        for way in ("nn.LSTM", "lstm_cell")
    }
    share = [
        tokens * PRODUCTS / (rate * 1e9)
        for tokens, rate in zip(rows["engine, 64 stories"], rows["product"], strict=True)
    ]
    write(
        "writing",
        {
            "rounds": options.rounds,
            "tokens/s": {way: round(value) for way, value in speed.items() if way != "product"},
            "product GFLOP/s": round(speed["product"]),
            "engine over": pairs,
            "64 stories over one": median(
                [many / one for many, one in zip(rows["engine, 64 stories"], rows["engine"], strict=True)]
            ),
            "64 stories, of the product": median(share),
            "novelty": novelty(options.data),
        },
    )


def weights() -> dict[str, np.ndarray]:
    """Random weights by torch's names."""
    rng, rows = np.random.default_rng(0), 4 * HIDDEN
    shapes = {
        "embedding.weight": (UNITS, EMBEDDING),
        "cells.0.weight_ih": (rows, EMBEDDING), "cells.0.weight_hh": (rows, HIDDEN),
        "cells.0.bias_ih": (rows,), "cells.0.bias_hh": (rows,), "head.bias": (UNITS,),
        "head.projection.weight": (EMBEDDING, HIDDEN),
    }  # fmt: skip
    return {name: rng.uniform(-0.05, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}


def per_second(step: Callable[[], object]) -> float:
    """How often a step can be taken in a second."""
    for _ in range(WARM):
        step()
    begun, steps = time.perf_counter(), 0
    while time.perf_counter() - begun < SECONDS:
        step()
        steps += 1
    return steps / (time.perf_counter() - begun)


def engine(stories: int = 1) -> float:
    """fabula's own, tokens of all stories in a second."""
    from fabula.config import resolve
    from fabula.engine import Engine

    shape = {"layers": 1, "hidden": HIDDEN, "embedding": EMBEDDING, "head": "tied", "dropout": 0.0}
    network = Engine(resolve({"model": shape}).model, UNITS, weights())
    ids, state = np.arange(stories), network.initial_state(stories)

    def step() -> None:
        nonlocal state
        _, state = network.step(ids, state)

    return per_second(step) * stories


def eager(kind: str) -> float:
    """PyTorch as one writes it: embedding, layer, output, log-softmax."""
    import torch
    from torch.nn import functional

    own = {name: torch.from_numpy(array) for name, array in weights().items()}
    parts = [own[f"cells.0.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    ids, h, c = torch.zeros(1, dtype=torch.long), torch.zeros(1, HIDDEN), torch.zeros(1, HIDDEN)
    layer = torch.nn.LSTM(EMBEDDING, HIDDEN, batch_first=True)
    layer.load_state_dict(dict(zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), parts, strict=True)))

    def step() -> None:
        nonlocal h, c
        x = functional.embedding(ids, own["embedding.weight"])
        if kind == "nn.LSTM":
            y, (h2, c2) = layer(x[:, None], (h[None], c[None]))
            top, h, c = y[:, 0], h2[0], c2[0]
        else:
            h, c = torch.lstm_cell(x, (h, c), *parts)
            top = h
        narrow = functional.linear(top, own["head.projection.weight"])
        functional.log_softmax(functional.linear(narrow, own["embedding.weight"], own["head.bias"]), dim=1)

    with torch.inference_mode():
        return per_second(step)


def product() -> float:
    """GFLOP/s of onnxruntime's product of two matrices 1024 x 1024 in fp32."""
    import onnxruntime
    from onnx import TensorProto, helper

    size = 1024
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (size, size)) for name in "abc"]
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["c"])], "product", ends[:2], ends[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feed = {name: rng.random((size, size), np.float32) for name in "ab"}
    return per_second(lambda: session.run(None, feed)) * 2 * size**3 / 1e9


def novelty(data: Path) -> dict[str, float]:
    """Seconds and megabytes of the index of a million words, and what asking it costs a written word."""
    from fabula.novelty import Index, Trail, run_hashes, word_hashes
    from fabula.text import words_of

    text = (data / "tales" / "train.txt").read_text(encoding="utf-8")
    words = words_of(text)
    words = (words * (1 + 1_000_000 // len(words)))[:1_000_000]
    begun = time.perf_counter()
    index = Index.of([words])
    seconds = time.perf_counter() - begun
    told = run_hashes(word_hashes(words[:20_000:2]))
    begun, trail = time.perf_counter(), Trail()
    for run in told:
        trail = index.go_on(trail, run)
    asked = (time.perf_counter() - begun) / len(told)
    return {
        "seconds to make it, of a million words": round(seconds, 2),
        "megabytes": round((index.hashes.nbytes + index.follows.nbytes) / 1e6, 1),
        "microseconds a word, guarding": round(1e6 * asked, 1),
    }


WAYS: dict[str, Callable[[], float]] = {
    "engine": engine,
    "nn.LSTM": lambda: eager("nn.LSTM"),
    "lstm_cell": lambda: eager("lstm_cell"),
    "engine, 64 stories": lambda: engine(TOGETHER),
    "product": product,
}

if __name__ == "__main__":
    main()
