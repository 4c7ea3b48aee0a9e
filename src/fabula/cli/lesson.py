"""`fabula lesson`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as Grid
from rich.text import Text

from fabula import cli
from fabula.cli.options import Encoding, Json, Quiet, Seed, print_json
from fabula.cli.parsing import Option
from fabula.errors import FabulaError, MissingExtraError
from fabula.stopping import INTERRUPTED

if TYPE_CHECKING:
    from fabula.article.experiment import Report, Run
    from fabula.article.material import Material
    from fabula.article.notebook import Notebook
    from fabula.article.tips import Question, Table

SPIN = 20_000
"""Rounds that waiting threads spin: a step is a hundred tiny regions, too near to each other to sleep between them."""


def lesson(
    *,
    text: str | None = None,
    layers: int = 1,
    window: int = 3,
    iterations: int = 50_000,
    prompt: Annotated[tuple[str, ...], Option("-p", free=True)] = (),
    tip: str | None = None,
    seeds: int = 3,
    vectors: str | None = None,
    lang: str = "en",
    out: Annotated[Path | None, Option("-o")] = None,
    encoding: Encoding = None,
    seed: Seed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Run the article's experiment, or one of its tips, and make a page of it.

    Parameters
    ----------
    text
        A text of your own, or - for stdin; the article's fable when not given.
    layers
        LSTM layers of 512 units, one on top of the other.
    window
        Words read before each prediction.
    iterations
        Steps of learning, each from one window.
    prompt
        Tell a story from these words too; may be given again.
    tip
        Try a tip of the article: vectors, vocabulary, window, repeat, iterations, optimizer, layers, carry, language, tensorboard.
    seeds
        Runs of each kind that a tip compares.
    vectors
        File of word vectors (GloVe, word2vec, fastText) for --tip vectors.
    lang
        Language of the page: en or zh.
    out
        Folder of the page and the figures; NAME-lesson when not given.
    """  # noqa: E501
    from fabula.article import material as materials  # noqa: PLC0415
    from fabula.pages import check_language  # noqa: PLC0415

    check_language(lang)
    source = materials.read(text, encoding) if text is not None else materials.fable()
    study, tips, plans, notebooks = _rooms()
    if tip is not None:
        tips.check(tip, seeds)
    plan = plans.Plan(layers=layers, window=window, iterations=iterations, seed=1 if seed is None else seed)
    materials.check(source, window)
    folder = out or Path(f"{Path(source.name).stem.replace(' ', '-')}-lesson")
    notebook = notebooks.Notebook(folder, source)
    shown = _Shown(quiet=quiet)
    if tip is not None:
        question = tips.Question(plan, source, seeds, vectors)
        return _try_tip(study, tip, question, notebook, shown, lang=lang, json=json)
    prompts = [*source.prompts(window), *prompt]
    given = {"--text": text, "--layers": layers, "--window": window, "--iterations": iterations, "--seed": plan.seed}
    command = shlex.join(["fabula", "lesson", *(str(w) for pair in given.items() if pair[1] is not None for w in pair)])
    with shown:
        found = study.experiment(plan, source, prompts, shown.report)
        taken: Run = found.pop("run")
        notebook.add_experiment({**found, "command": command, "recipe": None})  # safe before anything else is tried
        if not taken.interrupted:
            shown.say("the same text by fabula's own recipe ...")
            found["recipe"] = study.recipe(source, window)
            notebook.add_experiment(found)
    page = notebook.write_page(lang)
    if json:
        print_json(_summary(found, page))
    else:
        _tell(found, source, page)
        if sys.stdin.isatty() and sys.stdout.isatty() and not taken.interrupted:
            _converse(study, taken)
    return INTERRUPTED if taken.interrupted else 0


def _rooms() -> tuple[Any, Any, Any, Any]:
    """The rooms that learn; torch takes a second to import, so this comes late."""
    from fabula.api import calm_threads  # noqa: PLC0415

    calm_threads(SPIN)
    try:
        from fabula.article import course, experiment, notebook, tips  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("torch"):
            raise MissingExtraError("the lesson", "train") from None
        raise
    return course, tips, experiment, notebook


