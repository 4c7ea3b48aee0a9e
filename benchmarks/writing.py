"""How fast a network writes: the engine beside PyTorch's eager step and beside onnxruntime as one would use it.

One layer of 512 units, vectors of 256, 10,000 units, tied, random weights. Each way is a process of its own and draws
nothing: a step takes a unit in and gives log-probabilities. All live at once and take turns, for what else goes on in a
machine changes within seconds; a ratio is the median of those of all rounds.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from record import median, write

HIDDEN, EMBEDDING, UNITS, TOGETHER = 512, 256, 10_000, 64
SECONDS, WARM = 0.5, 0.15
"""Of a turn, and before it: until the weights lie where they lie for who goes on."""
PRODUCTS = 2 * (4 * HIDDEN * (EMBEDDING + HIDDEN) + HIDDEN * EMBEDDING + EMBEDDING * UNITS)
"""Floating-point operations of a step of one story."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--child", choices=WAYS)
    options = parser.parse_args()
    if options.child:
        take_turns(*WAYS[options.child]())
        return
    rows: dict[str, list[float]] = {way: [] for way in WAYS}
    children = {way: begin([sys.executable, __file__, "--child", way]) for way in WAYS}
    for _ in range(options.rounds):
        for way, child in children.items():
            rows[way].append(ask(child))
    for child in children.values():
        child.communicate()
    speed = {way: median(found) for way, found in rows.items()}

    def over(ours: str, theirs: str) -> float:
        return median([a / b for a, b in zip(rows[ours], rows[theirs], strict=True)])

    share = [
        tokens * PRODUCTS / (rate * 1e9) for tokens, rate in zip(rows["fp32, 64 stories"], rows["product"], strict=True)
    ]
    rates = ("product", "weights once", "int8 weights once")
    write(
        "writing",
        {
            "rounds": options.rounds,
            "tokens/s": {way: round(value) for way, value in speed.items() if way not in rates},
            "weights once, times/s": round(speed["weights once"]),
            "fp32, of the weights once": over("fp32", "weights once"),
            "int8 weights once, times/s": round(speed["int8 weights once"]),
            "int8, of the weights once": over("int8", "int8 weights once"),
            "product GFLOP/s": round(speed["product"]),
            "fp32 over": {way: over("fp32", way) for way in PEERS},
            "int8 over": {way: over("int8", way) for way in PEERS},
            "64 stories over one": {way: over(f"{way}, 64 stories", way) for way in ("fp32", "int8", "plain int8")},
            "fp32, 64 stories, of the product": median(share),
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


Step = tuple[Callable[[], object], float]
"""What is done again and again, and what it counts for."""


def begin(command: list[str]) -> subprocess.Popen[str]:
    """A way that waits for its turns."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ask(child)  # the first one finds everything to be loaded yet
    return child


def ask(child: subprocess.Popen[str]) -> float:
    """The figure of one turn."""
    assert child.stdin
    assert child.stdout
    print("go", file=child.stdin, flush=True)
    said = child.stdout.readline()
    if not said:
        sys.exit("a way ended before its time")
    return json.loads(said)


def take_turns(step: Callable[[], object], worth: float) -> None:
    """A line for every line: how often a step can be taken in a second, times what it is worth."""
    for _ in sys.stdin:
        during(step, WARM)
        print(json.dumps(during(step, SECONDS) * worth), flush=True)


def during(step: Callable[[], object], seconds: float) -> float:
    """Steps taken in a second."""
    begun, steps = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        step()
        steps += 1
    return steps / (time.perf_counter() - begun)


def engine(stories: int = 1, *, int8: bool = False) -> Step:
    """fabula's own, tokens of all stories in a second."""
    from fabula.config import resolve
    from fabula.engine import Engine

    shape = {"layers": 1, "hidden": HIDDEN, "embedding": EMBEDDING, "head": "tied", "dropout": 0.0}
    network = Engine(resolve({"model": shape}).model, UNITS, weights(), int8=int8)
    ids, state = np.arange(stories), network.initial_state(stories)
    if stories == 1:  # as the storyteller tells it
        desk = network.alone(state)
        return (lambda: desk.go_on(0)), 1

    def step() -> None:
        nonlocal state
        _, state = network.step(ids, state)

    return step, stories


def eager(kind: str) -> Step:
    """PyTorch as one writes it: embedding, layer, output, log-softmax."""
    import torch
    from torch.nn import functional

    own = {name: torch.from_numpy(array) for name, array in weights().items()}
    parts = [own[f"cells.0.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    ids, h, c = torch.zeros(1, dtype=torch.long), torch.zeros(1, HIDDEN), torch.zeros(1, HIDDEN)
    layer = torch.nn.LSTM(EMBEDDING, HIDDEN, batch_first=True)
    layer.load_state_dict(dict(zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), parts, strict=True)))

    @torch.inference_mode()
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

    return step, 1


def product() -> Step:
    """GFLOP/s of onnxruntime's product of two matrices 1024 x 1024 in fp32."""
    return products(1024, 1024, 1024), 2 * 1024**3 / 1e9


def weights_once(*, int8: bool = False) -> Step:
    """How often in a second a vector is multiplied with as many numbers as a step of one story reads.

    No step that reads its weights can be faster than memory and caches bring them.
    """
    return products(1, HIDDEN, PRODUCTS // 2 // HIDDEN, int8=int8), 1


def products(rows: int, inner: int, columns: int, *, int8: bool = False) -> Callable[[], object]:
    """onnxruntime's product of two matrices, the second one being known before."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    kinds = (TensorProto.UINT8, TensorProto.INT32) if int8 else (TensorProto.FLOAT, TensorProto.FLOAT)
    a, c = (
        helper.make_tensor_value_info(name, kind, (rows, size))
        for name, kind, size in zip("ac", kinds, (inner, columns), strict=True)
    )
    first, second = (rng.integers(0, 64, shape) for shape in ((rows, inner), (inner, columns)))
    known = numpy_helper.from_array(second.astype(np.int8 if int8 else np.float32), "b")
    node = helper.make_node("MatMulInteger" if int8 else "MatMul", ["a", "b"], ["c"])
    graph = helper.make_graph([node], "product", [a], [c], [known])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"a": first.astype(np.uint8 if int8 else np.float32)}
    return lambda: session.run(None, feed)


def plain(stories: int = 1) -> Step:
    """onnxruntime as its guides say: one graph with its LSTM, made int8 by `quantize_dynamic`, default session."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import QuantType, quantize_dynamic

    own = weights()
    w, r = (own[f"cells.0.{name}"][None] for name in ("weight_ih", "weight_hh"))  # random: the gates' order is the same
    b = np.concatenate([own["cells.0.bias_ih"], own["cells.0.bias_hh"]])[None]
    arrays = {"w": w, "r": r, "b": b, "table": own["embedding.weight"], "bias": own["head.bias"]}
    arrays |= {"narrow": own["head.projection.weight"].T.copy(), "wide": own["embedding.weight"].T.copy()}
    arrays["axis"] = np.array([0], np.int64)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"]),
        helper.make_node("LSTM", ["x", "w", "r", "b", "", "h", "c"], ["y", "h2", "c2"], hidden_size=HIDDEN),
        helper.make_node("Squeeze", ["h2", "axis"], ["top"]),
        helper.make_node("MatMul", ["top", "narrow"], ["few"]),
        helper.make_node("MatMul", ["few", "wide"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["logits"]),
        helper.make_node("LogSoftmax", ["logits"], ["scores"], axis=1),
    ]
    states = dict.fromkeys(("h", "c", "h2", "c2"), (1, "B", HIDDEN))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in states.items()]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, (1, "B"))
    out = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("B", UNITS))
    known = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "plain", [ids, *ends[:2]], [out, *ends[2:]], known)
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "a.onnx", Path(folder) / "b.onnx"
        before.write_bytes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
        )
        logging.disable(logging.WARNING)  # it would rather be handed a model that was prepared
        quantize_dynamic(before, after, weight_type=QuantType.QInt8, op_types_to_quantize=["LSTM", "MatMul"])
        session = onnxruntime.InferenceSession(after, providers=["CPUExecutionProvider"])
    units = np.arange(stories)[None]
    h = c = np.zeros((1, stories, HIDDEN), np.float32)

    def step() -> None:
        nonlocal h, c
        _, h, c = session.run(None, {"ids": units, "h": h, "c": c})

    return step, stories


PEERS = ("nn.LSTM", "lstm_cell", "plain int8")
WAYS: dict[str, Callable[[], Step]] = {
    "weights once": weights_once,
    "int8 weights once": lambda: weights_once(int8=True),
    "fp32": engine,
    "int8": lambda: engine(int8=True),
    "nn.LSTM": lambda: eager("nn.LSTM"),
    "lstm_cell": lambda: eager("lstm_cell"),
    "plain int8": plain,
    "fp32, 64 stories": lambda: engine(TOGETHER),
    "int8, 64 stories": lambda: engine(TOGETHER, int8=True),
    "plain int8, 64 stories": lambda: plain(TOGETHER),
    "product": product,
}

if __name__ == "__main__":
    main()
