"""The kinds of recurrent layer, by name; knows nothing of words, embeddings or training."""

from fabula.cells.contract import Cell, State
from fabula.cells.gru import GRU
from fabula.cells.lstm import LSTM

CELLS: dict[str, type[Cell]] = {"lstm": LSTM, "gru": GRU}

__all__ = ["CELLS", "GRU", "LSTM", "Cell", "State"]
