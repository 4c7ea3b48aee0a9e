"""A model to start from: what the new one takes over, what it refuses, and what is said of the old stories."""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import fabula
from fabula import clusters, folder, inheritance, tuning
from fabula.config import TrainingConfig
from fabula.corpus import prepare
from fabula.errors import FolderError, UsageError
from fabula.events import Began, Event, Stepped
from fabula.inheritance import read_ancestor, sources
from fabula.model import LanguageModel
from fabula.outcome import Outcome
from fabula.tokens import build, from_json

SMALL = {"hidden": 12, "embedding": 6}
BEASTS = ("fox", "hen", "mouse", "bear", "owl")


Teller = Callable[[Path, Sequence[str], Sequence[str]], Path]


@pytest.fixture
def old_text(tmp_path: Path, tell_tales: Teller) -> Path:
    return tell_tales(tmp_path / "old.txt", BEASTS, [f"the mill {number}" for number in range(7)])


@pytest.fixture
def new_text(tmp_path: Path, tell_tales: Teller) -> Path:
    places = [f"Ÿppa’s Jungle {number}" for number in range(7)]
    return tell_tales(tmp_path / "new.txt", ("zebra", "hen", "quail", "bear", "yak"), places)


def learn(
    paths: Path, out: Path, steps: int = 3, listeners: tuple = (), /, *, size: str | None = None, **given: dict
) -> Outcome:
    settings = {name: dict(fields) for name, fields in given.items()}
    plan = {"threads": 1, "steps": steps, "batch": 4, "length": 16, "evaluations": 1}
    settings["training"] = {**plan, **settings.get("training", {})}
    return fabula.train(paths, out, size=size, settings=settings, listeners=listeners)


def begin(text: Path, out: Path, unit: str = "chars", **model: object) -> Path:
    learn(text, out, text={"unit": unit}, model={**SMALL, **model})
    return out


def weights_at_start(old: Path, text: Path) -> tuple[inheritance.Ancestor, LanguageModel, np.ndarray, str]:
    """The new network before its first step."""
    ancestor = read_ancestor(str(old))
    corpus = inheritance.prepare_with(
        ancestor, fabula.config.TextConfig(paths=(str(text),), unit=ancestor.model.tokenizer.unit)
    )
    model = LanguageModel(ancestor.model.settings.model, corpus.tokenizer.size, torch.Generator().manual_seed(5))
    said = tuning.begin_from(ancestor, model, corpus, seed=1)
    return ancestor, model, sources(ancestor.model.tokenizer, corpus.tokenizer), said


@pytest.mark.parametrize("unit", ["symbols", "words", "chars"])
def test_new_units_come_after_the_old_ones_which_all_stay(
    old_text: Path, new_text: Path, tmp_path: Path, unit: str
) -> None:
    ancestor = read_ancestor(str(begin(old_text, tmp_path / "old", unit)))
    text = fabula.config.TextConfig(paths=(str(new_text),), unit=unit)
    corpus, plain = inheritance.prepare_with(ancestor, text), prepare(text)
    old, new = ancestor.model.tokenizer, corpus.tokenizer
    spelled = {new.spelling(token) for token in range(new.size)}
    assert {old.spelling(token) for token in range(old.size)} < spelled
    assert {plain.tokenizer.spelling(token) for token in range(plain.tokenizer.size)} <= spelled
    assert corpus.train.counts == plain.train.counts
    story = corpus.train.streams[0]
    assert new.decode(story) == plain.tokenizer.decode(plain.train.streams[0])
    assert (new.encode(new.decode(story)) == story).all() or not new.lossless


@pytest.mark.parametrize("unit", ["subwords", "bytes"])
def test_units_that_spell_everything_stay_as_they_are(
    old_text: Path, new_text: Path, tmp_path: Path, unit: str
) -> None:
    ancestor, model, source, said = weights_at_start(begin(old_text, tmp_path / "old", unit), new_text)
    assert (source == np.arange(len(source))).all()
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), ancestor.model.weights[name])
    assert f"inherited {len(source):,} of {len(source):,} units" in said


@pytest.mark.parametrize("head", ["full", "tied", "adaptive"])
def test_the_same_text_gives_the_old_network_bit_for_bit(old_text: Path, tmp_path: Path, head: str) -> None:
    ancestor, model, _, _ = weights_at_start(begin(old_text, tmp_path / "old", head=head), old_text)
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), ancestor.model.weights[name])


