"""What to expect of many processes: arithmetic on stated assumptions, with what was measured here as its check.

Between CPUs a step takes its computing and its sending one after the other, for both need the cores. GPUs send while
they compute the rest of the way back: max(computing, computing * (1 - BESIDE) + sending). Sending the mean of G bytes
of gradients over P processes takes 2 (P - 1) / P * G / bandwidth, and 2 (P - 1) times the latency (a ring).
Computing takes lanes * moments / rate.
Memory of a process: weights, gradients, the copies that travel, two numbers of AdamW, the best weights so far.

No row for GPUs is measured: their rates are assumptions, said in the table.
"""

from __future__ import annotations

from dataclasses import dataclass

from record import read, write

BESIDE = 0.6
"""Share of the computing that sending runs beside: that of the way back, once its first gradients are there."""

BILLION = 10**9


@dataclass(frozen=True)
class Network:
    """A network of two layers with a tied output."""

    name: str
    layers: int
    hidden: int
    embedding: int
    vocabulary: int

    @property
    def parameters(self) -> int:
        """Numbers that learn."""
        first = 4 * self.hidden * (self.embedding + self.hidden + 2)
        others = (self.layers - 1) * 4 * self.hidden * (2 * self.hidden + 2)
        return first + others + self.vocabulary * (self.embedding + 1) + self.hidden * self.embedding


@dataclass(frozen=True)
class Place:
    """Processes of one kind and what is between them; units a second, bytes a second, seconds."""

    name: str
    rate: float
    bandwidth: float
    latency: float
    is_gpu: bool = False
    lanes: int = 64
    moments: int = 64


def step(network: Network, place: Place, processes: int) -> tuple[float, float]:
    """Seconds of a step, and of its sending."""
    computing = place.lanes * place.moments / place.rate
    sending = 0.0
    if processes > 1:
        ring = 2 * (processes - 1)
        sending = ring / processes * 4 * network.parameters / place.bandwidth + ring * place.latency
    overlapped = max(computing, computing * (1 - BESIDE) + sending)
    return overlapped if place.is_gpu else computing + sending, sending


def row(network: Network, place: Place, processes: int, words: float) -> dict[str, object]:
    """One line of the table."""
    taken, sending = step(network, place, processes)
    alone, _ = step(network, place, 1)
    rate = processes * place.lanes * place.moments / taken
    return {
        "network": network.name, "place": place.name, "processes": processes,
        "MB sent a step": round(4 * network.parameters / 1e6, 1), "ms sending": round(1000 * sending, 2),
        "units/s": round(rate), "of the ideal": round(alone / taken, 3), "hours": round(words / rate / 3600, 2),
        "GB a process": round(4 * 6 * network.parameters / 1e9, 2),
    }  # fmt: skip


def main() -> None:
    measured = read("scaling")
    own = measured["words/s"]["auto"]
    bandwidth = 1e6 * measured["sending"]["16 MB"]["MB/s"]
    small, large = Network("1 x 512", 1, 512, 256, 16_000), Network("2 x 1024", 2, 1024, 512, 16_000)
    huge = Network("2 x 2048", 2, 2048, 1024, 32_000)
    here = Place("one core each, this machine", own["one process"], bandwidth, 50e-6, moments=32)
    office = Place("laptop cores over 1 Gbit/s (assumed)", own["one process"], 110e6, 200e-6, moments=32)
    hall = Place("GPUs at 150,000 units/s over 20 GB/s (assumed)", 150_000, 20e9, 20e-6, is_gpu=True)
    big = Place("GPUs at 40,000 units/s over 20 GB/s (assumed)", 40_000, 20e9, 20e-6, is_gpu=True)
    table = [row(small, here, count, 0.1 * BILLION) for count in (1, 2)]
    table += [row(small, office, count, 0.1 * BILLION) for count in (1, 2, 8, 32)]
    table += [row(large, hall, count, 10 * BILLION) for count in (1, 8, 64)]
    table += [row(huge, big, count, 10 * BILLION) for count in (1, 8, 64)]
    write("expectation", {"rows": table, "measured ratio of 2 processes": own["ratio"]})


if __name__ == "__main__":
    main()
