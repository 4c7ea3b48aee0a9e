"""Dynamic evaluation: the network learns from each part of a text after it was judged by it; knows no text, no folder.

Source: Krause, Kahembwe, Murray and Renals 2018, arXiv:1709.07432, with mean squares of the text that is read in place
of those of the training text.

Legend: B rows, T time, W window, N predictions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fabula.adaptation import Dynamic
from fabula.evaluation import Ids, segments
from fabula.folder import Model
from fabula.model import LanguageModel
from fabula.optimizers import RMSProp, clip, gradients_of
from fabula.precision import no_denormals

LONGEST = 1.0
"""Longest gradient of an update: a surprise must not undo what was learned before."""


def learn_on(model: Model, streams: Sequence[Ids], options: Dynamic) -> NDArray[np.float32]:
    """Nats of each prediction (N,) of some stories, read in one lane by a network that learns as it reads.

    It is a copy: the model stays as it is.
    """
    config, tokenizer = model.settings.model, model.tokenizer
    network = LanguageModel(config, tokenizer.size, torch.Generator())
    network.load_state_dict({name: torch.tensor(array) for name, array in model.weights.items()})
    parameters: list[Tensor] = list(network.parameters())
    trained = [parameter.detach().clone() for parameter in parameters]
    rule, state, costs = RMSProp(parameters), network.initial_state(1), [np.empty(0, np.float32)]
    with no_denormals():
        for part in segments(streams, tokenizer.end, length=options.length, window=config.window):
            ids, targets = (torch.from_numpy(units) for units in part)  # (1, T), (1, T) or (B, W), (B, 1)
            if config.window:
                state = network.initial_state(len(ids))
            nats, _, state = network.loss(ids, targets, state)
            costs.append(nats.detach().numpy().reshape(-1))
            gradients = gradients_of(nats.mean(), parameters)
            clip(gradients, LONGEST)
            with torch.no_grad():
                rule.step(gradients, options.rate)
                torch._foreach_lerp_(parameters, trained, options.decay)
            state = tuple(memory.detach() for memory in state)
    return np.concatenate(costs)
