"""Desks with networks of random weights, in every unit: what the model says is nonsense, but the same nonsense."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fabula.config import SamplingConfig, resolve
from fabula.engine import expected_shapes
from fabula.storyteller import Storyteller
from fabula.table import Desk, Table
from fabula.tokens import Tokenizer, build

TEXT = (
    "the fox said: don't go. 老鼠说，猫来了。 The hen, the mouse and the owl went home — “no”, she said!\n\n"
    "It rained. ที่นี่ "
)
TEXTS = {"symbols": "the fox said : do n't go . the hen , the mouse and the owl went home ! it rained ."}


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, Tokenizer]:
    return {
        unit: build(unit, [TEXTS.get(unit, TEXT * 30)]) for unit in ("symbols", "words", "subwords", "chars", "bytes")
    }


@pytest.fixture(scope="session")
def desk_of(tokenizers: dict[str, Tokenizer]) -> Callable[..., Desk]:
    """Makes a desk of a unit; `window` units are seen, all without one; `spread` makes the network surer of itself."""

    def make(unit: str, *, window: int = 0, spread: float = 0.5, table: Table | None = None, **sampling: Any) -> Desk:
        tokenizer = tokenizers[unit]
        model = {
            "cell": "lstm", "layers": 2, "hidden": 12, "embedding": 6, "head": "full", "dropout": 0.0, "window": window,
        }  # fmt: skip
        settings, rng = resolve({"model": model}), np.random.default_rng(1)
        shapes = expected_shapes(settings.model, tokenizer.size)
        weights = {name: rng.normal(0, spread, shape).astype(np.float32) for name, shape in shapes.items()}
        how = SamplingConfig(**{"temperature": 1.0, **sampling})
        return Desk(Storyteller(settings, tokenizer, weights), table or Table(), how)

    return make
