"""Where the numbers of one story lie while it is told; knows no network, only what its session reads and says."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class Desk:
    """A session whose inputs and outputs keep their places: finding new ones takes a tenth of a step of one story.

    `reads` and `says` are the shapes of its inputs and outputs by name, all of them fp32 but for `ids`; `fixed` are
    inputs that never change. Several threads may use it, one after another.
    """

    def __init__(
        self,
        session: InferenceSession,
        reads: Mapping[str, tuple[int, ...]],
        says: Mapping[str, tuple[int, ...]],
        fixed: Mapping[str, NDArray[Any]] = MappingProxyType({}),
    ) -> None:
        from onnxruntime import OrtValue  # noqa: PLC0415 - takes a tenth of a second to import

        self._session, self._binding, self._lock = session, session.io_binding(), threading.Lock()
        self._reads: list[NDArray[Any]] = []
        self._says: list[NDArray[np.float32]] = []
        for name, shape in reads.items():
            self._reads.append(np.zeros(shape, np.int64 if name == "ids" else np.float32))
            self._binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(self._reads[-1]))  # not a copy
        self._fixed = fixed  # kept, for they are read where they lie
        for name, array in fixed.items():
            self._binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(array))
        for name, shape in says.items():
            place = np.zeros(shape, np.float32)
            self._says.append(place.reshape(1, -1))
            self._binding.bind_ortvalue_output(name, OrtValue.ortvalue_from_numpy(place))

    def step(self, arrays: Sequence[NDArray[Any]]) -> list[NDArray[np.float32]]:
        """What it says to arrays in the order of `reads`: new arrays (1, N), in the order of `says`."""
        with self._lock:
            for place, array in zip(self._reads, arrays, strict=True):
                place[...] = array
            self._session.run_with_iobinding(self._binding)
            return [place.copy() for place in self._says]