@pytest.mark.parametrize("head", ["full", "tied", "adaptive"])
@pytest.mark.parametrize("unit", ["words", "chars"])
def test_rows_follow_the_spelling(old_text: Path, new_text: Path, tmp_path: Path, unit: str, head: str) -> None:
    ancestor, model, source, said = weights_at_start(begin(old_text, tmp_path / "old", unit, head=head), new_text)
    old, new = ancestor.model.weights, {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    kept = source >= 0
    assert 0 < kept.sum() < len(kept)
    assert f"inherited {kept.sum():,} of {len(kept):,} units" in said
    assert source[-1] == ancestor.model.tokenizer.end
    np.testing.assert_array_equal(new["embedding.weight"][kept], old["embedding.weight"][source[kept]])
    for name in ("cells.0.weight_ih", "cells.0.bias_hh"):
        np.testing.assert_array_equal(new[name], old[name])
    if head == "full":
        np.testing.assert_array_equal(new["head.weight"][kept], old["head.weight"][source[kept]])
    else:
        np.testing.assert_array_equal(new["head.projection.weight"], old["head.projection.weight"])
    if head != "adaptive":
        np.testing.assert_array_equal(new["head.bias"][kept], old["head.bias"][source[kept]])
        spread = old["embedding.weight"].std(axis=0)
        assert (np.abs(new["embedding.weight"][~kept] - old["embedding.weight"].mean(axis=0)) < spread).all()
    assert len(np.unique(new["embedding.weight"][~kept], axis=0)) == (~kept).sum()


def test_the_adaptive_layer_keeps_rows_where_units_stay_and_directions_where_they_move(
    old_text: Path, new_text: Path, tmp_path: Path
) -> None:
    ancestor, model, source, _ = weights_at_start(begin(old_text, tmp_path / "old", "words", head="adaptive"), new_text)
    old, new = ancestor.model.weights, {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    assert sorted(new["head.places"]) == list(range(len(source)))
    before, after = (clusters.tails(len(w["head.places"]), 12) for w in (old, new))

    def home(tails: list, rank: int) -> int:
        return sum(rank >= tail.start for tail in tails) - 1

    stayed = moved = 0
    for token, was in enumerate(source):
        if was < 0:
            continue
        rank, former = int(new["head.places"][token]), int(old["head.places"][was])
        here, there = home(after, rank), home(before, former)
        if here == there == -1:
            assert new["head.bias"][rank] == old["head.bias"][former]
        elif here == there:
            stayed += 1
            for kind in ("weight", "bias"):
                row, own = rank - after[here].start, former - before[there].start
                np.testing.assert_array_equal(
                    new[f"head.tails.{here}.{kind}"][row], old[f"head.tails.{there}.{kind}"][own]
                )
        elif here >= 0 and there >= 0:
            moved += 1
            p, q = (w[f"head.tails.{n}.projection"] for w, n in ((new, here), (old, there)))
            wanted = old[f"head.tails.{there}.weight"][former - before[there].start] @ q
            found = new[f"head.tails.{here}.weight"][rank - after[here].start]
            best, *_ = np.linalg.lstsq(p.T, wanted, rcond=None)
            np.testing.assert_allclose(found, best, atol=1e-4)
    assert stayed
    assert moved


def test_the_adaptive_layer_puts_common_words_of_both_texts_first(
    old_text: Path, new_text: Path, tmp_path: Path
) -> None:
    old = begin(old_text, tmp_path / "old", "words", head="adaptive")
    ancestor, model, source, _ = weights_at_start(old, new_text)
    places = model.state_dict()["head.places"].numpy()
    ranks = ancestor.model.weights["head.places"]
    for word in (b" fox", b" said"):  # the fox is in the old text alone
        token = next(token for token in range(len(source)) if ancestor.model.tokenizer.spelling(source[token]) == word)
        assert places[token] < 70
    never = places[source >= 0][ranks[source[source >= 0]] > 0.9 * len(ranks)]
    assert np.median(never) > len(places) / 4


def test_a_character_and_a_byte_of_one_spelling_are_told_apart() -> None:
    old, new = build("chars", ["abba"], None), build("chars", ["abcba"], None)
    found = sources(old, new)
    spelled = {token: new.spelling(token) for token in range(new.size)}
    first = {spelling: token for token, spelling in reversed(spelled.items())}
    byte_c = 2 + ord("c")
    assert found[first[b"c"]] == byte_c
    assert found[first[b"a"]] == old.encode("a")[0] == 0 or old.spelling(found[first[b"a"]]) == b"a"
    assert found[3 + ord("a")] == 2 + ord("a")
    assert found[3 + ord("c")] == byte_c
    assert found[new.end] == old.end


def test_counts_of_words_add_up_and_a_limit_holds_new_words_off(old_text: Path, new_text: Path, tmp_path: Path) -> None:
    ancestor = read_ancestor(str(begin(old_text, tmp_path / "old", "words")))
    old = ancestor.model.tokenizer
    text = fabula.config.TextConfig(paths=(str(new_text),), unit="words", vocabulary=old.size + 2)
    assert inheritance.prepare_with(ancestor, text).tokenizer.size == old.size + 2
    joined = inheritance.prepare_with(ancestor, replace(text, vocabulary=None)).tokenizer.to_json()
    counted = dict(zip(joined["pieces"], joined["counts"], strict=True))
    before = dict(zip(old.to_json()["pieces"], old.to_json()["counts"], strict=True))
    assert counted[" said"] > before[" said"] > 0
    assert from_json(joined).encode(" quail").tolist() == [list(counted).index(" quail")]


def test_it_starts_better_than_from_nothing_and_says_what_it_forgot(
    old_text: Path, new_text: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    first = learn(old_text, old, 60, text={"unit": "chars"}, model=SMALL, training={"lr": 0.02})
    before = {path.name: path.read_bytes() for path in old.iterdir() if path.is_file()}
    heard: list[Event] = []
    start = {"from_model": str(old)}
    new = learn(new_text, tmp_path / "new", 4, (heard.append,), training=start)
    plain = learn(new_text, tmp_path / "plain", 4, model=SMALL, text={"unit": "chars"})
    assert new.held_out
    assert plain.held_out
    assert new.held_out.bits_per_byte < plain.held_out.bits_per_byte
    assert first.held_out
    assert new.old_held_out_before == pytest.approx(first.held_out.bits_per_byte, rel=1e-5)
    assert new.old_held_out
    assert new.old_held_out != new.old_held_out_before
    assert plain.old_held_out is plain.old_held_out_before is None
    assert {path.name: path.read_bytes() for path in old.iterdir() if path.is_file()} == before
    about = folder.read_model(tmp_path / "new").about
    assert about["old_held_out_bits_per_byte"] == pytest.approx(new.old_held_out)
    assert about["from_model"] == str(old)
    card = (tmp_path / "new" / "README.md").read_text(encoding="utf-8")
    assert f"{new.old_held_out:.3f} bits per byte, {new.old_held_out_before:.3f} before" in card
    again = fabula.evaluate(tmp_path / "new", new_text)
    assert again.bits_per_byte > 0
    notes = next(event.notes for event in heard if isinstance(event, Began))
    assert any(note.startswith("inherited ") for note in notes)
    assert any("a third of a new model's" in note for note in notes)
    assert any(f"needs {new.old_held_out_before:.3f} bits per byte" in note for note in notes)
    shape = folder.read_model(tmp_path / "new").settings.model
    assert (shape.hidden, shape.embedding, shape.head) == (12, 6, "full")


def test_what_it_still_knows_is_what_evaluate_finds(old_text: Path, new_text: Path, tmp_path: Path) -> None:
    """Old stories of one's own, measured by the training with torch and by `evaluate` without it."""
    kept = tmp_path / "kept.txt"
    kept.write_text("A hen went to the mill.\nThere it met an owl, said the fox.", encoding="utf-8")
    fabula.train(
        old_text, tmp_path / "old", held_out=kept,
        settings={"training": {"threads": 1, "steps": 3}, "text": {"unit": "words"}, "model": SMALL},
    )  # fmt: skip
    new = learn(new_text, tmp_path / "new", training={"from_model": str(tmp_path / "old")})
    for name, figure in (("old", new.old_held_out_before), ("new", new.old_held_out)):
        assert fabula.evaluate(tmp_path / name, kept).bits_per_byte == pytest.approx(figure, rel=1e-5)


def test_a_long_look_back_is_cut(old_text: Path, new_text: Path, tmp_path: Path) -> None:
    ancestor = read_ancestor(str(begin(old_text, tmp_path / "old")))
    everything, some = (inheritance.stories_kept(ancestor, most) for most in (10**6, 300))
    assert sum(len(story.text) for story in some) == 300
    assert [story.text for story in some[:-1]] == [story.text for story in everything[: len(some) - 1]]
    assert everything[len(some) - 1].text.startswith(some[-1].text)


def notes_of(text: Path, out: Path, old: Path) -> tuple[Outcome, str]:
    heard: list[Event] = []
    outcome = learn(text, out, 2, (heard.append,), training={"from_model": str(old)})
    return outcome, "\n".join(next(event.notes for event in heard if isinstance(event, Began)))


def test_an_old_text_that_is_gone_or_changed_is_a_note(old_text: Path, new_text: Path, tmp_path: Path) -> None:
    old = begin(old_text, tmp_path / "old")
    text = old_text.read_text(encoding="utf-8")
    old_text.write_text(text.replace("fox", "wolf"), encoding="utf-8")
    outcome, said = notes_of(new_text, tmp_path / "changed", old)
    assert "cannot be measured: its text has changed" in said
    assert outcome.old_held_out is None
    old_text.unlink()
    assert "cannot be measured: its text is not where it was" in notes_of(new_text, tmp_path / "gone", old)[1]
    (old / "training.toml").write_text("[text]\npaths = 3\n")
    assert "cannot be measured: its text cannot be read again" in notes_of(new_text, tmp_path / "odd", old)[1]


def test_a_model_learned_by_heart_kept_nothing_aside(fable: Path, new_text: Path, tmp_path: Path) -> None:
    learn(fable, tmp_path / "old", model=SMALL)
    outcome, said = notes_of(new_text, tmp_path / "new", tmp_path / "old")
    assert "cannot be measured: it kept no stories aside" in said
    assert "unit: symbols (as in" in said
    assert outcome.to_json()["old_held_out_bits_per_byte"] is None


@pytest.mark.parametrize("head", ["full", "adaptive"])
def test_a_seed_repeats_and_training_toml_too(old_text: Path, new_text: Path, tmp_path: Path, head: str) -> None:
    start = {"from_model": str(begin(old_text, tmp_path / "old", "words", head=head))}
    for name in ("one", "two"):
        learn(new_text, tmp_path / name, training=start)
    fabula.train(out=tmp_path / "three", settings=fabula.config.from_toml(tmp_path / "one" / "training.toml"))
    learn(new_text, tmp_path / "four", training={**start, "seed": 2})
    one, two, three, four = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two", "three", "four")
    )
    assert one == two == three
    assert one != four


@pytest.mark.parametrize("head", ["full", "adaptive"])
def test_it_goes_on_exactly_without_the_old_folder(old_text: Path, new_text: Path, tmp_path: Path, head: str) -> None:
    old = begin(old_text, tmp_path / "old", "words", layers=2, head=head)
    frozen = {name: array for name, array in folder.read_model(old).weights.items() if name.startswith("cells.0")}
    plan = {"from_model": str(old), "layer_decay": 0.4, "freeze": "cells.0"}
    whole = learn(new_text, tmp_path / "whole", 14, training=plan)

    def stop(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 6:
            os.kill(os.getpid(), signal.SIGINT)

    assert learn(new_text, tmp_path / "parts", 14, (stop,), training=plan).stopped == "interrupted"
    for path in (*old.iterdir(), old_text):
        if path.is_file():
            path.unlink()
    second = fabula.train(resume=tmp_path / "parts")
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert one == two
    assert second.old_held_out
    assert (second.old_held_out, second.old_held_out_before) == (whole.old_held_out, whole.old_held_out_before)
    found = folder.read_model(tmp_path / "parts").weights
    assert all(np.array_equal(found[name], array) for name, array in frozen.items())


BAD = {
    "hidden": ({"model": {"hidden": 99}}, "model.hidden=12, got 99"),
    "hidden as text": ({"model": {"hidden": "99"}}, "model.hidden=12, got 99"),
    "cell": ({"model": {"cell": "gru"}}, "model.cell=lstm, got gru"),
    "head": ({"model": {"head": "tied"}}, "model.head=full, got tied"),
    "layers": ({"model": {"layers": 2}}, "model.layers=1, got 2"),
    "unit": ({"text": {"unit": "bytes"}}, "reads chars, got the unit bytes"),
    "vocabulary": ({"text": {"vocabulary": 258}}, "got text.vocabulary=258"),
    "vectors": ({"training": {"vectors": "v.txt"}}, "leave out --vectors or --from"),
    "freeze": ({"training": {"freeze": "cells.7"}}, "(embedding, cells.0, head), got 'cells.7'"),
    "freeze all": ({"training": {"freeze": "embedding, cells.0,head"}}, "must leave a part to learn"),
}


@pytest.mark.parametrize("case", sorted(BAD))
def test_wishes_that_contradict_are_one_line(case: str, old_text: Path, new_text: Path, tmp_path: Path) -> None:
    old, (given, says) = begin(old_text, tmp_path / "old"), BAD[case]
    given = {**given, "training": {"from_model": str(old), **given.get("training", {})}}
    with pytest.raises(UsageError) as caught:
        learn(new_text, tmp_path / "new", **given)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_wishes_that_agree_are_fine(old_text: Path, new_text: Path, tmp_path: Path) -> None:
    old = begin(old_text, tmp_path / "old")
    given = {"model": {"hidden": 12, "cell": "lstm", "head": "auto"}, "text": {"unit": "chars"}}
    learn(new_text, tmp_path / "new", training={"from_model": str(old)}, **given)
    with pytest.raises(UsageError, match="--size tiny means 128"):
        learn(new_text, tmp_path / "other", size="tiny", training={"from_model": str(old)})


def test_folders_that_cannot_be_started_from(old_text: Path, new_text: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", old_text):
        with pytest.raises(FolderError, match="expected a model folder"):
            learn(new_text, tmp_path / "new", training={"from_model": str(path)})
    old = begin(old_text, tmp_path / "old")
    (old / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(FolderError, match="is damaged"):
        learn(new_text, tmp_path / "new", training={"from_model": str(old)})
    assert not (tmp_path / "new").exists()


def test_the_same_folder_only_by_force(old_text: Path, new_text: Path, tmp_path: Path) -> None:
    old = begin(old_text, tmp_path / "old")
    before = (old / "model.safetensors").read_bytes()
    with pytest.raises(UsageError, match="--from and -o are both"):
        learn(new_text, old, training={"from_model": str(old)})
    assert (old / "model.safetensors").read_bytes() == before
    settings = {"training": {"threads": 1, "steps": 2}}
    outcome = fabula.train(new_text, old, from_model=old, force=True, settings=settings)
    assert outcome.old_held_out_before
    assert (old / "model.safetensors").read_bytes() != before


def test_resume_and_from_contradict(old_text: Path, new_text: Path, tmp_path: Path) -> None:
    old = begin(old_text, tmp_path / "old")
    learn(new_text, tmp_path / "new", training={"checkpoint_every": 0.0001})
    with pytest.raises(UsageError, match="leave one out"):
        fabula.train(resume=tmp_path / "new", from_model=old)
    with pytest.raises(UsageError, match=r"another training\.freeze"):
        fabula.train(resume=tmp_path / "new", settings={"training": {"freeze": "head"}})


def test_frozen_parts_stay_and_lower_layers_learn_slower(old_text: Path, new_text: Path, tmp_path: Path) -> None:
    old = begin(old_text, tmp_path / "old", layers=2)
    origin = folder.read_model(old).weights
    plan = {"from_model": str(old), "lr": 0.01, "warmup": 0.0, "decay": "none"}
    learn(old_text, tmp_path / "frozen", 1, training={**plan, "freeze": "embedding,cells.0"})
    learn(old_text, tmp_path / "layered", 1, training={**plan, "layer_decay": 0.1})
    learn(old_text, tmp_path / "plain", 1, training=plan)
    frozen, layered, plain = (folder.read_model(tmp_path / name).weights for name in ("frozen", "layered", "plain"))
    for name, weight in origin.items():
        assert np.array_equal(frozen[name], weight) == name.startswith(("embedding", "cells.0"))
    for name, share in (("head.bias", 1), ("cells.1.bias_ih", 0.1), ("cells.0.bias_ih", 0.01)):
        step = np.abs(plain[name] - origin[name]).max()
        assert np.abs(layered[name] - origin[name]).max() == pytest.approx(share * step, rel=0.05)


def test_the_vectors_of_a_tied_head_learn_as_fast_as_it() -> None:
    config = fabula.config.ModelConfig(layers=2, hidden=4, embedding=4, head="tied", dropout=0.0)
    model = LanguageModel(config, 9, torch.Generator())
    rules = tuning.optimizer_for(model, TrainingConfig(layer_decay=0.5))
    assert isinstance(rules, tuning.Layered)
    shares = {id(parameter): share for share, rule in rules._rules for parameter in rule.parameters}
    found = {tuning.part_of(name): shares[id(parameter)] for name, parameter in model.named_parameters()}
    assert found == {"embedding": 1.0, "cells.0": 0.25, "cells.1": 0.5, "head": 1.0}


def test_hostile_facts_of_the_old_model_do_no_harm(old_text: Path, new_text: Path, tmp_path: Path) -> None:
    ancestor = read_ancestor(str(begin(old_text, tmp_path / "old")))
    for about in ({}, {"held_out": 3, "learned_from": "x"}, {"held_out": {"bytes": "many"}}):
        kept = inheritance.stories_kept(replace(ancestor, model=replace(ancestor.model, about=about)), 100)
        assert isinstance(kept, str)
