"""What a server is to serve, told in a few words that can be sent to another process; knows no socket.

Importing it loads neither the web framework nor the engine: models are read while the former is imported.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fabula.errors import FolderError

if TYPE_CHECKING:
    from fabula.serve.app import House
    from fabula.storyteller import Storyteller


def is_local(host: str) -> bool:
    """Whether only this machine can reach what listens there.

    >>> is_local("127.0.0.1"), is_local("localhost"), is_local("::1"), is_local("0.0.0.0"), is_local("example.org")
    (True, True, True, False, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Models, and who may ask for their stories."""

    shelf: Mapping[str, Path]
    """Where each model lies, by its name."""
    first: tuple[str, ...]
    """Models that are read at once; the others are read when somebody asks for them."""
    precision: str
    key: str | None
    """What clients must send."""
    local: bool
    """Whether this machine alone can reach it."""
    secret: bytes
    """With which the states of stories are sealed."""
    threads: int | None = None
    """Of each model; as many as it can use when not given."""

    def teller(self, path: Path) -> Storyteller:
        """The model of a folder. Errors: FolderError, UsageError."""
        from fabula.storyteller import load  # noqa: PLC0415 - takes a while

        return load(path, precision=self.precision, threads=self.threads)

    def tellers(self, *, lenient: bool = False) -> dict[str, Storyteller]:
        """The models that are read at once; a `lenient` reader leaves out what cannot be read, as asking for it may."""
        found: dict[str, Storyteller] = {}
        for name in self.first:
            try:
                found[name] = self.teller(self.shelf[name])
            except FolderError:
                if not lenient:
                    raise
        return found

    def house(self, load: Callable[[], object], *, lenient: bool = False) -> House:
        """All of it, not started yet; `load` imports what else will be needed, meanwhile.

        Errors: FolderError, UsageError; ModuleNotFoundError without the extra.
        """
        with ThreadPoolExecutor(1) as beside:
            loading = beside.submit(self.tellers, lenient=lenient)
            from fabula.serve.app import House  # noqa: PLC0415 - takes a while

            load()
            return House(
                loading.result(), key=self.key, local=self.local, folders=self.shelf, load=self.teller,
                secret=self.secret,
            )  # fmt: skip
