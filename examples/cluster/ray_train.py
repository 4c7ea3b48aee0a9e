"""fabula on a Ray cluster: each worker of Ray Train is one of the processes that learn together.

    ray job submit -- python ray_train.py library.store library-model --workers 16 --gpu -- --time 7h

Ray starts the workers and their process group; fabula uses the group that is there. A worker that is lost makes Ray
start all of them again, and they go on from the last save. The folders lie on a file system that all machines share.
What else `fabula train` understands follows after `--`.
"""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from pathlib import Path
from typing import Any

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer


def learn(options: dict[str, Any]) -> None:
    """What one worker does: the same `train` as everywhere."""
    os.environ["TORCHELASTIC_RUN_ID"] = options["job"]  # by which those that are started again know their folder
    from fabula.cli import main

    if code := main(options["words"]):
        raise SystemExit(code)


def main() -> None:
    """Ask for workers and wait for them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", help="text or token store, on a disk that all machines share")
    parser.add_argument("model")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--gpu", action="store_true", help="one a worker")
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given = parser.parse_args(sys.argv[1:end])
    words = ["train", str(Path(given.library).resolve()), "-o", str(Path(given.model).resolve()), *sys.argv[end + 1 :]]
    options = {"words": words, "job": uuid.uuid4().hex}
    TorchTrainer(
        learn,
        train_loop_config=options,
        scaling_config=ScalingConfig(num_workers=given.workers, use_gpu=given.gpu),
        run_config=RunConfig(name=Path(given.model).name, failure_config=FailureConfig(max_failures=10)),
    ).fit()


if __name__ == "__main__":
    main()
