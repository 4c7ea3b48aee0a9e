"""One LSTM layer forth and back in another framework, fp32; prints seconds a step as JSON. Knows nothing of fabula.

Gradients of the weights and of the inputs, as a language model needs them. Each framework in the way its manual
recommends: torch.nn.LSTM as it is, keras.layers.LSTM in a tf.function, and in JAX a scan under jit whose product with
the inputs is done for all moments at once.

python benchmarks/peers/lstm_step.py pytorch|tensorflow|jax BATCH TIME EMBEDDING HIDDEN SECONDS
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WARM_UP = 3
"""Steps that prepare and are not counted."""


def pace(step: Callable[[], object], seconds: float) -> float:
    """Median seconds of a step, over so many seconds and at least five steps."""
    taken: list[float] = []
    while len(taken) < WARM_UP + 5 or sum(taken[WARM_UP:]) < seconds:
        begun = time.perf_counter()
        step()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[WARM_UP:])


def numbers(seed: int, *shape: int) -> np.ndarray:
    """Normal random numbers, fp32."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def pytorch(batch: int, moments: int, embedding: int, hidden: int) -> Callable[[], object]:
    import torch

    torch.set_flush_denormal(True)
    cell = torch.nn.LSTM(embedding, hidden, batch_first=True)
    inputs = torch.from_numpy(numbers(0, batch, moments, embedding)).requires_grad_()
    back = torch.from_numpy(numbers(1, batch, moments, hidden))
    wanted = [inputs, *cell.parameters()]
    return lambda: torch.autograd.grad(cell(inputs)[0], wanted, back)


def tensorflow(batch: int, moments: int, embedding: int, hidden: int) -> Callable[[], object]:
    import keras
    import tensorflow as tf

    cell = keras.layers.LSTM(hidden, return_sequences=True)
    inputs = tf.constant(numbers(0, batch, moments, embedding))
    back = tf.constant(numbers(1, batch, moments, hidden))
    cell(inputs)

    @tf.function
    def gradients():  # noqa: ANN202
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = cell(inputs)
        return tape.gradient(outputs, [inputs, *cell.trainable_variables], back)

    return lambda: [gradient.numpy() for gradient in gradients()]


def jax(batch: int, moments: int, embedding: int, hidden: int) -> Callable[[], object]:
    import jax
    from jax import numpy as jnp

    def outputs(weights, inputs):  # noqa: ANN001, ANN202
        from_inputs, from_hidden, bias = weights
        start = jnp.zeros((batch, hidden))

        def moment(state, ahead):  # noqa: ANN001, ANN202
            h, c = state
            i, f, g, o = jnp.split(ahead + h @ from_hidden, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        return jax.lax.scan(moment, (start, start), inputs @ from_inputs + bias)[1]  # (T, B, H)

    @jax.jit
    def gradients(weights, inputs, back):  # noqa: ANN001, ANN202
        return jax.vjp(outputs, weights, inputs)[1](back)

    bound = hidden**-0.5
    shapes = ((embedding, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,))
    weights = tuple(jnp.asarray(numbers(seed, *shape) * bound) for seed, shape in enumerate(shapes))
    inputs, back = jnp.asarray(numbers(0, moments, batch, embedding)), jnp.asarray(numbers(1, moments, batch, hidden))
    return lambda: jax.block_until_ready(gradients(weights, inputs, back))


FRAMEWORKS = {"pytorch": pytorch, "tensorflow": tensorflow, "jax": jax}


def main() -> None:
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    step = FRAMEWORKS[sys.argv[1]](*map(int, sys.argv[2:6]))
    version = metadata.version(sys.argv[1].replace("pytorch", "torch"))
    print(json.dumps({"seconds": pace(step, float(sys.argv[6])), "version": version}))


if __name__ == "__main__":
    main()
