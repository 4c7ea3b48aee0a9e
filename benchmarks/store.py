"""How fast a store is written, with how much memory, and whether learning from it stays as small as it began.

`python benchmarks/store.py` makes a gigabyte of tales up, `--size 50MB` a short form. The memory is that of all
processes together, each page counted once (PSS), looked at every tenth of a second.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import record
import tales

LOOK = 0.1
"""Seconds between two looks at the memory."""


def children(number: int) -> list[int]:
    """A process and all below it."""
    found = [number]
    for one in found:
        for path in Path(f"/proc/{one}/task").glob("*/children"):
            found += map(int, path.read_text().split())
    return found


def memory(number: int) -> float:
    """Megabytes of a process and all below it, shared pages counted once."""
    total = 0
    for one in children(number):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has just ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1000


class Watch:
    """The memory of a process over its life."""

    def __init__(self, number: int) -> None:
        self.seen: list[tuple[float, float]] = []
        self._number, self._on = number, True
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while self._on:
            try:
                self.seen.append((time.perf_counter(), memory(self._number)))
            except OSError:
                return
            time.sleep(LOOK)

    def peak(self) -> float:
        """The most, once it is over."""
        self._on = False
        self._thread.join()
        return max(megabytes for _, megabytes in self.seen)


def stopped(command: list[str], out: Path, shards: int) -> int:
    """The exit code of a command that is asked to stop (SIGTERM) when so many shards are done."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(out.glob("shard-*.json"))) < shards:
        time.sleep(LOOK)
    process.terminate()
    return process.wait()


def stages(text: Path, out: Path, unit: str) -> dict[str, float]:
    """When each stage began and when all was over, the most megabytes in all and while storing, the CPU seconds."""
    code = (
        "import json, sys, time\nfrom fabula.config import TextConfig\nfrom fabula.store import build\n"
        "begun, seen = time.perf_counter(), {}\n"
        "tell = lambda step: seen.setdefault(step.stage, time.perf_counter() - begun)\n"
        "build([sys.argv[1]], TextConfig(unit=sys.argv[3]), sys.argv[2], tell=tell)\n"
        "print(json.dumps({**seen, 'end': time.perf_counter() - begun}))"
    )
    begun, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", code, str(text), str(out), unit]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watch = Watch(process.pid)
    said, _ = process.communicate()
    peak, found = watch.peak(), json.loads(said)
    late = max((size for moment, size in watch.seen if moment - begun > found["storing"] + 1), default=0.0)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return {**found, "peak": peak, "peak while storing": late, "cpu": cpu}


def learning(store: Path, out: Path, seconds: int, head: str) -> dict[str, Any]:
    """The memory of a training from the store, in its middle and towards its end."""
    shutil.rmtree(out, ignore_errors=True)
    command = record.fabula(
        "train", str(store), "-o", str(out), "--time", str(seconds), "--size", "tiny", "--json", "-q"
    )
    command += ["--set", "training.evaluations=2", "--set", f"model.head={head}", "--set", "training.patience=0"]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    watch = Watch(process.pid)
    said, _ = process.communicate()
    peak = watch.peak()
    outcome = json.loads(said)
    # The n-gram model beside it comes and goes; the end is written. What is between is compared.
    seen = [(moment - begun, megabytes) for moment, megabytes in watch.seen]
    first = [megabytes for moment, megabytes in seen if 0.45 * seconds < moment < 0.55 * seconds]
    last = [megabytes for moment, megabytes in seen if 0.75 * seconds < moment < 0.85 * seconds]
    grown = statistics.median(last) / statistics.median(first) - 1
    return {
        "seconds": seconds, "steps": outcome["steps"], "bits per byte": round(outcome["held_out_bits_per_byte"], 3),
        "megabytes in its middle": round(statistics.median(first)),
        "megabytes towards its end": round(statistics.median(last)),
        "grown": round(grown, 4), "most megabytes": round(peak),
    }  # fmt: skip