class _Shown:
    """The run on stderr: a line for every report, and a bar with the time left on a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None

    def __enter__(self) -> _Shown:
        """Start; the bar appears with the first report."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        if self._bar:
            self._bar.stop()

    def say(self, line: str, style: str = "dim") -> None:
        """A line."""
        if not self._quiet:
            self._console.print(Text(cli.visible(line), style=style))

    def report(self, taken: Run, report: Report | None) -> None:
        """Listen to an experiment; a report reads as in the article."""
        facts = f"{taken.done / max(taken.seconds, 1e-9):,.0f} steps/s"
        self.move(taken.done, taken.plan.iterations, facts)
        if report:
            said = f"{list(report.context)} - [{report.said}] vs [{report.true}]"
            figures = f"average loss {report.loss:.6f}, average accuracy {report.accuracy:.2%}"
            self.say(f"iteration {report.iteration:>6,}, {figures}  {said}{self._beside(taken, report)}", "")

    def _beside(self, taken: Run, report: Report) -> str:
        """What the article prints at the same step."""
        from fabula.article.course import ARTICLE  # noqa: PLC0415

        points = ARTICLE["points"] if taken.material.is_fable and taken.plan.layers == 1 else ()
        return "".join(
            f"  (the article: {point['loss']:.6f}, {point['accuracy']:.2%})"
            for point in points if point["iteration"] == report.iteration
        )  # fmt: skip

    def runs(self, steps: int, total: int, done: int, runs: int) -> None:
        """Listen to a tip."""
        self.move(steps, total, f"{done} of {runs} runs")

    def move(self, done: int, total: int, facts: str) -> None:
        """Move the bar."""
        if self._quiet or not self._console.is_terminal:
            return
        if self._bar is None:
            columns = (BarColumn(), TextColumn("{task.percentage:>3.0f}% {task.fields[facts]}"), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console, transient=True, refresh_per_second=4)
            self._bar.add_task("", total=total, facts=facts)
            self._bar.start()
        self._bar.update(self._bar.tasks[0].id, total=total, completed=done, facts=facts)


def _try_tip(
    study: Any, name: str, question: Question, notebook: Notebook, shown: _Shown, *, lang: str, json: bool  # noqa: ANN401
) -> int:  # fmt: skip
    """A tip: its table on stdout, its rows on the page."""
    with shown:
        table: Table | None = study.tip(name, question, notebook, shown.runs)
    if table is None:
        shown.say(f"interrupted; the finished runs are kept in {notebook.folder}, and the same command goes on", "bold")
        return INTERRUPTED
    page = notebook.write_page(lang)
    if json:
        print_json({**table.to_json(), "page": str(page)})
        return 0
    pick = lang if lang in table.title else "en"
    grid = Grid(title=table.title[pick], title_justify="left")
    for column in table.columns:
        grid.add_column(column[pick])
    for row in table.rows:
        grid.add_row(*(Text(cell if isinstance(cell, str) else cell[pick]) for cell in row))
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    console.print(grid)
    console.print(Text(table.sentence[pick]))
    console.print(Text(f"page: {page}"))
    return 0


def _summary(found: dict[str, Any], page: Path) -> dict[str, Any]:
    """What `--json` prints."""
    run = found["experiment"]
    return {
        "iterations": run["done"],
        "layers": run["layers"],
        "window": run["window"],
        "seed": run["seed"],
        "accuracy": run["accuracy"],
        "loss": run["loss"] if run["curve"] else None,
        "seconds": round(run["seconds"], 3),
        "stories": [
            {"prompt": told["prompt"], "words": told["words"], "copied": told["share"], "longest_copy": told["longest"]}
            for told in found["stories"]
        ],
        "copied": [told["share"] for told in found["stories"]],
        "ceilings": found["ceilings"],
        "recipe": found.get("recipe"),
        "page": str(page),
    }


def _tell(found: dict[str, Any], material: Material, page: Path) -> None:
    """The stories and what the numbers mean, on stdout."""
    out = sys.stdout.write
    for told in found["stories"]:
        out("\n" + cli.visible(_story(told, material)) + "\n")
    run, article = found["experiment"], found["article"]
    if run["curve"]:
        last = min(1000, run["done"])
        out(f"\naccuracy {run['accuracy']:.2%} over the last {last:,} of {run['done']:,} steps\n")
    if article:
        points = ", ".join(f"{point['accuracy']:.2%} at {point['iteration']:,}" for point in article["points"])
        out(f"the article: {points}; its script: {article['one_layer']:.2%} with one layer, ")
        out(f"{article['two_layers']:.2%} with two\n")
    for known in found["ceilings"]:
        words = "word" if known["window"] == 1 else f"{known['window']} words"
        out(f"who knows only the last {words} can be right in {known['right']} of {known['total']}: ")
        out(f"{known['share']:.1%}\n")
    if found.get("recipe"):
        own = found["recipe"]
        out(f"fabula train, the same window: {own['accuracy']:.1%} after {own['seconds']:.1f} s\n")
    out(f"page: {page}\n")


def _story(told: dict[str, Any], material: Material) -> str:
    """A story and how much of it is copied."""
    share = (
        f"{told['share']:.0%} of it is copied from the text in runs of 4 words or more, the longest {told['longest']}"
    )
    return f"{material.text([*told['prompt'], *told['words']])}\n  {share}"


def _converse(study: Any, taken: Run) -> None:  # noqa: ANN401
    """Ask for words and go on from them, as the article does, until an empty line."""
    while True:
        try:
            line = input(f"\n{taken.plan.window} words (an empty line ends): ")
        except (EOFError, KeyboardInterrupt):
            sys.stdout.write("\n")
            return
        if not line.strip():
            return
        try:
            sys.stdout.write(cli.visible(_story(study.story(taken, line), taken.material)) + "\n")
        except FabulaError as error:
            sys.stdout.write(cli.visible(str(error)) + "\n")
