"""What the tips compare, and that their sentences say what the figures say."""

from dataclasses import replace

import pytest

from fabula.article import tips
from fabula.article.experiment import Plan
from fabula.article.material import fable
from fabula.article.tips import NAMES, TIPS, Question, Result, spread
from fabula.article.workers import Job, Record
from fabula.errors import UsageError

QUESTION = Question(Plan(iterations=3000), fable(), seeds=2)


def results(name: str, *accuracies: float) -> list[Result]:
    """The rows of a tip with made-up accuracies, the last one again and again; the seeds differ by two points."""
    rows = tips.jobs(name, QUESTION)
    shares = [*accuracies, *[accuracies[-1]] * len(rows)]
    found = []
    for row, share in zip(rows, shares, strict=False):
        curve = tuple((step, 2.0 - step / 9000, share * step / 9000) for step in range(600, 9001, 600))
        spreads = [share + 0.02 * seed for seed in range(len(row.jobs))]
        found.append(Result(row, tuple(Record(accuracy, 0.5, 1.0, curve) for accuracy in spreads)))
    return found


@pytest.mark.parametrize("name", TIPS)
def test_every_tip_has_a_table_in_both_languages(name: str) -> None:
    table = tips.tabulate(name, results(name, 0.5, 0.6, 0.55)).to_json()
    assert name in NAMES
    assert table["rows"]
    assert all(len(row) == len(table["columns"]) for row in table["rows"])
    for text in (table["title"], table["sentence"], TIPS[name].about):
        assert set(text) == {"en", "zh"}
        assert text["en"].isascii() or "±" in text["en"]
        assert any("\u4e00" <= letter <= "\u9fff" for letter in text["zh"]) or name == "optimizer"
        assert not any(mark in text["zh"] for mark in (", ", ": ", "; ")), "Chinese has marks of its own"


def test_runs_differ_in_what_is_asked_and_by_seed_alone() -> None:
    rows = tips.jobs("window", QUESTION)
    assert [row.jobs[0].plan.window for row in rows] == list(range(1, 9))
    for name in TIPS:
        for row in tips.jobs(name, QUESTION):
            first = row.jobs[0]
            assert {replace(job.plan, seed=0) for job in row.jobs} == {replace(first.plan, seed=0)}
            assert len({job.plan.seed for job in row.jobs}) == len(row.jobs)
    every = [job.key for name in TIPS for row in tips.jobs(name, QUESTION) for job in row.jobs]
    kinds = {
        (job.plan, job.inputs, job.material.name)
        for name in TIPS
        for row in tips.jobs(name, QUESTION)
        for job in row.jobs
    }
    assert len(set(every)) == len(kinds), "two jobs share a key exactly when they are the same"


def test_what_is_asked() -> None:
    assert [row.jobs[0].plan.layers for row in tips.jobs("layers", QUESTION)] == [1, 2, 3]
    assert [job.plan.seed for row in tips.jobs("repeat", QUESTION) for job in row.jobs] == [1, 2]
    assert tips.jobs("iterations", QUESTION)[0].jobs[0].plan.iterations == 9000
    assert [(r.jobs[0].plan.every, r.jobs[0].plan.carry) for r in tips.jobs("carry", QUESTION)] == [
        (False, False), (True, False), (True, True),
    ]  # fmt: skip
    assert [(r.jobs[0].plan.optimizer, r.jobs[0].plan.rate) for r in tips.jobs("optimizer", QUESTION)][:2] == [
        ("rmsprop", 0.001), ("adam", 0.001),
    ]  # fmt: skip
    inputs = [row.jobs[0].inputs for row in tips.jobs("vectors", replace(QUESTION, vectors="glove.txt"))]
    assert inputs[:2] == ["integer", "embedding"]
    assert inputs[-1] == "glove.txt"
    assert len({row.jobs[0].material.name for row in tips.jobs("language", QUESTION)}) == 3


@pytest.mark.parametrize(
    ("name", "for_it", "against"),
    [
        ("optimizer", (0.9, 0.8, 0.1), (0.8, 0.9, 0.1)),
        ("layers", (0.8, 0.9, 0.9), (0.9, 0.8, 0.9)),
        ("vectors", (0.8, 0.9, 0.1), (0.9, 0.8, 0.1)),
        ("carry", (0.9, 0.8, 0.9), (0.9, 0.8, 0.7)),
    ],
)
def test_a_sentence_follows_the_figures(name: str, for_it: tuple[float, ...], against: tuple[float, ...]) -> None:
    said = [tips.tabulate(name, results(name, *shares)).sentence for shares in (for_it, against)]
    for language in ("en", "zh"):
        assert said[0][language] != said[1][language]
    negations = ("not here", "does not help", "not borne out", "has not paid")
    assert not any(word in said[0]["en"] for word in negations)
    assert any(word in said[1]["en"] for word in negations)


def test_figures_in_a_table() -> None:
    table = tips.tabulate("window", results("window", 0.5, 0.6, 0.91, 0.55))
    assert table.rows[2] == ({"en": "3", "zh": "3"}, "99.0 %", "92.0 % ± 1.4", "0.500")
    assert "The best window here is 3 (92.0 % ± 1.4)" in table.sentence["en"]


def test_a_long_run_is_read_off_on_the_way() -> None:
    table = tips.tabulate("iterations", results("iterations", 0.9))
    assert [row[0] for row in table.rows] == ["600", "1,200", "3,000", "6,000", "9,000"]
    assert table.rows[2][1] == "30.0 % ± 0.0"
    assert "30.0 % to 90.0 %" in table.sentence["en"]


def test_spread() -> None:
    assert spread([0.5]) == "50.0 %"
    assert spread([0.5, 0.6, 0.7]) == "60.0 % ± 10.0"


def test_a_record_survives_the_notebook() -> None:
    record = Record(0.25, float("nan"), 1.5, ((1000, float("nan"), 0.25),))
    data = record.to_json()
    data["loss"] = None
    data["curve"] = [[1000, None, 0.25]]
    back = Record.from_json(data)
    assert (back.accuracy, back.seconds, back.curve[0][0]) == (0.25, 1.5, 1000)
    assert back.loss != back.loss


def test_jobs_are_told_apart_by_text_vectors_and_plan() -> None:
    job = Job(Plan(), fable())
    assert job.key == Job(Plan(), fable()).key
    assert len({job.key, Job(Plan(seed=2), fable()).key, Job(Plan(), fable(), "embedding").key}) == 3


def test_mistakes() -> None:
    with pytest.raises(UsageError, match="must be one of vectors, vocabulary"):
        tips.check("magic", 3)
    with pytest.raises(UsageError, match="--seeds"):
        tips.check("window", 0)
