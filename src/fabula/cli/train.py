"""`fabula train`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from fabula import cli, stopping
from fabula import processes as numbers
from fabula.cli.display import Display
from fabula.cli.options import Config, Encoding, Json, Quiet, Seed, Set, layered, print_json
from fabula.cli.parsing import Option


def train(
    *paths: str,
    out: Annotated[Path | None, Option("-o")] = None,
    time: str | None = None,
    size: str | None = None,
    unit: str | None = None,
    epochs: float | None = None,
    steps: int | None = None,
    held_out: tuple[str, ...] = (),
    window: int | None = None,
    layers: int | None = None,
    cell: str | None = None,
    vectors: str | None = None,
    prompt: Annotated[str | None, Option("-p", free=True)] = None,
    encoding: Encoding = None,
    seed: Seed = None,
    force: bool = False,
    both_ways: bool = False,
    resume: Path | None = None,
    from_: Path | None = None,
    report_to: str | None = None,
    processes: int | None = None,
    restarts: int | None = None,
    config: Config = None,
    set_: Set = (),
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Learn from your texts and write a model folder.

    Parameters
    ----------
    paths
        Files (.txt .md .jsonl .csv .html .epub, also .gz and .zip), folders, or - for stdin.
    out
        Folder of the model; NAME-model when not given.
    time
        How long it may take, from start to end: 60, 90s, 3m, 1h. Default 60s.
    size
        tiny, small, medium or large; small when not given.
    unit
        What it reads and writes: symbols, words, subwords, chars, bytes; auto when not given.
    epochs
        Times the whole text is read.
    steps
        Updates of the weights.
    held_out
        Texts of your own to measure on, in place of a share of the stories.
    window
        Units seen before each prediction, as in the article; 0 carries the state without limit.
    layers
        Recurrent layers on top of each other.
    cell
        lstm or gru.
    vectors
        File of pretrained word vectors (word2vec, GloVe, fastText), or train.
    prompt
        What the stories told on the way begin with; the text's own opening when not given.
    force
        Replace the model in an existing folder.
    both_ways
        Also learn to read every story from its end, for fabula write --end; half of the time each.
    resume
        Go on with the training in this folder.
    from_
        Start from the model in this folder: its shape, its units, what it knows.
    report_to
        tensorboard: scalars, graph, told stories and word vectors in FOLDER/tensorboard.
    processes
        Learn in so many processes on this machine; on several machines: torchrun ... -m fabula train.
    restarts
        How often all processes are started again after one was lost; 10 when not given.
    """
    if processes is not None and "RANK" not in os.environ:
        return _launch(processes, restarts)
    from fabula import api  # noqa: PLC0415
    from fabula.cli.storing import Storing  # noqa: PLC0415
    from fabula.narration import Journal, Narrator  # noqa: PLC0415
    from fabula.report import Reporter  # noqa: PLC0415
    from fabula.trackers import tracker  # noqa: PLC0415

    flags = {
        "text": {"unit": unit, "encoding": encoding},
        "model": {"window": window, "layers": layers, "cell": cell},
        "training": {"time": time, "epochs": epochs, "steps": steps, "seed": seed, "vectors": vectors},
    }
    is_first = numbers.is_first()
    tracking = [tracker(report_to)] if report_to and is_first else []
    display = Display(quiet=quiet or not is_first)
    with display, Storing(quiet=quiet or not is_first) as storing, Reporter() as reporter:
        telling = [Journal(), display, Narrator(show=display.tell, prompt=prompt), *tracking, reporter]
        outcome = api.train(
            paths, out, size=size, held_out=held_out, force=force, both_ways=both_ways or None,
            resume=resume, from_model=from_, begun=numbers.begun(cli.BEGUN), settings=layered(flags, set_, config),
            listeners=telling if is_first else [], tell=storing,
        )  # fmt: skip
    if json and is_first:
        print_json(outcome.to_json())
    display.conclude(outcome)
    return stopping.exit_code(outcome.stopped_by) if outcome.stopped_by else 0


def _launch(count: int, restarts: int | None) -> int:
    """The same command in several processes."""
    from fabula.launch import RESTARTS, launch  # noqa: PLC0415

    kept, words = list[str](), iter(sys.argv[1:])
    for word in words:
        if word in {"--processes", "--restarts"}:
            next(words, None)
        elif not word.startswith(("--processes=", "--restarts=")):
            kept.append(word)
    return launch(kept, count, RESTARTS if restarts is None else restarts, begun=cli.BEGUN)
