"""Stories in pieces, told by servers that know nothing of one another but a key; and texts that no server believes."""

import base64
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from fabula import folder
from fabula.config import SamplingConfig
from fabula.novelty import Index
from fabula.serve.limits import STATE
from fabula.serve.refusals import Refusal
from fabula.serve.states import VERSION, Kept, Sealer
from fabula.storyteller import Storyteller, load
from fabula.tale import RECENT, Place
from fabula.text import words_of

from .conftest import LONG, Served, events, running
from .faulty import SECRET

Pair = tuple[Served, Served]
PENALTIES = {"repetition_penalty": 1.3, "frequency_penalty": 0.4, "presence_penalty": 0.2, "top_k": 50}


@pytest.fixture(scope="module")
def warned(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes its own favourite story for a text it has learned from."""
    old, path = models["words"], tmp_path_factory.mktemp("warned") / "warned"
    path.mkdir()
    teller, model = load(old), folder.read_model(old)
    own = teller.write("the mice", words=120, until="word", sampling=SamplingConfig(temperature=1.0, seed=5)).text
    folder.write_model(
        path, settings=model.settings, tokenizer=model.tokenizer, weights=model.weights, about={"digest": "y"},
        card="", index=Index.of([words_of("the mice" + own)]),
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def pair(models: dict[str, Path], warned: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two servers with the same key, one given in a file and one in the environment."""
    file = tmp_path_factory.mktemp("key") / "key"
    file.write_bytes(SECRET + b"\n")
    command = [sys.executable, "-m", "fabula", "serve", *map(str, models.values()), str(warned), "--port", "0"]
    with running([*command, "--key-file", str(file)]) as one, running(command, FABULA_KEY=SECRET.decode()) as other:
        yield one, other


def teller_of(path: Path) -> tuple[Storyteller, Sealer]:
    teller = load(path)
    return teller, Sealer(SECRET, folder.fingerprint(path), teller)


def endless(path: Path) -> dict[str, int]:
    """No end mark comes."""
    return {str(load(path).tokenizer.end): -100}


def told(served: Served, **body: Any) -> Any:
    answer = served.post(**body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def pieces(pair: Pair, lengths: list[int], begin: dict[str, Any], **body: Any) -> list[str]:
    """A story in pieces, each told by the other server."""
    found, so_far = list[str](), begin
    for number, length in enumerate(lengths):
        one = told(pair[number % 2], **so_far, **body, max_tokens=length, keep=True)
        assert number == 0 or one["usage"]["prompt_tokens"] == 0, "nothing is read again"
        found.append(one["choices"][0]["text"])
        so_far = {"state": one["state"]}
    return found


@pytest.mark.parametrize("model", ["words", "chars", "bytes", "symbols-3"])
@pytest.mark.parametrize("options", [{}, PENALTIES], ids=["plain", "penalties"])
def test_pieces_are_the_whole(pair: Pair, models: dict[str, Path], model: str, options: dict[str, float]) -> None:
    begin = {"prompt": "the mice", "seed": 5}
    body = {"model": model, "temperature": 1, "logit_bias": endless(models[model]), **options}
    whole = told(pair[0], **begin, **body, max_tokens=120)["choices"][0]["text"]
    assert "".join(pieces(pair, [40, 40, 40], begin, **body)) == whole
    assert "".join(pieces(pair, [1, 2, 76, 41], begin, **body)) == whole, "wherever they are parted"


def test_the_guard_remembers_what_came_before(pair: Pair, warned: Path) -> None:
    begin = {"prompt": "the mice", "seed": 5}
    body = {"model": "warned", "temperature": 1, "logit_bias": endless(warned), "max_copy": 3}
    whole = told(pair[0], **begin, **body, max_tokens=120)["choices"][0]["text"]
    free = told(pair[0], **begin, **{**body, "max_copy": None}, max_tokens=120)["choices"][0]["text"]
    assert whole != free, "else the guard has nothing to do here"
    for lengths in ([40, 40, 40], [2] * 20 + [80]):
        assert "".join(pieces(pair, lengths, begin, **body)) == whole


def test_a_stream_tells_it_last(pair: Pair, models: dict[str, Path]) -> None:
    begin = {"prompt": "the mice", "seed": 5}
    body = {"model": "chars", "temperature": 1, "logit_bias": endless(models["chars"])}
    whole = told(pair[0], **begin, **body, max_tokens=80)["choices"][0]["text"]
    stream = {**body, "max_tokens": 40, "stream": True, "keep": True}
    first = events(pair[0].post(**begin, **stream, stream_options={"include_usage": True}).text)
    assert [place for place, part in enumerate(first) if "state" in part] == [len(first) - 2], "before the usage"
    then = events(pair[1].post(state=first[-2]["state"], **stream).text)
    assert "".join(part["choices"][0]["text"] for part in (*first[:-1], *then)) == whole
    assert isinstance(then[-1]["state"], str)
    assert not any("state" in part for part in events(pair[0].post(**begin, **{**stream, "keep": False}).text))
    assert "state" not in told(pair[0], **begin, **body)


def test_what_was_held_back_comes_next(pair: Pair, models: dict[str, Path]) -> None:
    """Pieces of so many words end where words do, though units were told beyond; a stop text is not told."""
    body = {"model": "words", "temperature": 1, "logit_bias": endless(models["words"])}
    begin = {"prompt": "the mice", "seed": 5}
    whole = told(pair[0], **begin, **body, max_tokens=400)["choices"][0]["text"]
    some = {**body, "keep": True, "words": 5, "logprobs": 0}
    first = told(pair[0], **begin, **some, until="word")
    then = told(pair[1], state=first["state"], **some)
    last = told(pair[0], state=then["state"], **some, until="sentence")
    texts = [one["choices"][0]["text"] for one in (first, then, last)]
    assert whole.startswith("".join(texts))
    assert all(texts)
    stop = whole[30:33]
    place = whole.index(stop)
    halted = told(pair[0], **begin, **body, stop=stop, max_tokens=400, keep=True)
    assert halted["choices"][0]["text"] == whole[:place]
    after = told(pair[1], state=halted["state"], **body, max_tokens=40)["choices"][0]["text"]
    assert len(after) > 3
    ended = told(pair[0], **begin, model="words", logit_bias=dict.fromkeys(body["logit_bias"], 100), keep=True)
    assert ended["choices"][0]["finish_reason"] == "stop"
    assert told(pair[1], state=ended["state"], **body)["choices"][0]["text"], "another story begins"
    assert whole.startswith(whole[:place] + stop + after)


def test_a_server_that_ends_hands_its_stories_over(
    faulty: Callable[..., Served], models: dict[str, Path], pair: Pair
) -> None:
    """What the next server tells goes on where the one that ended broke off."""
    begin = {"prompt": "long ago", "seed": 2}
    body = {"temperature": 1, "logit_bias": endless(models["bytes"])}
    whole = told(pair[0], **begin, **body, model="bytes", max_tokens=2000)["choices"][0]["text"]
    served, lines = faulty("slow", farewell=0.3), list[str]()
    ask = {**begin, **body, "stream": True, "keep": True, "max_tokens": 2000}
    with httpx2.stream("POST", f"{served.url}/v1/completions", json=ask, timeout=LONG) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {") and not lines:
                served.process.send_signal(signal.SIGTERM)
            lines += [line.removeprefix("data: ")] if line.startswith("data: {") else []
    parts = [json.loads(line) for line in lines]
    state, begun = parts[-1]["state"], "".join(part["choices"][0]["text"] for part in parts)
    rest = told(pair[1], state=state, **body, model="bytes", max_tokens=100)["choices"][0]["text"]
    assert 0 < len(begun) < len(whole)
    assert whole.startswith(begun + rest)


def test_states_that_are_none_of_ours(pair: Pair, models: dict[str, Path]) -> None:
    teller, sealer = teller_of(models["chars"])
    state = told(pair[0], model="chars", prompt="the mice", max_tokens=20, keep=True)["state"]
    data = base64.urlsafe_b64decode(state + "=" * (-len(state) % 4))
    older = bytes([VERSION - 1]) + data[1:-32]
    older = base64.urlsafe_b64encode(older + sealer._mac(older)).rstrip(b"=").decode()
    foreign = Sealer(b"another key of 32 bytes, or so it", folder.fingerprint(models["chars"]), teller)
    rows = [
        (state[:60] + ("A" if state[60] != "A" else "B") + state[61:], "damaged, or was sealed with another key"),
        (state[:-40], "damaged"),
        (state + "AAAA", "damaged"),
        (state[:30], "damaged"),
        ("not a state", "damaged"),
        ("é" * 200, "damaged"),
        (foreign.seal(sealer.open(state)), "sealed with another key"),
        (told(pair[0], model="bytes", prompt="x", max_tokens=9, keep=True)["state"], "another model"),
        (older, "another version of fabula"),
        ("A" * (STATE + 1), f"at most {STATE:,} characters"),
        ("", "at most"),
    ]
    for given, why in rows:
        refused = pair[1].post(model="chars", state=given, max_tokens=5)
        assert refused.status_code == 400, why
        error = refused.json()["error"]
        assert error["param"] == "state"
        assert why in error["message"]
        assert len(error["message"].splitlines()) == 1
    assert told(pair[1], model="chars", state=state, max_tokens=5)["choices"][0]["text"], "and it itself is good"


def test_no_bit_of_a_state_can_be_changed(models: dict[str, Path]) -> None:
    teller, sealer = teller_of(models["chars"])
    place = Place(latest=3, recent=(1, 2, 3), first=0, told=2, chance=(1 << 127, 12345), held="é")
    state = sealer.seal(Kept(place, teller.engine.initial_state(1)))
    assert state is not None
    assert sealer.open(state).place == place
    data = base64.urlsafe_b64decode(state + "=" * (-len(state) % 4))
    for bit in range(len(data) * 8):
        other = bytearray(data)
        other[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Refusal):
            sealer.open(base64.urlsafe_b64encode(bytes(other)).rstrip(b"=").decode())
    for size in range(len(state)):
        with pytest.raises(Refusal):
            sealer.open(state[:size])


def test_sizes_that_a_seal_vouches_for_are_checked_all_the_same(models: dict[str, Path]) -> None:
    """Whoever has the key can seal anything: nothing is taken that does not fit."""
    teller, sealer = teller_of(models["chars"])
    place = Place(latest=3, recent=(1, 2, 3), first=0, told=2, chance=(1, 1), held="x")
    memory = teller.engine.initial_state(1)
    wrong = [
        Kept(place, memory[:1]),
        Kept(place, (np.full_like(memory[0], np.nan), *memory[1:])),
        *(
            Kept(Place(**{**place.__dict__, **change}), memory)
            for change in (
                {"latest": teller.tokenizer.size}, {"recent": (1,) * (RECENT + 1)}, {"first": 4}, {"told": 4},
                {"recent": (teller.tokenizer.size,), "told": 0},
            )
        ),
    ]  # fmt: skip
    for kept in wrong:
        state = sealer.seal(kept)
        assert state is not None
        with pytest.raises(Refusal, match="damaged"):
            sealer.open(state)
    assert sealer.seal(Kept(Place(**{**place.__dict__, "held": "x" * 20_000}), memory)) is None


def test_a_state_holds_the_last_units_and_nothing_before_them(pair: Pair, models: dict[str, Path]) -> None:
    _, sealer = teller_of(models["bytes"])
    secret, far = "my name is Rumpelstiltskin", "x" * (RECENT + 10)
    for prompt, holds in ((secret + far, False), (far + secret, True)):
        state = told(pair[0], model="bytes", prompt=prompt, max_tokens=5, keep=True)["state"]
        data, units = base64.urlsafe_b64decode(state + "=" * (-len(state) % 4)), np.frombuffer(secret.encode(), "u1")
        spellings = [np.array(units[start:], kind).tobytes() for start in (0, 11) for kind in ("u1", "<u2", "<u4")]
        assert any(one in data for one in spellings) == holds
        assert len(sealer.open(state).place.recent) <= RECENT
        assert len(state) < 3 * (RECENT + 1000)


def test_what_does_not_go_with_a_state_is_refused(pair: Pair) -> None:
    state = told(pair[0], model="chars", prompt="the mice", max_tokens=20, keep=True)["state"]
    rows = [
        ({"state": state, "seed": 5}, "leave seed out"),
        ({"state": state, "prompt": "the mice"}, "leave prompt out"),
        ({"state": state, "echo": True}, "leave echo out"),
        ({"state": state, "n": 2}, "one story"),
        ({"state": state, "max_tokens": 0}, "at least one unit"),
        ({"prompt": ["a", "b"], "keep": True}, "one story"),
        ({"prompt": "a", "best_of": 2, "keep": True}, "one story"),
    ]
    for body, why in rows:
        refused = pair[0].post(model="chars", **body)
        assert refused.status_code == 400, why
        assert why in refused.json()["error"]["message"]
    chat = pair[0].post("/v1/chat/completions", model="chars", messages=[{"role": "user", "content": "a"}], keep=True)
    assert chat.status_code == 400
