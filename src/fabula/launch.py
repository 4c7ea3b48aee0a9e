"""The same command in several processes on this machine, by PyTorch's elastic launcher, which starts lost ones again.

What `torchrun --standalone --nproc-per-node N -m fabula ...` does, and besides: a user's mistake is not tried again,
and the exit code is the command's own. They meet in a file and speak over the loopback interface: nobody else can.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from fabula import processes, stopping
from fabula.errors import MissingExtraError, ProcessError, UsageError
from fabula.machine import cores

RESTARTS = 10
"""How often all are started again after one was lost, unless told otherwise."""

MOST = 1024
"""Processes on one machine."""


def launch(arguments: Sequence[str], count: int, restarts: int = RESTARTS, *, begun: float) -> int:
    """Run `fabula ARGUMENTS` in so many processes; returns what the first of them returns.

    `begun` is the `time.perf_counter()` that a time limit counts from.

    Errors: UsageError; ProcessError when they were lost more often than they may be started again.
    """
    if not 1 <= count <= MOST:
        raise UsageError(f"--processes must be between 1 and {MOST}, got {count}")
    if not 0 <= restarts <= 10**6:
        raise UsageError(f"--restarts must be 0 or more, got {restarts}")
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # they meet in a file, and nothing need listen for it
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // count)))
    if count > 1 and "GLOO_SOCKET_IFNAME" not in os.environ and sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # one machine needs no name of its own
    try:
        from torch.distributed.elastic.multiprocessing.api import SignalException  # noqa: PLC0415
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError  # noqa: PLC0415
        from torch.distributed.launcher.api import LaunchConfig, elastic_launch  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError("training", "train") from None
    logging.disable(logging.CRITICAL)  # what the launcher has to say we say
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=count, run_id=uuid.uuid4().hex, rdzv_backend="c10d",
        rdzv_configs={"store_type": "file"}, local_addr="localhost", max_restarts=restarts,
        signals_to_handle="SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="fabula-") as place:
        told = Path(place) / "exit"
        os.environ[processes.OUTCOME], os.environ[processes.BEGUN] = str(told), str(begun)
        os.environ[processes.MEETING] = place
        config.rdzv_endpoint = str(Path(place) / "rendezvous")
        try:
            elastic_launch(config, sys.executable)("-m", "fabula", *arguments)
        except SignalException as error:
            return _read(told, stopping.exit_code(error.sigval))
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            code = failure.exitcode
            how = f"was ended by signal {-code}" if code < 0 else f"returned {code}"
            again = f" and {restarts} restarts did not help" if restarts else ""
            raise ProcessError(
                f"process {rank} of {count} {how}{again}: the same command with --resume FOLDER goes on"
            ) from None
        return _read(told, 0)


def _read(told: Path, otherwise: int) -> int:
    """The exit code that the first process left."""
    try:
        return int(told.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return otherwise