def batches(store: Path) -> dict[str, float]:
    """Milliseconds of a batch of 32 x 32 and of 256 x 32 from the store, mean of the first 2,000."""
    code = (
        "import json, sys, time\nfrom fabula.config import TextConfig\nfrom fabula.corpus import prepare\n"
        "from fabula.streams import Lanes\nc = prepare(TextConfig(paths=(sys.argv[1],)))\nfound = {}\n"
        "for lanes in (32, 256):\n"
        "    feed = Lanes(c.train.streams, c.tokenizer.end, batch=lanes, length=32, seed=1)\n"
        "    begun = time.perf_counter()\n    for step in range(2000): feed.batch(step)\n"
        "    found[f'{lanes} x 32'] = round((time.perf_counter() - begun) / 2, 3)\n"
        "print(json.dumps(found))"
    )
    return json.loads(record.timed([sys.executable, "-c", code, str(store)])[1])


def reading(store: Path) -> dict[str, int]:
    """Megabytes of a process that reads batches of 32 x 32 and does nothing else, after so many of them."""
    code = (
        "import json, sys\nfrom fabula.config import TextConfig\nfrom fabula.corpus import prepare\n"
        "from fabula.streams import Lanes\nsys.path.insert(0, sys.argv[2])\nimport os, store\n"
        "c, found = prepare(TextConfig(paths=(sys.argv[1],))), {}\n"
        "feed = Lanes(c.train.streams, c.tokenizer.end, batch=32, length=32, seed=1)\n"
        "for step in range(20001):\n    feed.batch(step)\n"
        "    if step in (1000, 5000, 20000): found[step] = round(store.memory(os.getpid()))\n"
        "print(json.dumps(found))"
    )
    return json.loads(record.timed([sys.executable, "-c", code, str(store), str(Path(__file__).parent)])[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="1GB", help="of the text, as 50MB or 1GB")
    parser.add_argument("--unit", default="subwords")
    parser.add_argument("--time", type=int, default=60, help="seconds of the training from the store")
    parser.add_argument("--folder", type=Path, help="where to work; a text of the right size there is used again")
    options = parser.parse_args()
    number, unit = int(options.size[:-2]), {"MB": 10**6, "GB": 10**9}[options.size[-2:]]
    folder = options.folder or Path(tempfile.mkdtemp(prefix="fabula-store-"))
    folder.mkdir(parents=True, exist_ok=True)
    text, out = folder / f"tales-{options.size}.txt", folder / "store"
    if not text.exists():
        tales.write(text, number * unit)
    size = text.stat().st_size / 1e6
    for name in ("store", "second", "model"):
        shutil.rmtree(folder / name, ignore_errors=True)
    found = stages(text, out, options.unit)
    storing = found["end"] - found["storing"]
    shards = len(list(out.glob("shard-*.tokens.npy")))
    again = record.fabula("store", str(text), "-o", str(folder / "second"), "--unit", options.unit, "-q")
    code = stopped(again, folder / "second", max(1, shards // 2))
    before = len(list((folder / "second").glob("shard-*.json")))
    seconds, _ = record.timed(again)
    same = all((folder / "second" / path.name).read_bytes() == path.read_bytes() for path in out.iterdir())
    verified, _ = record.timed(record.fabula("store", str(out), "--verify", "-q"))
    figures = {
        "megabytes of text": round(size),
        "unit": options.unit,
        "shards": shards,
        "stored, megabytes": round(sum(path.stat().st_size for path in out.iterdir()) / 1e6),
        "vocabulary, seconds": round(found["storing"] - found["vocabulary"], 1),
        "storing, seconds": round(storing, 1),
        "MB/s": round(size / storing, 1),
        "MB/s with the vocabulary": round(size / found["end"], 1),
        "CPU seconds in all": round(found["cpu"], 1),
        "most megabytes of all processes": round(found["peak"]),
        "most megabytes while storing": round(found["peak while storing"]),
        "stopped": {
            "exit code": code, "shards done": before, "seconds to go on": round(seconds, 1), "the same bytes": same,
        },
        "verified, seconds": round(verified, 1),
        "batch, milliseconds": batches(out),
        "reading, megabytes": reading(out),
        "learning": {head: learning(out, folder / "model", options.time, head) for head in ("tied", "adaptive")},
    }  # fmt: skip
    if options.folder:  # where it was done says nothing
        place = sys.argv.index("--folder")
        del sys.argv[place : place + 2]
    if options.size == "1GB":
        record.write("store", figures)
    else:
        print(json.dumps(figures, indent=1))
    if options.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
