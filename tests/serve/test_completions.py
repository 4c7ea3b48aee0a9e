"""Completions as clients get them: the same text as the command writes, probabilities, streams, and errors."""

import codecs
import json
import math
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from fabula.config import SamplingConfig
from fabula.storyteller import Storyteller, load
from fabula.tokens import Decoder

from .conftest import Served, events

UNITS = ["words", "chars", "bytes", "symbols-3"]


@pytest.fixture(scope="module")
def tellers(models: dict[str, Path]) -> dict[str, Storyteller]:
    return {name: load(path) for name, path in models.items()}


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as one:
        yield one


def units_of(teller: Storyteller, prompt: str, count: int, seed: int, **options: Any) -> list[int]:
    """What a story's first units are, the network fed by hand."""
    sampling = SamplingConfig(temperature=1.0, seed=seed, **options)
    ids, (tale,) = teller.begin(prompt, [0], sampling=sampling, words=10_000, until="word")
    engine, state, told = teller.engine, teller.engine.initial_state(1), list[int]()
    for unit in [teller.tokenizer.end, *ids][:-1]:
        state = engine.read(np.array([[unit]]), state)
    latest = [teller.tokenizer.end, *ids][-1]
    while len(told) < count:
        scores, state = engine.step(np.array([latest]), state)
        tale.go_on(scores[0])
        latest = tale.latest
        told.append(latest)
    return told


@pytest.mark.parametrize("model", UNITS)
def test_stories_are_those_of_the_command(client: Any, tellers: dict[str, Storyteller], model: str) -> None:
    prompt = "the mice had a "
    sampling = SamplingConfig(temperature=0.7, top_p=0.9, top_k=40, seed=11, repetition_penalty=1.2)
    for story, until in ((0, None), (1, "word"), (2, "sentence")):
        told = client.completions.create(
            model=model, prompt=prompt, n=3, temperature=0.7, top_p=0.9, seed=11,
            extra_body={"words": 6, "until": until, "top_k": 40, "repetition_penalty": 1.2},
        )  # fmt: skip
        wanted = tellers[model].write(prompt, story=story, words=6, until=until, sampling=sampling)
        assert told.choices[story].text == wanted.text
        assert told.choices[story].finish_reason == "stop"


@pytest.mark.parametrize("model", ["words", "chars", "bytes"])
def test_units_are_those_of_the_command(client: Any, tellers: dict[str, Storyteller], model: str) -> None:
    tokenizer = tellers[model].tokenizer
    for seed in range(5):
        told = client.completions.create(model=model, prompt="the mice", max_tokens=40, seed=seed, temperature=1)
        units = units_of(tellers[model], "the mice", 40, seed)
        ended = tokenizer.end in units
        units = units[: units.index(tokenizer.end)] if ended else units
        decoder = Decoder(tokenizer)
        text = "".join(map(decoder.feed, units)) + (decoder.flush() if ended else "")
        assert told.choices[0].text == text
        assert told.choices[0].finish_reason == ("stop" if ended else "length")
        assert told.usage.completion_tokens == len(units) + ended
        assert told.usage.prompt_tokens == len(tokenizer.encode_prompt("the mice"))


@pytest.mark.parametrize("model", UNITS)
def test_a_stream_tells_the_same(client: Any, model: str) -> None:
    asked = {"model": model, "prompt": "the cat ", "max_tokens": 30, "seed": 2, "n": 2, "logprobs": 2, "echo": True}
    whole = client.completions.create(**asked)
    parts = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert parts[-1].choices == []
    assert parts[-1].usage == whole.usage
    assert all(part.usage is None for part in parts[:-1])
    for place, choice in enumerate(whole.choices):
        own = [part.choices[0] for part in parts[:-1] if part.choices[0].index == place]
        assert "".join(one.text for one in own) == choice.text
        assert [one.finish_reason for one in own[:-1]] == [None] * (len(own) - 1)
        assert own[-1].finish_reason == choice.finish_reason
        for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            joined = [value for one in own for value in getattr(one.logprobs, name)]
            assert joined == getattr(choice.logprobs, name)


