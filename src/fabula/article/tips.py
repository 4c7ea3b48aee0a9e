"""The article's tips as experiments: each a few plans side by side, a table, and a sentence on what it shows."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from fabula.article.material import Material, bundled
from fabula.article.trials import CEILING, Question, Result, Row, Table, Tip, Words, say, spread
from fabula.article.workers import WIDTH, Job
from fabula.errors import UsageError


def check(name: str, seeds: int) -> None:
    """Errors: UsageError for a tip that is not, or too few seeds."""
    if name not in NAMES:
        raise UsageError(f"--tip must be one of {', '.join(NAMES)}, got {name!r}")
    if not 1 <= seeds <= 1000:
        raise UsageError(f"--seeds must be 1 to 1,000, got {seeds:,}")


def _row(
    question: Question,
    label: Words,
    inputs: str = "integer",
    material: Material | None = None,
    **plan: Any,  # noqa: ANN401
) -> Row:
    """One plan, once a seed."""
    chosen = replace(question.plan, **plan)
    seeds = range(chosen.seed, chosen.seed + question.seeds)
    text = material or question.material
    return Row(label, tuple(Job(replace(chosen, seed=seed), text, inputs) for seed in seeds))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _vectors_rows(question: Question) -> Iterable[Row]:
    yield _row(question, say("the raw integer (the article)", "直接用整数（文章的做法）"))
    yield _row(question, say(f"vectors of {WIDTH}, learned with it", f"{WIDTH} 维向量，一起学"), "embedding")
    if find_spec("gensim"):
        yield _row(question, say(f"word2vec on this text, {WIDTH}", f"在本文上训练的 word2vec,{WIDTH} 维"), "word2vec")
    if question.vectors:
        yield _row(question, say("vectors from a file", "文件中的词向量"), question.vectors)


def _vectors_answer(results: Sequence[Result]) -> Words:
    raw, learned = results[0].mean, results[1].mean
    best = max(results, key=lambda r: r.mean)
    return say(
        f"The article's tip is {'right' if learned > raw else 'not borne out here'}: vectors that learn reach "
        f"{_percent(learned)}, the integer {_percent(raw)}; best is: {best.row.label['en']}. As a number, word 6 lies between "
        "words 5 and 7 and means nothing; as a vector every word has a place of its own.",
        f"文章的提示{'是对的' if learned > raw else '在这里没有得到证实'}：可学习的向量达到 {_percent(learned)}，整数为 {_percent(raw)}；"
        f"最好的是：{best.row.label['zh']}。作为数字，6 号词夹在 5 号和 7 号之间，毫无意义；作为向量，每个词都有自己的位置。",
    )


def _window_rows(question: Question) -> Iterable[Row]:
    for window in range(1, 9):
        if window < len(question.material.symbols):
            yield _row(question, say(f"{window}", f"{window}"), window=window)


def _window_answer(results: Sequence[Result]) -> Words:
    best = max(results, key=lambda r: r.mean)
    width = best.row.jobs[0].plan.window
    return say(
        f"The best window here is {width} ({best.accuracy}). A short window cannot know more than its ceiling; a long one could "
        "know all, but it must find it in more raw numbers with the same number of steps.",
        f"这里最好的窗口是 {width}（{best.accuracy}）。窗口短，再怎么学也超不过上限；窗口长，理论上什么都能知道，"
        "却要用同样的步数从更多的原始数字里找出规律。",
    )


def _repeat_rows(question: Question) -> Iterable[Row]:
    first = question.plan.seed
    single = replace(question, seeds=1)
    for seed in range(first, first + max(2, question.seeds)):
        yield _row(single, say(f"seed {seed}", f"种子 {seed}"), seed=seed)


def _repeat_answer(results: Sequence[Result]) -> Words:
    shares = [result.mean for result in results]
    return say(
        f"{spread(shares)} over the seeds, from {_percent(min(shares))} to {_percent(max(shares))}: one run proves little. The same seed gives "
        "the same run, number for number, which the article's script cannot.",
        f"不同种子的结果为 {spread(shares)}，从 {_percent(min(shares))} 到 {_percent(max(shares))}：只跑一次说明不了什么。"
        "同一个种子每次给出完全相同的结果，文章的脚本做不到这一点。",
    )


POINTS = (1 / 15, 1 / 6, 1 / 3, 2 / 3, 1.0)
"""Shares of the longest run: 10, 25, 50, 100 and 150 thousand steps of the article's."""


