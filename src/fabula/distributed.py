"""Several processes that learn together: all that they say to each other goes through here; alone nothing is said.

The engine is torch.distributed, started by torchrun or by `fabula train --processes`: gloo between CPUs, NCCL between
GPUs. What hangs on a clock or on one machine is decided by the first process and taken over by all, so that every one
of them does the same at the same step.

Legend: P processes, B lanes of them all.
"""

from __future__ import annotations

import atexit
import json
import os
import platform
import signal
import warnings
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fabula import processes
from fabula.errors import FabulaError, LostProcessError, ProcessError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup, Store

SAVED = 2e7
"""Parameters for which one second more is allowed for an answer: the first may have to save them meanwhile."""


class Team:
    """The processes of one training, here none but this one."""

    rank = 0
    size = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    @property
    def is_orphan(self) -> bool:
        """Whether who started it is gone."""
        return False

    def agree(self, *numbers: float) -> tuple[float, ...]:
        """The numbers of the first process."""
        return numbers

    def sums(self, *numbers: float) -> tuple[float, ...]:
        """Numbers of all processes added up, in double precision."""
        return numbers

    def added(self, values: NDArray[Any]) -> NDArray[Any]:
        """Arrays of one shape added up."""
        return values

    def together(self, own: Tensor) -> Tensor:
        """The lanes of all processes one after another: (B/P, ...) -> (B, ...)."""
        return own

    def own(self, lanes: Tensor) -> Tensor:
        """What of the lanes of all is this process's: (B, ...) -> (B/P, ...)."""
        return lanes

    def compare(self, facts: Mapping[str, str]) -> None:
        """Make sure that all processes say the same of each fact. Errors: ProcessError names what differs."""

    def shared(self, learner: nn.Module, parameters: int, sparse: Sequence[str]) -> nn.Module:  # noqa: ARG002
        """A network whose gradients are means over the processes, but for the parameters named in `sparse`."""
        return learner

    @contextmanager
    def gathering(self, learner: nn.Module, *, is_last: bool) -> Generator[None]:  # noqa: ARG002
        """Around what adds to the gradients: only with the last part of a step are they averaged."""
        yield

    def reduce_sparse(self, gradients: list[Tensor]) -> list[Tensor]:
        """The mean over the processes of gradients that hold only some rows."""
        return gradients

    @contextmanager
    def answering(self) -> Generator[None]:
        """Around all that needs the others: whatever goes wrong with them becomes a ProcessError."""
        yield

    def leave(self) -> None:
        """End what connects it with the others."""


