"""The network without torch: weights -> ONNX graph -> log-probabilities, state in and out; knows no text, no model."""

from fabula.engine.network import Engine, Floats, Integers, State
from fabula.engine.weights import check_weights, expected_shapes

__all__ = ["Engine", "Floats", "Integers", "State", "check_weights", "expected_shapes"]
