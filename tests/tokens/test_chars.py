"""Characters: ids by falling frequency, bytes for what was never seen."""

from pathlib import Path

from fabula.tokens import build, from_json


def test_ids_follow_frequency_then_first_appearance() -> None:
    tokenizer = build("chars", ["cab", "ba b"])
    assert tokenizer.to_json() == {"unit": "chars", "characters": "bac "}
    assert tokenizer.size == 4 + 256 + 1


def test_unseen_characters_of_every_width_are_spelled_in_bytes() -> None:
    tokenizer = from_json({"unit": "chars", "characters": "ab"})
    assert tokenizer.encode("azéa猫🐱b").tolist() == [
        0, 2 + 0x7A, 2 + 0xC3, 2 + 0xA9, 0, 2 + 0xE7, 2 + 0x8C, 2 + 0xAB, 2 + 0xF0, 2 + 0x9F, 2 + 0x90, 2 + 0xB1, 1,
    ]  # fmt: skip


def test_a_long_text_is_looked_up_in_parts() -> None:
    tokenizer = build("chars", ["ab"])
    text = "ab猫" * 50_000
    ids = tokenizer.encode(text)
    assert len(ids) == 250_000
    assert tokenizer.decode(ids) == text


def test_a_chinese_tale_is_one_id_a_character(shared_data: Path) -> None:
    text = (shared_data / "liaozhai/valid.txt").read_bytes().decode()
    tokenizer = build("chars", [text])
    assert len(tokenizer.encode("刘孝廉,能记前身事。")) == 10
    assert len(tokenizer.encode(text)) < 1.05 * len(text)