class Several(Team):
    """This process and others, as torchrun started them."""

    def __init__(self, device: torch.device) -> None:
        """Join; errors: ProcessError when one does not come or the meeting place cannot be reached."""
        from torch import distributed  # noqa: PLC0415

        self._dist = distributed
        self.rank, self.size = processes.rank(), processes.count()
        self._device = device
        self._group: ProcessGroup | None = None
        self._parent = os.getppid()
        self._is_ours = not distributed.is_initialized()
        atexit.register(self.leave)
        self._meet()
        with self.answering():
            if not distributed.is_initialized():
                distributed.init_process_group(
                    "nccl" if device.type == "cuda" else "gloo",
                    store=distributed.PrefixStore("fabula", self._store),
                    rank=self.rank,
                    world_size=self.size,
                    timeout=timedelta(seconds=processes.answer()),
                )
            # What is said about numbers and arrays on the host goes through gloo, whatever the gradients go through.
            self._host = self._hosts(processes.answer())
            self._peers = self._said(f"{platform.node()}:{os.getpid()}")

    def _meeting_place(self, careful: timedelta) -> Store:
        """Where torchrun's variables say that the processes meet; who did not come is found out by us."""
        if place := os.environ.get(processes.MEETING):
            return self._dist.FileStore(str(Path(place) / f"meeting-{processes.restarts()}"), self.size)
        hosted = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # then by torchrun, else by the first process
        store = self._dist.TCPStore(
            os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ.get("MASTER_PORT", "29500")), self.size,
            is_master=self.is_first and not hosted, timeout=careful, wait_for_workers=False,
        )  # fmt: skip
        # A store of torchrun's own outlives its processes; one of ours is new each time, and machines that came later
        # count other restarts.
        return self._dist.PrefixStore(f"fabula/{processes.restarts() if hosted else 0}", store)

    def _hosts(self, patience: float) -> ProcessGroup:
        """The processes, with so many seconds for an answer, as they speak of what is not on a GPU."""
        group = self._dist.new_group(backend="gloo", timeout=timedelta(seconds=patience))
        assert not isinstance(group, int)
        assert group is not None
        return group

    def _meet(self) -> None:
        """Wait until all are there; who started us, as Ray does, may have brought us together already."""
        if self._dist.is_initialized():
            self._store = self._dist.PrefixStore("fabula", self._dist.distributed_c10d._get_default_store())
            return
        careful = timedelta(seconds=processes.wait())
        try:
            self._store = self._meeting_place(careful)
            self._store.set(f"here/{self.rank}", "1")
            self._store.wait([f"here/{rank}" for rank in range(self.size)], careful)
        except (RuntimeError, ValueError, OSError) as error:
            store = getattr(self, "_store", None)
            if store is None:
                where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
                why = str(error).splitlines()[0][:120]
                what = f"the processes cannot meet at {where} ({why})"
                raise ProcessError(f"{what}: give another --master-port") from None
            away = [rank for rank in range(self.size) if not store.check([f"here/{rank}"])]
            raise ProcessError(
                f"{len(away)} of {self.size} processes did not come within {processes.wait():g} s "
                f"(number {', '.join(map(str, away[:8]))}): look at what their machines say"
            ) from None

    @property
    def is_orphan(self) -> bool:
        """Whether who started it is gone."""
        return os.getppid() != self._parent

    def agree(self, *numbers: float) -> tuple[float, ...]:
        """The numbers of the first process."""
        said = torch.tensor(numbers, dtype=torch.float64)
        self._dist.broadcast(said, src=0, group=self._host)
        return tuple(said.tolist())

    def sums(self, *numbers: float) -> tuple[float, ...]:
        """Numbers of all processes added up, in double precision."""
        said = torch.tensor(numbers, dtype=torch.float64)
        self._dist.all_reduce(said, group=self._host)
        return tuple(said.tolist())

    def added(self, values: NDArray[Any]) -> NDArray[Any]:
        """Arrays of one shape added up."""
        sent = torch.from_numpy(np.ascontiguousarray(values).copy())
        self._dist.all_reduce(sent, group=self._host)
        return sent.numpy()

    def together(self, own: Tensor) -> Tensor:
        """The lanes of all processes one after another: (B/P, ...) -> (B, ...)."""
        sent = own.detach().cpu().contiguous()
        parts = [torch.empty_like(sent) for _ in range(self.size)]
        self._dist.all_gather(parts, sent, group=self._host)
        return torch.cat(parts)

    def own(self, lanes: Tensor) -> Tensor:
        """What of the lanes of all is this process's: (B, ...) -> (B/P, ...)."""
        return lanes.chunk(self.size)[self.rank].clone()

    def compare(self, facts: Mapping[str, str]) -> None:
        """Make sure that all processes say the same of each fact. Errors: ProcessError names what differs."""
        with self.answering():
            said = [json.loads(text) for text in self._said(json.dumps(dict(facts)))]
        for number, other in enumerate(said):
            for name, value in said[0].items():
                if other.get(name) != value:
                    raise ProcessError(
                        f"all processes must have the same {name}, process 0 has {value[:60]}, "
                        f"process {number} {str(other.get(name))[:60]}"
                    )

    def shared(self, learner: nn.Module, parameters: int, sparse: Sequence[str]) -> nn.Module:
        """A network whose gradients are means over the processes, but for the parameters named in `sparse`."""
        from torch.nn.parallel import DistributedDataParallel  # noqa: PLC0415

        patience = processes.answer() + parameters / SAVED
        group = self._dist.new_group(timeout=timedelta(seconds=patience))
        assert not isinstance(group, int)
        self._group = group
        self._host = self._hosts(patience)
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(learner, list(sparse))
        places = [self._device] if self._device.type == "cuda" else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # newer versions have another name for broadcast_buffers
            return DistributedDataParallel(
                learner,
                device_ids=places,
                process_group=self._group,
                broadcast_buffers=False,
                gradient_as_bucket_view=True,
            )

    @contextmanager
    def gathering(self, learner: nn.Module, *, is_last: bool) -> Generator[None]:
        """Around what adds to the gradients: only with the last part of a step are they averaged."""
        with nullcontext() if is_last else learner.no_sync():  # pyrefly: ignore
            yield

    def reduce_sparse(self, gradients: list[Tensor]) -> list[Tensor]:
        """The mean over the processes of gradients that hold only some rows."""
        for gradient in gradients:
            if gradient.is_sparse:
                self._dist.all_reduce(gradient, group=self._host if gradient.device.type == "cpu" else self._group)
        return [(one / self.size).coalesce() if one.is_sparse else one for one in gradients]

    @contextmanager
    def answering(self) -> Generator[None]:
        """Around all that needs the others: whatever goes wrong with them becomes a ProcessError."""
        try:
            yield
        except RuntimeError as error:
            if not _is_of_others(error):
                raise
            if "imed out" in str(error) or "imeout" in str(error):
                self._end_the_silent()
            said = self._last_words()
            then = "--resume FOLDER goes on from" if processes.is_last_try() else "all are started again from"
            lost = f"another of the {self.size} processes has ended or does not answer: {then} the last save"
            raise said or LostProcessError(lost) from None
        except FabulaError as error:
            with suppress(RuntimeError):
                self._store.set("failed", json.dumps([str(error), error.exit_code, self.rank]))
            raise

    def _last_words(self) -> ProcessError | None:
        """Why another process has ended, where it could still say so."""
        with suppress(RuntimeError, ValueError):
            if self._store.check(["failed"]):
                message, code, rank = json.loads(self._store.get("failed"))
                error = ProcessError(f"process {rank}: {message}")
                error.exit_code = int(code)
                return error
        return None

    def _end_the_silent(self) -> None:
        """A process that is frozen would outlive all others: those on this machine end with us."""
        for own in getattr(self, "_peers", []):
            machine, _, number = own.rpartition(":")
            if machine == platform.node() and int(number) != os.getpid():
                with suppress(OSError):
                    os.kill(int(number), getattr(signal, "SIGKILL", signal.SIGTERM))

    def leave(self) -> None:
        """End what connects it with the others."""
        with suppress(RuntimeError, AssertionError, ValueError):
            if self._is_ours and self._dist.is_initialized():
                self._dist.destroy_process_group()

    def _said(self, own: str) -> list[str]:
        """What each process says."""
        data = np.frombuffer(own.encode(), np.uint8)
        lengths = self.together(torch.tensor([len(data)]))
        padded = np.zeros(int(lengths.max()), np.uint8)
        padded[: len(data)] = data
        rows = self.together(torch.from_numpy(padded)[None])
        return [bytes(row[:length].tolist()).decode() for row, length in zip(rows, lengths.tolist(), strict=True)]


def _is_of_others(error: RuntimeError) -> bool:
    """Whether it is about a connection with another process."""
    from torch import distributed  # noqa: PLC0415

    text = str(error)
    return isinstance(error, distributed.DistError) or any(
        word in text for word in ("gloo", "Connection", "NCCL", "Socket", "TCPStore", "imed out")
    )


_joined: list[Team] = []


def team(device: torch.device) -> Team:
    """This process with the others that were started with it; joins them at the first call."""
    if not _joined:
        _joined.append(Several(device) if processes.count() > 1 else Team())
    return _joined[0]
