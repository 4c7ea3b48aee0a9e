"""Which parts of a network learn, how fast, and what they begin with when there is a model to start from.

The parts are `embedding`, `cells.0`, `cells.1`, ... and `head`. Knows no text and no loop.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabula import inheritance
from fabula.config import TrainingConfig
from fabula.corpus import Corpus, encode
from fabula.errors import UsageError
from fabula.evaluation import measure
from fabula.inheritance import Ancestor, Past
from fabula.model import LanguageModel, NumpyScorer
from fabula.optimizers import OPTIMIZERS, Memory, Optimizer


class Layered:
    """An update rule for each layer, with its own share of the learning rate; is used as an `Optimizer` is.

    Source: Howard and Ruder 2018 (discriminative fine-tuning).
    """

    def __init__(self, rules: Sequence[tuple[float, Optimizer]]) -> None:
        self._rules = rules
        self.parameters: list[Tensor] = [parameter for _, rule in rules for parameter in rule.parameters]
        self.state: Memory = {
            f"{number}.{slot}": values for number, (_, rule) in enumerate(rules) for slot, values in rule.state.items()
        }

    def step(self, gradients: list[Tensor], lr: float) -> None:
        """One update by gradients in the order of `parameters`."""
        rest = iter(gradients)
        for share, rule in self._rules:
            rule.step(list(islice(rest, len(rule.parameters))), lr * share)


def part_of(name: str) -> str:
    """The part that a parameter belongs to.

    >>> part_of("cells.1.weight_ih"), part_of("head.bias")
    ('cells.1', 'head')
    """
    first, second = name.split(".")[:2]
    return f"{first}.{second}" if first == "cells" else first


def freeze(model: LanguageModel, parts: Sequence[str]) -> None:
    """Keep parts of a network as they are; errors: UsageError for an unknown part, or when nothing is left to learn."""
    named = list(model.named_parameters())
    there = list(dict.fromkeys(part_of(name) for name, _ in named))
    for part in parts:
        if part not in there:
            raise UsageError(f"training.freeze must name parts of the network ({', '.join(there)}), got {part[:60]!r}")
    for name, parameter in named:
        if part_of(name) in parts:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for _, parameter in named):
        raise UsageError(f"training.freeze must leave a part to learn, got all of {', '.join(there)}: name fewer")


def optimizer_for(model: LanguageModel, training: TrainingConfig) -> Optimizer | Layered:
    """The update rule for all that learns; each lower layer learns with `layer_decay` times the rate of the one above.

    Word vectors that are the output's weights too are no lower layer: they learn as fast as the head.
    """
    rule, learned = OPTIMIZERS[training.optimizer], [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    if training.layer_decay == 1:
        return rule([parameter for _, parameter in learned], weight_decay=training.weight_decay)
    layers = len(model.layers)
    depths = {"head": 0, **{f"cells.{index}": layers - index for index in range(layers)}}
    depths["embedding"] = depths["ngrams"] = layers + 1 if model.config.head == "full" else 0
    groups: dict[int, list[Tensor]] = {}
    for name, parameter in learned:
        groups.setdefault(depths[part_of(name)], []).append(parameter)
    return Layered(
        [
            (training.layer_decay**depth, rule(group, weight_decay=training.weight_decay))
            for depth, group in sorted(groups.items())
        ]
    )


def begin_from(ancestor: Ancestor, model: LanguageModel, corpus: Corpus, seed: int) -> str:
    """Give a new network what the old one knows; returns a sentence on how much that is."""
    old, new = ancestor.model.tokenizer, corpus.tokenizer
    source = inheritance.sources(old, new)
    if model.config.head == "adaptive":
        counts = corpus.train.streams.frequencies(new.end)
        model.set_counts(inheritance.expected_counts(counts, ancestor, source))
    fresh = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
    model.load_state_dict(_tensors(inheritance.inherit(ancestor, source, fresh, seed)))
    return f"inherited {int((source >= 0).sum()):,} of {new.size:,} units from {ancestor.path}"


def look_back(ancestor: Ancestor, corpus: Corpus, most: int) -> tuple[Past | None, str]:
    """How well the old model foretells `most` units of the stories it had kept aside, and a sentence on it."""
    kept = inheritance.stories_kept(ancestor, most)
    if isinstance(kept, str):
        return None, f"what {ancestor.path} could do before cannot be measured: {kept}"
    old, shape = ancestor.model.tokenizer, ancestor.model.settings.model
    model = LanguageModel(replace(shape, dropout=0.0), old.size, torch.Generator())
    model.load_state_dict(_tensors(ancestor.model.weights))
    part, began = encode(kept, old), time.perf_counter()
    part = part.backwards() if corpus.backward else part
    found = measure(NumpyScorer(model), part.streams, old.end, part.counts, window=shape.window).bits_per_byte
    past = Past(stories=corpus.encoded(kept), bits_per_byte=found, seconds=time.perf_counter() - began)
    return past, f"{ancestor.path} needs {found:.3f} bits per byte for stories it had kept aside"


def _tensors(weights: inheritance.Weights | dict[str, NDArray[np.generic]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
