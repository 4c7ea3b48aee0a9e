"""`fabula serve`."""

from __future__ import annotations

import gc
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from fabula.cli.options import Debug, Json, Quiet, print_json
from fabula.errors import FolderError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from fabula.storyteller import Storyteller

KEY = "FABULA_API_KEY"
"""Where the key is looked for that is not given: a command line can be read by everyone on a machine."""


def serve(
    *folders: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    home: Path = Path("fabula-studio"),
    api_key: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    precision: str = "auto",
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,  # noqa: ARG001 - main looks for it
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
    """
    shelf = _shelf(folders, home)
    key = api_key if api_key is not None else os.environ.get(KEY)
    if key is not None and not re.fullmatch(r"[!-~]+", key):
        raise UsageError("--api-key must be printable ASCII without spaces, got something else")
    if not 0 <= port <= 65_535:
        raise UsageError(f"--port must be between 0 and 65535, got {port}")
    gc.disable()  # nothing of what is imported and read goes away again
    with ThreadPoolExecutor(1) as beside:  # the models are read while the rest is imported
        loading = beside.submit(_load, [path for path in folders if path in shelf.values()], shelf, precision)
        try:
            from fabula.serve.app import House  # noqa: PLC0415
            from fabula.serve.safety import is_local  # noqa: PLC0415
            from fabula.serve.transport import Server, listen, more_descriptors  # noqa: PLC0415
            from fabula.studio import Studio  # noqa: PLC0415
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] == "fabula":
                raise
            raise MissingExtraError("fabula serve", "serve") from None
        if not is_local(host) and not key:
            raise UsageError(f"--host {host} can be reached by others: give an --api-key, or set {KEY}")
        house = House(
            loading.result(), key=key, local=is_local(host), folders=shelf,
            load=lambda path: _teller(path, precision),
        )  # fmt: skip
    studio = Studio(house, home)
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
            print_json({"url": url, "models": list(shelf)})
        else:
            sys.stdout.write(url + "\n")
        sys.stdout.flush()
        if not quiet:
            models = ", ".join(shelf) or "no model yet, but the page can learn one"
            sys.stderr.write(f"open it in a browser to write; the API is at /v1: {models}; Ctrl-C ends\n")

    def farewell() -> None:
        studio.end()
        house.end()

    house.start()
    Server(house.app, house.limits, begun=begun, farewell=farewell).run(sockets=[listener])
    return 0


def _load(first: Sequence[Path], shelf: Mapping[str, Path], precision: str) -> dict[str, Storyteller]:
    """The models that were named; the others are read when somebody asks for them."""
    return {name: _teller(path, precision) for name, path in shelf.items() if path in first}


def _teller(path: Path, precision: str) -> Storyteller:
    from fabula.storyteller import load  # noqa: PLC0415

    return load(path, precision=precision)


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
