"""Text while it comes: characters are held back until they are whole."""

from fabula.tokens import Decoder, build


def test_a_character_waits_for_its_last_byte() -> None:
    stream = Decoder(build("bytes", []))
    assert [stream.feed(byte) for byte in "né猫".encode()] == ["n", "", "é", "", "", "猫"]
    assert stream.flush() == ""


def test_broken_bytes_become_replacement_characters() -> None:
    stream = Decoder(build("bytes", []))
    assert [stream.feed(byte) for byte in b"\xe7\x8ca\xff"] == ["", "", "\ufffda", "\ufffd"]
    assert stream.feed(0xF0) == ""
    assert stream.flush() == "\ufffd"


def test_the_end_of_a_story_adds_nothing() -> None:
    tokenizer = build("symbols", ["the mice"])
    stream = Decoder(tokenizer)
    assert [stream.feed(token) for token in (tokenizer.end, 0, 1, tokenizer.end, 0)] == ["", "the", " mice", "", " the"]