def _iterations_rows(question: Question) -> Iterable[Row]:
    longest = question.plan.iterations * 3
    yield _row(question, say(f"{longest:,}", f"{longest:,}"), iterations=longest)


def _iterations_table(name: str, results: Sequence[Result]) -> Table:
    """One long run a seed, read off on the way."""
    records = results[0].records
    last = records[0].curve[-1][0]
    rows: list[tuple[Words | str, ...]] = []
    means: list[float] = []
    for share in POINTS:
        at = [min(record.curve, key=lambda point: abs(point[0] - share * last)) for record in records]
        rows.append((f"{at[0][0]:,}", spread([point[2] for point in at]), f"{statistics.fmean(p[1] for p in at):.3f}"))
        means.append(statistics.fmean(point[2] for point in at))
    more = 100 * (means[4] - means[2])
    sentence = say(
        f"Three times the steps {'add' if more > 0 else 'change the accuracy by'} {more:.1f} points ({_percent(means[2])} to {_percent(means[4])}), "
        f"under the ceiling of {results[0].ceiling}: the article is {'right' if more > 0 else 'not borne out here'}, but patience buys less and less.",
        f"步数增加到三倍，准确率{'提高' if more > 0 else '变化'} {more:.1f} 个百分点（{_percent(means[2])} 到 {_percent(means[4])}），"
        f"上限为 {results[0].ceiling}：文章{'说得对' if more > 0 else '在这里没有得到证实'}，但耐心的回报越来越少。",
    )
    heads = (say("steps", "步数"), say("accuracy", "准确率"), say("loss", "损失"))
    return Table(name, TIPS[name].title, sentence, heads, tuple(rows))


def _optimizer_rows(question: Question) -> Iterable[Row]:
    for label, optimizer, rate in (
        ("RMSProp 0.001", "rmsprop", 0.001), ("Adam 0.001", "adam", 0.001), ("SGD 0.001", "sgd", 0.001), ("SGD 0.01", "sgd", 0.01),
    ):  # fmt: skip
        yield _row(question, say(label, label), optimizer=optimizer, rate=rate)


def _optimizer_answer(results: Sequence[Result]) -> Words:
    best = max(results, key=lambda r: r.mean)
    right = best is results[0]
    name = best.row.label["en"]
    return say(
        f"The article says RMSProp does better than Adam and SGD: {'so it is' if right else f'not here, {name} leads'} "
        f"({', '.join(r.row.label['en'] + ' ' + _percent(r.mean) for r in results)}). It holds for this text, these steps and these rates.",
        f"文章说 RMSProp 比 Adam 和 SGD 好：{'确实如此' if right else f'这里并非如此，{name} 领先'}"
        f"（{'、'.join(r.row.label['zh'] + ' ' + _percent(r.mean) for r in results)}）。这一结论只对这篇文本、这些步数和这些学习率成立。",
    )


def _layers_rows(question: Question) -> Iterable[Row]:
    for layers in (1, 2, 3):
        yield _row(question, say(f"{layers}", f"{layers}"), layers=layers)


def _layers_answer(results: Sequence[Result]) -> Words:
    one, two = results[0], results[1]
    right = two.mean > one.mean
    return say(
        f"A second layer {'helps' if right else 'does not help here'}: {one.accuracy} with one, {two.accuracy} with two; the article's script "
        "notes 90.60 % and 95.20 %. The ceiling is the same: more layers remember no more than the window shows them.",
        f"第二层{'有帮助' if right else '在这里没有帮助'}：一层 {one.accuracy}，两层 {two.accuracy}；文章的脚本记录的是 90.60 % 和 95.20 %。"
        "上限不变：层数再多，也看不到窗口以外的词。",
    )


def _carry_rows(question: Question) -> Iterable[Row]:
    yield _row(
        question, say("thrown away, last word predicted (the article)", "丢弃状态，只预测最后一个词（文章的做法）")
    )
    yield _row(question, say("thrown away, every word predicted", "丢弃状态，每个词都预测"), every=True)
    yield _row(question, say("carried on, every word predicted", "延续状态，每个词都预测"), every=True, carry=True)


