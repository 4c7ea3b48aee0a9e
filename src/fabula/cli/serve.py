"""`fabula serve`."""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import re
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fabula.cli.options import Json, Quiet, print_json
from fabula.cli.parsing import Option
from fabula.errors import FabulaError, FolderError, MissingExtraError, UsageError
from fabula.machine import cores
from fabula.serve.plan import Plan, is_local

if TYPE_CHECKING:
    import socket

    from fabula.serve.limits import Limits

KEY = "FABULA_API_KEY"
"""Where the key is looked for that is not given: a command line can be read by everyone on a machine."""

SEALS = "FABULA_KEY"
"""Where the key that seals states is looked for without a file."""

SHORTEST, LONGEST = 16, 4096
"""Bytes of such a key."""

WORKERS = 256
"""Most processes."""


def serve(
    *folders: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    home: Path = Path("fabula-studio"),
    api_key: Annotated[str | None, Option(free=True)] = None,
    precision: str = "auto",
    workers: int = 1,
    key_file: Path | None = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write with models in a browser, or over HTTP as with OpenAI; stdout gets the address, Ctrl-C ends it.

    Parameters
    ----------
    folders
        Model folders that fabula train made, or folders of such; a model goes by its folder's name. Without any, those
        in the present folder.
    host
        Where to listen, 127.0.0.1 when not given; any that is not this machine's own needs a key.
    port
        8000 when not given; 0 takes one that is free.
    home
        Folder of the studio: drafts, texts to learn from, and what is learned on the page; made when it is needed.
    api_key
        What clients must send as Authorization: Bearer KEY; the environment's FABULA_API_KEY when not given.
    precision
        fp32, int8 (whole numbers, faster), or auto: what was measured to be good when the model was saved.
    workers
        Processes that answer on the one port; one when not given, and with more of them the API alone, no studio.
    key_file
        File with the key that all servers seal states with; FABULA_KEY when not given, or else a key of chance.
    """
    shelf = _shelf(folders, home)
    key = api_key if api_key is not None else os.environ.get(KEY)
    if key is not None and not re.fullmatch(r"[!-~]+", key):
        raise UsageError("--api-key must be printable ASCII without spaces, got something else")
    if not 0 <= port <= 65_535:
        raise UsageError(f"--port must be between 0 and 65535, got {port}")
    if not 1 <= workers <= WORKERS:
        raise UsageError(f"--workers must be between 1 and {WORKERS}, got {workers}")
    if workers > 1 and not shelf:
        raise UsageError("--workers must have a model to serve, got none: fabula train makes one")
    if not is_local(host) and not key:
        raise UsageError(f"--host {host} can be reached by others: give an --api-key, or set {KEY}")
    plan = Plan(
        shelf=shelf, first=tuple(name for name, path in shelf.items() if path in folders), precision=precision,
        key=key, local=is_local(host), secret=_secret(key_file) or secrets.token_bytes(32),
        threads=1 if workers >= cores() > 1 else None,
    )  # fmt: skip

    def begun(port: int) -> None:
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if json:
            print_json({"url": url, "models": list(shelf)})
        else:
            sys.stdout.write(url + "\n")
        sys.stdout.flush()
        if not quiet:
            models = ", ".join(shelf) or "no model yet, but the page can learn one"
            page = "open it in a browser to write; " if workers == 1 else f"{workers} workers, without the studio; "
            sys.stderr.write(f"{page}the API is at /v1: {models}; Ctrl-C ends\n")

    logging.basicConfig(stream=sys.stderr, format="fabula: %(message)s", level=logging.ERROR)
    try:
        return _alone(plan, home, host, port, begun) if workers == 1 else _together(plan, workers, host, port, begun)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "fabula":
            raise
        raise MissingExtraError("fabula serve", "serve") from None


def _alone(plan: Plan, home: Path, host: str, port: int, begun: Callable[[int], None]) -> int:
    """One process, with the studio."""
    gc.disable()  # nothing of what is imported and read goes away again

    def load() -> None:
        from fabula.serve import transport  # noqa: F401, PLC0415
        from fabula.studio import Studio  # noqa: F401, PLC0415

    house = plan.house(load)
    from fabula.serve.transport import Server  # noqa: PLC0415
    from fabula.studio import Studio  # noqa: PLC0415

    studio, listener = Studio(house, home), _listen(host, port, house.limits)

    def ready() -> None:
        gc.freeze()
        gc.enable()
        begun(listener.getsockname()[1])

    def farewell() -> None:
        studio.end()
        house.end()

    house.start()
    Server(house.app, house.limits, begun=ready, farewell=farewell).run(sockets=[listener])
    return 0


def _together(plan: Plan, workers: int, host: str, port: int, begun: Callable[[int], None]) -> int:
    """Several processes, which read the models themselves."""
    from fabula.serve.limits import Limits  # noqa: PLC0415
    from fabula.serve.supervisor import Supervisor  # noqa: PLC0415

    for part in ("fastapi", "prometheus_client"):  # which the workers need, and this process does not
        if importlib.util.find_spec(part) is None:
            raise ModuleNotFoundError(name=part)
    limits = Limits()
    listener = _listen(host, port, limits)
    supervisor = Supervisor(plan, limits, workers, listener, begun=lambda: begun(listener.getsockname()[1]))
    supervisor.run()
    if supervisor.failed:
        plan.tellers()  # which says what is wrong
        raise FabulaError("a worker could not start: try fewer --workers")
    return 0


def _listen(host: str, port: int, limits: Limits) -> socket.socket:
    from fabula.serve.transport import listen, more_descriptors  # noqa: PLC0415

    more_descriptors(limits.connections + 64)
    try:
        return listen(host, port)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}, port {port}: {error.strerror}: choose another --port") from None


def _secret(file: Path | None) -> bytes | None:
    """The key that servers share. Errors: UsageError."""
    if file is None:
        found, name = os.environ.get(SEALS, "").encode("utf-8", "surrogateescape"), SEALS
    else:
        name = "--key-file"
        try:
            with file.open("rb") as opened:
                found = opened.read(LONGEST + 1)
        except OSError as error:
            raise UsageError(f"--key-file cannot be read: {error.strerror}: {str(file)!r}") from None
    found = found.strip()
    if file is None and not found:
        return None
    if not SHORTEST <= len(found) <= LONGEST:
        raise UsageError(f"{name} must hold {SHORTEST} to {LONGEST:,} bytes: openssl rand -hex 32 makes a key")
    return found


def _shelf(folders: Sequence[Path], home: Path) -> dict[str, Path]:
    """Model folders by the names that clients use. Errors: UsageError, FolderError."""
    from fabula.cli import visible  # noqa: PLC0415

    found: dict[str, Path] = {}
    for folder in folders or [Path()]:
        inside = list[Path]() if _is_model(folder) else _models_in(folder)
        if folders and not inside and not _is_model(folder) and folder.is_dir():
            raise FolderError(f"{str(folder)!r} holds neither a model nor folders of models: fabula train makes one")
        for path in inside or ([folder] if folders else []):
            name = visible(path.resolve().name)
            if name in found:
                raise UsageError(f"two models are called {name!r}: rename one of the folders")
            found[name] = path
    return {path.name: path for path in _models_in(home / "models")} | found


def _models_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if _is_model(path)) if folder.is_dir() else []


def _is_model(path: Path) -> bool:
    return not path.name.startswith(".") and (path / "manifest.json").is_file()