@pytest.mark.parametrize("model", UNITS)
def test_probabilities_are_the_network_s(client: Any, tellers: dict[str, Storyteller], model: str) -> None:
    teller, text = tellers[model], "the cat said"
    tokenizer, window = teller.tokenizer, teller.settings.model.window
    (choice,) = client.completions.create(model=model, prompt=text, max_tokens=0, echo=True, logprobs=3).choices
    ids = tokenizer.encode_prompt(text).tolist()
    assert choice.text == text
    assert choice.finish_reason == "length"
    assert choice.logprobs.token_logprobs[0] is None
    assert choice.logprobs.top_logprobs[0] is None
    for place in range(1, len(ids)):
        before = [tokenizer.end, *ids[:place]]
        before = ([tokenizer.end] * window + ids[:place])[-window:] if window else before
        state = teller.engine.read(np.array([before[:-1]]), teller.engine.initial_state(1))
        scores = teller.engine.step(np.array(before[-1:]), state)[0][0]
        assert choice.logprobs.token_logprobs[place] == pytest.approx(float(scores[ids[place]]), abs=1e-5)
        top = choice.logprobs.top_logprobs[place]
        assert max(top.values()) == pytest.approx(float(scores.max()), abs=1e-5)
        assert choice.logprobs.tokens[place] in top
        assert 3 <= len(top) <= 4
    assert all(text[offset:].startswith(token.strip() if model == "symbols-3" else token)
               for token, offset in list(zip(choice.logprobs.tokens, choice.logprobs.text_offset, strict=True))[1:]
               if model != "symbols-3")  # fmt: skip


@pytest.mark.parametrize("model", ["chars", "bytes"])
@pytest.mark.parametrize("echo", [False, True])
def test_offsets_count_characters(client: Any, tellers: dict[str, Storyteller], model: str, echo: bool) -> None:
    prompt = "老鼠 🐭é: "
    (choice,) = client.completions.create(
        model=model, prompt=prompt, max_tokens=60, seed=4, echo=echo, logprobs=1,
        logit_bias={str(tellers[model].tokenizer.end): -100},
    ).choices  # fmt: skip
    told = choice.logprobs
    assert len(told.tokens) == len(told.text_offset) == len(told.token_logprobs)
    assert choice.text.startswith(prompt) == echo
    assert any(token.startswith("bytes:") for token in told.tokens)
    places, text = spelled(told.tokens)
    assert told.text_offset == places
    assert choice.text == text
    assert choice.finish_reason == "length"
    assert len(told.tokens) == 60 + echo * len(tellers[model].tokenizer.encode(prompt))


def spelled(tokens: Sequence[str]) -> tuple[list[int], str]:
    """Where each token begins, and the text of all; half a character at the end is left out."""
    decoder, places, text = codecs.getincrementaldecoder("utf-8")("replace"), list[int](), ""
    for token in tokens:
        places.append(len(text))
        is_part = token.startswith("bytes:")
        text += decoder.decode(bytes.fromhex(token[6:].replace("\\x", "")) if is_part else token.encode())
    return places, text


def test_probabilities_as_the_harness_asks_for_them(client: Any, tellers: dict[str, Storyteller]) -> None:
    """Texts and lists of units, the likelihood of an ending after a beginning, one unit more that is cut off."""
    tokenizer = tellers["words"].tokenizer
    texts = ["the cat said that", "a young mouse got up"]
    ids = [tokenizer.encode_prompt(text).tolist() for text in texts]
    by_text = client.completions.create(model="words", prompt=texts, max_tokens=1, echo=True, logprobs=1, temperature=0)
    by_units = client.completions.create(model="words", prompt=ids, max_tokens=1, echo=True, logprobs=1, temperature=0)
    alone = client.completions.create(model="words", prompt=ids[1], max_tokens=0, echo=True, logprobs=1, temperature=0)
    for one, other in zip(by_text.choices, by_units.choices, strict=True):
        assert one.logprobs.token_logprobs == other.logprobs.token_logprobs
        assert len(one.logprobs.tokens) == len(ids[one.index]) + 1
        assert math.isfinite(sum(one.logprobs.token_logprobs[1:-1]))
    assert by_text.choices[1].logprobs.token_logprobs[:-1] == alone.choices[0].logprobs.token_logprobs
    marked = client.completions.create(
        model="words", prompt=[tokenizer.end, *ids[1]], max_tokens=0, echo=True, logprobs=1
    )
    assert marked.choices[0].logprobs.tokens[0] == "<|end|>"
    assert marked.choices[0].logprobs.token_logprobs[2:] == alone.choices[0].logprobs.token_logprobs[1:]
    assert marked.choices[0].logprobs.token_logprobs[1] < 0