def _carry_answer(results: Sequence[Result]) -> Words:
    thrown, carried = results[1], results[2]
    more = carried.mean > thrown.mean
    return say(
        f"With the state carried on the network reaches {carried.accuracy}, with the state thrown away after each window {thrown.accuracy}"
        f"{': what it read earlier counts, and no window is the ceiling any more' if more else '; at this number of steps memory has not paid yet'}.",
        f"延续状态时达到 {carried.accuracy}，每个窗口后丢弃状态时为 {thrown.accuracy}"
        f"{'：之前读过的内容起了作用，窗口不再是上限' if more else '；在这个步数下，记忆还没有带来好处'}。",
    )


LANGUAGES = (
    (say("English: the article's fable", "英文：文章的寓言"), "belling_the_cat.txt"),
    (say("Chinese, a character a symbol", "中文，一字一符号"), "belling_the_cat.zh.txt"),
    (say("German", "德文"), "belling_the_cat.de.txt"),
)


def _language_rows(question: Question) -> Iterable[Row]:
    for label, name in LANGUAGES:
        yield _row(question, label, material=bundled(name))


def _language_answer(results: Sequence[Result]) -> Words:
    parts = [(r.row.label["en"].split(":")[0].split(",")[0], r) for r in results]
    return say(
        "The network does not know what a language is: "
        + ", ".join(f"{name} {_percent(r.mean)} of {r.ceiling}" for name, r in parts)
        + ". Chinese needs symbols first: split on white space, as the article does, the whole story would be one.",
        "网络并不知道什么是语言："
        + "、".join(
            f"{r.row.label['zh'].split('，')[0].split('：')[0]} {_percent(r.mean)}（上限 {r.ceiling}）"
            for _, r in parts
        )
        + "。中文要先切成符号：像文章那样按空白切分，整篇故事就只是一个符号。",
    )


TIPS: dict[str, Tip] = {
    "vectors": Tip(
        say("Word vectors in place of integers", "用词向量代替整数"),
        say("the integer, learned vectors, word2vec, a file of vectors", "整数、学得的向量、word2vec、词向量文件"),
        _vectors_rows, _vectors_answer,
    ),
    "window": Tip(
        say("Other window sizes", "不同的窗口大小"), say("1 to 8 words", "1 到 8 个词"), _window_rows, _window_answer, (CEILING,)
    ),
    "repeat": Tip(
        say("Runs that differ, runs that repeat", "会变的结果，可重复的结果"), say("the spread over seeds", "不同种子间的差异"),
        _repeat_rows, _repeat_answer,
    ),
    "iterations": Tip(
        say("Longer training", "更长的训练"), say("to three times as many steps: 150,000", "步数增至三倍：150,000"),
        _iterations_rows, lambda _: say("", ""),
    ),
    "optimizer": Tip(
        say("RMSProp, Adam, SGD", "RMSProp、Adam、SGD"), say("is the article right?", "文章说得对吗？"), _optimizer_rows, _optimizer_answer
    ),
    "layers": Tip(
        say("More layers", "更多的层"), say("1, 2 and 3 layers", "1、2、3 层"), _layers_rows, _layers_answer
    ),
    "carry": Tip(
        say("The state not thrown away", "不丢弃状态"), say("thrown away every window, or carried on", "每个窗口后丢弃，或一直延续"),
        _carry_rows, _carry_answer, (CEILING,),
    ),
    "language": Tip(
        say("Another language", "另一种语言"), say("the fable retold in Chinese and German", "用中文和德文重述的寓言"),
        _language_rows, _language_answer,
        ((say("symbols", "符号数"), lambda r: f"{len(r.row.jobs[0].material.symbols):,}"),
         (say("different", "不同符号"), lambda r: f"{len(r.row.jobs[0].material.vocabulary):,}"), CEILING),
    ),
}  # fmt: skip

NAMES = (
    "vectors",
    "vocabulary",
    "window",
    "repeat",
    "iterations",
    "optimizer",
    "layers",
    "carry",
    "language",
    "tensorboard",
)
"""All tips; `vocabulary` and `tensorboard` are measured otherwise."""


def jobs(name: str, question: Question) -> list[Row]:
    """The runs of a tip."""
    return list(TIPS[name].rows(question))


def tabulate(name: str, results: Sequence[Result]) -> Table:
    """The runs of a tip as its table."""
    return _iterations_table(name, results) if name == "iterations" else TIPS[name].table(name, results)
