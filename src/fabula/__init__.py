"""fabula: train a small LSTM on your own stories and let it write new ones.

>>> import fabula
>>> fabula.train("my-stories/", "my-model")              # doctest: +SKIP
>>> fabula.load("my-model").write("Once upon a time")    # doctest: +SKIP

Importing this loads neither torch nor onnxruntime; the doors below load what they need when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from fabula.version import __version__

if TYPE_CHECKING:
    from fabula.api import evaluate, train
    from fabula.errors import FabulaError
    from fabula.storyteller import Storyteller, load

_DOORS = {
    "FabulaError": "fabula.errors",
    "Storyteller": "fabula.storyteller",
    "evaluate": "fabula.api",
    "load": "fabula.storyteller",
    "train": "fabula.api",
}

__all__ = ["FabulaError", "Storyteller", "__version__", "evaluate", "load", "train"]


def __getattr__(name: str) -> object:
    if name in _DOORS:
        return getattr(import_module(_DOORS[name]), name)
    raise AttributeError(f"module 'fabula' has no attribute {name!r}")
