"""Bodies: what is JSON in one way only."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.serve.parsing import parse
from fabula.serve.refusals import Refusal

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(VALUES)
def test_what_is_json_is_read(value: object) -> None:
    assert parse(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")) == value


@given(st.binary(max_size=40))
def test_anything_else_is_refused_and_nothing_breaks(data: bytes) -> None:
    try:
        parse(data)
    except Refusal as refusal:
        assert refusal.status_code == 400
        assert refusal.code == "invalid_json"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a": 1, "a": 1}', "twice"),
        (b'[{"b": {"a": 1, "a": 2}}]', "twice"),
        (b"NaN", "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"9" * 5000, "must be JSON"),
        (b"\xff", "UTF-8"),
        (b"\xef\xbb\xbf1", "must be JSON"),
        (b"[" * 100_000, "deep"),
        (b"", "must be JSON"),
        (b"1 2", "must be JSON"),
    ],
)
def test_why(data: bytes, why: str) -> None:
    with pytest.raises(Refusal, match=why):
        parse(data)
