"""Where the numbers of one story lie while it is told; knows no network, only what its session reads and says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Floats = NDArray[np.float32]


class Desk:
    """A session that tells one story, without a search for places or a copy: they take a sixth of a step.

    What the network remembers lies in two places; each step goes from one to the other. Not for two threads at once.

    `ids` is the shape of what it reads, `memories` are those of what it remembers by name, `fixed` inputs that never
    change; V units are known.
    """

    def __init__(
        self,
        session: InferenceSession,
        ids: tuple[int, ...],
        memories: Mapping[str, tuple[int, ...]],
        vocabulary: int,
        fixed: Mapping[str, NDArray[Any]] = MappingProxyType({}),
    ) -> None:
        from onnxruntime import OrtValue  # noqa: PLC0415 - takes a tenth of a second to import

        self._session, self._here = session, 0
        self._ids, self._said = np.zeros(ids, np.int64), np.zeros((1, vocabulary), np.float32)
        self._places = [{name: np.zeros(shape, np.float32) for name, shape in memories.items()} for _ in range(2)]
        self._fixed, self._bindings = fixed, [session.io_binding() for _ in range(2)]
        for binding, old, new in zip(self._bindings, self._places, self._places[::-1], strict=True):
            for name, array in {"ids": self._ids, **fixed, **old}.items():
                binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(array))  # not a copy
            binding.bind_ortvalue_output("log_probabilities", OrtValue.ortvalue_from_numpy(self._said))
            for name, array in new.items():
                binding.bind_ortvalue_output(f"{name}.new", OrtValue.ortvalue_from_numpy(array))

    def go_on(self, unit: int) -> Floats:
        """What comes after one unit more: log-probabilities (1, V), which the next step writes over."""
        self._ids[...] = unit
        self._session.run_with_iobinding(self._bindings[self._here])
        self._here = 1 - self._here
        return self._said

    @property
    def state(self) -> tuple[Floats, ...]:
        """A copy of what the network remembers, each (1, N)."""
        return tuple(place.reshape(1, -1).copy() for place in self._places[self._here].values())

    def put(self, state: Iterable[Floats]) -> None:
        """Remember this from now on."""
        for place, array in zip(self._places[self._here].values(), state, strict=True):
            place[...] = array
