"""Several processes beside one: words a second, loss curves, and what they send to each other.

Speed: `fabula train` on the words of WikiText-2 with one thread a process, once alone and once in so many processes as
`--processes` says, each with as many lanes as the one alone; both in turn, round by round; a word is a unit learned
from, and the rate is the median over the second half of the run, as metrics.jsonl has it. Curves: the same text, seed
and lanes in all, learned in 1, 2 and 4 processes in fp32, beside each other line by line. Sending: how long
torch.distributed takes for the mean of so many gradients over two processes of this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from record import DATA, fabula, median, timed, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--time", type=int, default=60, help="seconds of each training")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60, help="of the curves")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--send", type=int, metavar="BYTES", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        send(options.send)
        return
    text = options.data / "wikitext2" / "wiki.train.tokens"
    figures = {
        "words/s": {
            name: speeds(text, options.rounds, options.time, options.processes, form)
            for name, form in (("fp32", "fp32"), ("auto", "auto"))
        },
        "curves": curves(options.data / "shakespeare" / "train.txt", options.steps),
        "sending": {f"{size} MB": sent(size << 20) for size in (1, 4, 16, 64)},
    }
    write("scaling", figures)


def train(text: Path, out: Path, *more: str, chosen: list[str]) -> dict[str, object]:
    """What a training says, and its measurements."""
    settings = [word for one in chosen for word in ("--set", one)]
    said = timed(fabula("train", str(text), "-o", str(out), "--json", "-q", *settings, *more))[1]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return json.loads(said) | {"lines": lines}


def speeds(text: Path, rounds: int, seconds: int, count: int, form: str) -> dict[str, object]:
    """Units a second of one process and of several, and the ratio of each round."""
    rates: dict[int, list[float]] = {1: [], count: []}
    for turn in range(rounds):
        for number in sorted(rates, reverse=turn % 2 == 1):
            with tempfile.TemporaryDirectory() as place:
                chosen = [f"training.batch={64 * number}", "training.threads=1", "training.evaluations=8"]
                chosen += [f"training.precision={form}", "text.unit=words"]
                more = ["--time", f"{seconds}s", "--processes", str(number)]
                done = train(text, Path(place) / "model", *more, chosen=chosen)
            lines = done["lines"]
            assert isinstance(lines, list)
            rates[number].append(statistics.median(line["tokens_per_second"] for line in lines[len(lines) // 2 :]))
            print(form, turn, number, rates[number][-1], file=sys.stderr)
    ratios = [several / one for one, several in zip(rates[1], rates[count], strict=True)]
    return {
        "one process": median(rates[1]), f"{count} processes": median(rates[count]), "ratio": median(ratios),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }  # fmt: skip


def curves(text: Path, steps: int) -> dict[str, object]:
    """How far the losses of 2 and 4 processes are from those of one."""
    found, weights = {}, {}
    forms = {
        "1": (1, 1),
        "1 in 2 parts": (1, 2),
        "1 in 4 parts": (1, 4),
        "2": (2, 1),
        "2 in 2 parts": (2, 2),
        "4": (4, 1),
    }
    for name, (processes, parts) in forms.items():
        with tempfile.TemporaryDirectory() as place:
            chosen = ["training.batch=32", "training.threads=1", f"training.evaluations={steps // 2}"]
            chosen += ["training.precision=fp32", f"training.accumulate={parts}"]
            chosen += ["model.dropout=0.2", "model.hidden=128", "training.patience=0"]
            more = ["--steps", str(steps), "--processes", str(processes)]
            out = Path(place) / "model"
            lines = train(text, out, *more, chosen=chosen)["lines"]
            assert isinstance(lines, list)
            found[name] = [(line["train_loss"], line["held_out_bits_per_byte"]) for line in lines]
            weights[name] = (out / "model.safetensors").read_bytes()
    apart = {name: float(abs(np.array(own) - np.array(found["1"])).max()) for name, own in found.items()}
    same = {
        "2 processes and 1 in 2 parts": weights["2"] == weights["1 in 2 parts"],
        "2 in 2 parts and 1 in 4 parts": weights["2 in 2 parts"] == weights["1 in 4 parts"],
        "4 processes and 1 in 4 parts": weights["4"] == weights["1 in 4 parts"],
    }
    return {"largest difference from one process": apart, "the same bits": same, "measurements": len(found["1"])}


def sent(size: int) -> dict[str, float]:
    """Milliseconds for the mean of so many bytes over two processes, and megabytes a second."""
    port = str(29_000 + os.getpid() % 900)
    meeting = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    meeting["GLOO_SOCKET_IFNAME"] = "lo"
    both = [
        subprocess.Popen(
            [sys.executable, __file__, "--send", str(size)], env=meeting | {"RANK": str(rank)}, stdout=subprocess.PIPE
        )
        for rank in range(2)
    ]
    told = [process.communicate()[0] for process in both]
    taken = float(told[0])
    return {"milliseconds": round(1000 * taken, 2), "MB/s": round(size / taken / 1e6)}


def send(size: int) -> None:
    """One of two processes: prints the median seconds of a mean."""
    import torch
    from torch import distributed

    distributed.init_process_group("gloo")
    data, taken = torch.ones(size // 4), []
    for _ in range(20):
        distributed.barrier()
        begun = time.perf_counter()
        distributed.all_reduce(data)
        taken.append(time.perf_counter() - begun)
        data.fill_(1.0)
    print(statistics.median(taken[5:]))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
