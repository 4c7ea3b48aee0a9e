"""`fabula serve`."""

from __future__ import annotations

import gc
import logging
import os
import re
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from fabula.cli.options import Debug, Json, Quiet, print_json
from fabula.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from fabula.storyteller import Storyteller

KEY = "FABULA_API_KEY"
"""Where the key is looked for that is not given: a command line can be read by everyone on a machine."""


def serve(
    *folders: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    precision: str = "auto",
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,  # noqa: ARG001 - main looks for it
) -> int:
    """Serve models over HTTP, in the shapes of OpenAI's API; stdout gets the address, Ctrl-C ends it.

    Parameters
    ----------
    folders
        Model folders that fabula train made; a model goes by its folder's name.
    host
        Where to listen, 127.0.0.1 when not given; any that is not this machine's own needs a key.
    port
        8000 when not given; 0 takes one that is free.
    api_key
        What clients must send as Authorization: Bearer KEY; the environment's FABULA_API_KEY when not given.
    precision
        fp32, int8 (whole numbers, faster), or auto: what was measured to be good when the model was saved.
    """
    names = _names(folders)
    key = api_key if api_key is not None else os.environ.get(KEY)
    if key is not None and not re.fullmatch(r"[!-~]+", key):
        raise UsageError("--api-key must be printable ASCII without spaces, got something else")
    if not 0 <= port <= 65_535:
        raise UsageError(f"--port must be between 0 and 65535, got {port}")
    gc.disable()  # nothing of what is imported and read goes away again
    with ThreadPoolExecutor(1) as beside:  # the models are read while the rest is imported
        loading = beside.submit(_load, names, precision)
        try:
            from fabula.serve.app import House  # noqa: PLC0415
            from fabula.serve.safety import is_local  # noqa: PLC0415
            from fabula.serve.transport import Server, listen, more_descriptors  # noqa: PLC0415
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == "fabula":
                raise
            raise MissingExtraError("fabula serve", "serve") from None
        if not is_local(host) and not key:
            raise UsageError(f"--host {host} can be reached by others: give an --api-key, or set {KEY}")
        house = House(loading.result(), key=key, local=is_local(host))
    more_descriptors(house.limits.connections + 64)
    try:
        listener = listen(host, port)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}, port {port}: {error.strerror}: choose another --port") from None
    url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    logging.basicConfig(stream=sys.stderr, format="fabula: %(message)s", level=logging.ERROR)

    def begun() -> None:
        gc.freeze()
        gc.enable()
        if json:
            print_json({"url": url, "models": list(names)})
        else:
            sys.stdout.write(url + "\n")
        sys.stdout.flush()
        if not quiet:
            sys.stderr.write(f"serving {', '.join(names)}: the API is at /v1, a page about it at /docs; Ctrl-C ends\n")

    house.start()
    Server(house.app, house.limits, begun=begun, farewell=house.end).run(sockets=[listener])
    return 0


def _load(names: Mapping[str, Path], precision: str) -> dict[str, Storyteller]:
    from fabula.storyteller import load  # noqa: PLC0415

    return {name: load(folder, precision=precision) for name, folder in names.items()}


def _names(folders: tuple[Path, ...]) -> dict[str, Path]:
    """Folders by the names that clients use. Errors: UsageError."""
    from fabula.cli import visible  # noqa: PLC0415

    if not folders:
        raise UsageError("expected a model folder: fabula serve tales-model")
    names: dict[str, Path] = {}
    for folder in folders:
        name = visible(folder.resolve().name)
        if name in names:
            raise UsageError(f"two models are called {name!r}: rename one of the folders")
        names[name] = folder
    return names