def test_the_best_of_some(client: Any) -> None:
    asked = {"model": "chars", "prompt": "the ", "max_tokens": 12, "seed": 9, "logprobs": 0}
    all_of_them = client.completions.create(**asked, n=8).choices
    best = client.completions.create(**asked, n=2, best_of=8)
    means = [np.mean(one.logprobs.token_logprobs) for one in all_of_them]
    wanted = [all_of_them[place].text for place in np.argsort(means)[::-1][:2]]
    assert [one.text for one in best.choices] == wanted
    assert [one.index for one in best.choices] == [0, 1]
    assert best.usage.completion_tokens > sum(len(one.logprobs.tokens) for one in best.choices)


def test_stop_texts_are_never_shown(client: Any) -> None:
    asked = {"model": "chars", "prompt": "x", "max_tokens": 400, "seed": 1, "logit_bias": {"0": 0}}
    whole = client.completions.create(**asked).choices[0].text
    stop = whole[20:23]
    for stream in (False, True):
        found = client.completions.create(**asked, stop=["never there", stop], stream=stream, logprobs=0)
        choices = [part.choices[0] for part in found] if stream else found.choices
        text = "".join(one.text for one in choices)
        assert text == whole[: whole.find(stop)]
        assert choices[-1].finish_reason == "stop"
        assert spelled([token for one in choices for token in one.logprobs.tokens])[1].startswith(text)
        assert all(place < len(text) for one in choices for place in one.logprobs.text_offset)


def test_biases_and_penalties(client: Any, tellers: dict[str, Storyteller]) -> None:
    tokenizer = tellers["chars"].tokenizer
    a, b = tokenizer.encode("ao").tolist()
    spell_a = [unit for unit in range(tokenizer.size) if tokenizer.spelling(unit) == b"a"]
    assert len(spell_a) == 2, "the character, and the byte"
    asked = {"model": "chars", "prompt": "the ", "max_tokens": 40, "seed": 1}
    only = client.completions.create(**asked, logit_bias={str(a): 100})
    assert only.choices[0].text == "a" * 40
    never = client.completions.create(**asked, n=4, logit_bias=dict.fromkeys(map(str, spell_a), -100))
    assert not any("a" in one.text for one in never.choices)
    both = {"logit_bias": {str(a): 100, str(b): 94}, "temperature": 0}
    assert set(client.completions.create(**asked, **both).choices[0].text) == {"a"}
    often = client.completions.create(**asked, **both, frequency_penalty=2).choices[0].text
    assert set(often) == {"a", "o"}
    assert often.count("a") > often.count("o")
    assert set(client.completions.create(**asked, **both, presence_penalty=2).choices[0].text) == {"a"}


def test_the_copy_guard(client: Any, tellers: dict[str, Storyteller]) -> None:
    told = client.completions.create(
        model="words", prompt="", max_tokens=80, seed=1, temperature=0.01, extra_body={"max_copy": 3}
    )
    copied = tellers["words"].copied(told.choices[0].text)
    assert copied is not None
    assert copied.longest <= 3


def test_a_seed_of_chance_is_another_each_time(client: Any) -> None:
    texts = {client.completions.create(model="chars", prompt="a", max_tokens=40).choices[0].text for _ in range(4)}
    assert len(texts) > 1


def test_chats_go_on_with_the_messages(client: Any) -> None:
    messages = [
        {"role": "system", "content": "Long ago."},
        {"role": "user", "content": [{"type": "text", "text": "the"}]},
    ]
    asked = {"model": "chars", "seed": 6, "max_completion_tokens": 20, "logprobs": True, "top_logprobs": 2}
    reply = client.chat.completions.create(messages=messages, **asked)
    plain = client.completions.create(model="chars", prompt="Long ago.\n\nthe", seed=6, max_tokens=20, logprobs=2)
    message, (choice,) = reply.choices[0].message, plain.choices
    assert (message.role, message.content) == ("assistant", choice.text)
    assert [one.token for one in reply.choices[0].logprobs.content] == choice.logprobs.tokens
    assert [one.logprob for one in reply.choices[0].logprobs.content] == choice.logprobs.token_logprobs
    parts = list(client.chat.completions.create(messages=messages, **asked, stream=True))
    assert "".join(part.choices[0].delta.content or "" for part in parts) == choice.text
    assert parts[0].choices[0].delta.role == "assistant"
    assert parts[-1].choices[0].finish_reason == choice.finish_reason


