"""The article's graph on TensorFlow 2 through compat.v1, written anew: prints accuracy, loss and seconds as JSON.

Runs in an environment of its own (`pip install tensorflow==2.21.0`), called by benchmarks/lesson.py:
python article_tensorflow.py TEXT LAYERS STEPS SEED
"""

import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

HIDDEN, WINDOW, LAST = 512, 3, 1000


def main() -> None:
    text, layers, steps, seed = sys.argv[1], *map(int, sys.argv[2:5])
    words = Path(text).read_text(encoding="utf-8").split()
    ids = {word: number for number, (word, _) in enumerate(Counter(words).most_common())}
    stream = [ids[word] for word in words]
    random.seed(seed)
    v1 = tf.compat.v1
    v1.disable_eager_execution()
    v1.set_random_seed(seed)
    window = v1.placeholder(tf.float32, [None, WINDOW, 1])
    label = v1.placeholder(tf.float32, [None, len(ids)])
    scores = network(v1, tf.unstack(window, axis=1), layers, len(ids))
    cost = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(logits=scores, labels=label))
    step = v1.train.RMSPropOptimizer(learning_rate=0.001).minimize(cost)
    right = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(scores, 1), tf.argmax(label, 1)), tf.float32))
    hits, losses, offset = [], [], random.randint(0, WINDOW + 1)
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        begun = time.perf_counter()
        for _ in range(steps):
            if offset > len(stream) - WINDOW - 1:
                offset = random.randint(0, WINDOW + 1)
            onehot = np.zeros((1, len(ids)), np.float32)
            onehot[0, stream[offset + WINDOW]] = 1
            given = np.reshape(stream[offset : offset + WINDOW], (1, WINDOW, 1))
            _, hit, loss = session.run([step, right, cost], {window: given, label: onehot})
            hits.append(float(hit))
            losses.append(float(loss))
            offset += WINDOW + 1
        seconds = time.perf_counter() - begun
    last = min(LAST, steps)
    print(json.dumps({
        "tensorflow": tf.__version__, "layers": layers, "iterations": steps, "seconds": seconds,
        "accuracy": sum(hits[-last:]) / last, "loss": sum(losses[-last:]) / last,
    }))  # fmt: skip


def network(v1, inputs, layers: int, symbols: int):  # noqa: ANN001, ANN201
    """BasicLSTMCell as TensorFlow 1 defined it (Keras 3 has dropped the class), layer by layer, unrolled."""
    for layer in range(layers):
        size = int(inputs[0].shape[1])
        with v1.variable_scope(f"layer{layer}"):
            kernel = v1.get_variable("kernel", [size + HIDDEN, 4 * HIDDEN], initializer=v1.glorot_uniform_initializer())
            bias = v1.get_variable("bias", [4 * HIDDEN], initializer=v1.zeros_initializer())
        cell = hidden = tf.zeros([tf.shape(inputs[0])[0], HIDDEN])
        outputs = []
        for word in inputs:
            gates = tf.nn.bias_add(tf.matmul(tf.concat([word, hidden], 1), kernel), bias)
            i, j, f, o = tf.split(gates, 4, axis=1)
            cell = cell * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)
            hidden = tf.tanh(cell) * tf.sigmoid(o)
            outputs.append(hidden)
        inputs = outputs
    weights = tf.Variable(v1.random_normal([HIDDEN, symbols]))
    biases = tf.Variable(v1.random_normal([symbols]))
    return tf.matmul(inputs[-1], weights) + biases


if __name__ == "__main__":
    main()
