"""What processes say to each other comes out as it went in, and nothing else is understood."""

import io

import numpy as np
import pytest

from fabula.config import TextConfig
from fabula.store.blocks import Block
from fabula.store.messages import receive, send


def told(message: object) -> object:
    stream = io.BytesIO()
    send(stream, message)
    send(stream, "next")
    stream.seek(0)
    found = receive(stream)
    assert receive(stream) == "next"
    return found


def test_all_that_is_said_comes_out_again() -> None:
    block = Block(
        source=2, part=3, kind="texts", paths=("a.txt", "b \udcff.txt"), data=bytes(range(256)), texts=("猫", "\ud800")
    )
    config = TextConfig(unit="words", vocabulary=900, paths=("x",), held_out=1 / 3)
    assert told(["store", ("folder", block, config)]) == ["store", ["folder", block, config]]
    name, (records, counted) = told(("done", ([{"name": "shard", "stories": np.int64(7)}], np.arange(5) ** 30)))
    assert (name, records) == ("done", [{"name": "shard", "stories": 7}])
    assert counted.dtype == np.int64
    assert counted.tolist() == (np.arange(5) ** 30).tolist()


def test_what_has_no_words_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be said: object"):
        send(io.BytesIO(), [object()])


@pytest.mark.parametrize("left", [0, 3, 8, 12])
def test_a_message_that_is_cut_short_is_an_end(left: int) -> None:
    stream = io.BytesIO()
    send(stream, "a long message")
    with pytest.raises(EOFError):
        receive(io.BytesIO(stream.getvalue()[:left]))