def test_models_are_told(client: Any, served: Served) -> None:
    assert [one.id for one in client.models.list()] == ["words", "chars", "bytes", "symbols-3"]
    assert client.models.retrieve("chars").owned_by == "fabula"
    with pytest.raises(openai.NotFoundError, match="no such model"):
        client.models.retrieve("gpt")
    with pytest.raises(openai.NotFoundError, match="no such model"):
        client.completions.create(model="gpt", prompt="")
    assert served.post(prompt="").status_code == 404, "of several one must be named"


WRONG = [
    ({"n": 0}, "n"),
    ({"n": 65}, "n"),
    ({"n": True}, "n"),
    ({"n": 1.5}, "n"),
    ({"n": 3, "best_of": 2}, "best_of"),
    ({"best_of": 2, "stream": True}, "best_of"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": "12"}, "max_tokens"),
    ({"temperature": -0.1}, "temperature"),
    ({"top_p": 1.1}, "top_p"),
    ({"stop": ""}, "stop"),
    ({"stop": [""]}, "stop"),
    ({"stop": ["a"] * 17}, "stop"),
    ({"stop": "a" * 257}, "stop"),
    ({"logit_bias": {"x": 1}}, "logit_bias"),
    ({"logit_bias": {"999999": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 101}}, "logit_bias"),
    ({"logit_bias": {"²": 1}}, "logit_bias"),
    ({"logprobs": 21}, "logprobs"),
    ({"prompt": []}, "prompt"),
    ({"prompt": [[]]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [999_999]}, "prompt"),
    ({"prompt": [2**40]}, "prompt"),
    ({"prompt": ["a", 1]}, "prompt"),
    ({"prompt": {"a": 1}}, "prompt"),
    ({"prompt": ["a"] * 129}, "prompt"),
    ({"prompt": ["a"] * 5, "best_of": 64}, "best_of"),
    ({"suffix": "x"}, "suffix"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream_options": {"no": True}, "stream": True}, "stream_options"),
    ({"seed": 2**63}, "seed"),
    ({"max_copy": 2}, "max_copy"),
    ({"until": "dawn"}, "until"),
    ({"words": 0}, "words"),
    ({"model": 5}, "model"),
]


@pytest.mark.parametrize(("wrong", "param"), WRONG, ids=lambda value: str(value)[:40])
def test_what_cannot_be_is_refused_by_name(served: Served, wrong: dict[str, Any], param: str) -> None:
    answer = served.post(**{"model": "chars", "prompt": "a", **wrong})
    error = answer.json()["error"]
    assert answer.status_code == 400, error
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert "\n" not in error["message"]


def test_an_unknown_symbol_is_refused(client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="dragon"):
        client.completions.create(model="symbols-3", prompt="the dragon")


def test_curl_gets_a_stream(served: Served) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("no curl here")
    body = json.dumps({"model": "chars", "prompt": "the", "max_tokens": 5, "stream": True, "seed": 1})
    done = subprocess.run(
        [curl, "-sN", f"{served.url}/v1/completions", "-H", "Content-Type: application/json", "-d", body],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = events(done.stdout)
    assert told[-1]["choices"][0]["finish_reason"] in {"length", "stop"}
    assert {one["object"] for one in told} == {"text_completion"}
    assert len({one["id"] for one in told}) == 1


def test_64_streams_tell_what_each_tells_alone(client: Any, tellers: dict[str, Storyteller]) -> None:
    def ask(number: int) -> str:
        prompt = "the mice " * (number % 7)
        parts = client.completions.create(
            model="chars", prompt=prompt, seed=number, temperature=0.9, stream=True, extra_body={"words": 6}
        )
        return "".join(part.choices[0].text for part in parts)

    with ThreadPoolExecutor(64) as pool:
        together = list(pool.map(ask, range(64)))
    for number in range(0, 64, 3):
        sampling = SamplingConfig(temperature=0.9, seed=number)
        alone = tellers["chars"].write("the mice " * (number % 7), words=6, sampling=sampling)
        assert together[number] == alone.text
    assert len(set(together)) > 50
