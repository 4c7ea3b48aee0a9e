"""`fabula write`."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fabula.cli import visible
from fabula.cli.options import STDIN, Json, Quiet, Seed, Set, layered, print_json
from fabula.cli.parsing import Option
from fabula.cli.waiting import waiting
from fabula.config import resolve
from fabula.errors import UsageError
from fabula.novelty import LONG, SHORTEST, Copied

if TYPE_CHECKING:
    from fabula.ensemble import Voice
    from fabula.storyteller import Storyteller

MANY = 10_000
"""Most stories of which the best is sought."""


def write(
    *folders: str,
    prompt: Annotated[str, Option("-p", free=True)] = "",
    end: Annotated[str | None, Option(free=True)] = None,
    words: Annotated[int | None, Option("-w")] = None,
    number: Annotated[int, Option("-n")] = 1,
    temperature: Annotated[float | None, Option("-t")] = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    no_repeat: int | None = None,
    dry: float | None = None,
    ban: Annotated[tuple[str, ...], Option(free=True)] = (),
    ban_letters: str | None = None,
    require: Annotated[tuple[str, ...], Option(free=True)] = (),
    max_copy: int | None = None,
    seed: Seed = None,
    stop: Annotated[tuple[str, ...], Option(free=True)] = (),
    until: str | None = None,
    mixture: bool = False,
    precision: str = "auto",
    best_of: int | None = None,
    label: bool = False,
    book: int | None = None,
    out: Annotated[Path | None, Option("-o")] = None,
    set_: Set = (),
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write a story with a model, word by word as you watch.

    Parameters
    ----------
    folders
        The model folder that `fabula train` made; several, of any units, write together: A:0.7 B:0.3.
    prompt
        What the story begins with: any length, any language; - reads it from stdin.
    end
        What the story ends with, or the passage that goes on after a gap; - reads it from stdin. Needs a model that
        was trained --both-ways.
    words
        How many words to add, to the nearest end of a sentence; up to 200, or the story's own end, when not given.
    number
        How many stories.
    temperature
        1 as learned, lower is safer, 0 always takes the likeliest.
    top_k
        Keep only the k likeliest next units.
    top_p
        Keep the likeliest that together reach this probability.
    min_p
        Keep those at least this fraction as likely as the likeliest.
    repetition_penalty
        Above 1 makes what was said lately less likely.
    no_repeat
        Never tell the same run of so many units twice.
    dry
        Hold back long repetitions: 0.8 is usual.
    ban
        A word or phrase that must not come; may be given again.
    ban_letters
        Letters that must not come: e.
    require
        A word that must come; may be given again.
    max_copy
        Most words in a row that the training text has too: 8.
    stop
        End before this text; may be given again.
    until
        word: stop at exactly so many. sentence, paragraph or story: go on to its end after the last word.
    mixture
        Let an n-gram model have its say too, fitted again to the text that the model learned from.
    precision
        fp32, int8 (whole numbers, faster), or auto: what was measured to be good when the model was saved.
    best_of
        Write so many stories, show the best, and say why.
    label
        Say after each story where it is from; fabula verify proves it.
    book
        Write a book of so many words, in chapters, as EPUB and HTML.
    out
        Name of the book's files; MODEL-book when not given.
    """
    _check(number, best_of, book, out, shaped=bool(words or label or stop or until))
    flags = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        "repetition_penalty": repetition_penalty, "no_repeat": no_repeat, "dry": dry, "ban": ban or None,
        "ban_letters": ban_letters, "require": require or None, "max_copy": max_copy, "seed": seed,
    }  # fmt: skip
    if end is not None:
        from fabula.cli.joining import join  # noqa: PLC0415

        others = {"stop": stop, "until": until, "mixture": mixture, "best-of": best_of, "book": book}
        return join(
            folders, prompt, end, words=words, number=number, flags=flags, assignments=set_, others=others,
            precision=precision,
            label=label, json=json, quiet=quiet,
        )  # fmt: skip
    teller, together = _teller(folders, mixture=mixture, label=label, precision=precision, quiet=quiet)
    sampling = resolve({"sampling": teller.settings.sampling.__dict__}, layered({"sampling": flags}, set_)).sampling
    beginning = _read_prompt() if prompt == STDIN else prompt
    options = {"words": words, "sampling": sampling, "stop": stop, "until": until}
    if book is not None:
        from fabula.cli.binding import bind  # noqa: PLC0415

        model = "-".join(voice.folder.resolve().name for voice in together) or Path(folders[0]).resolve().name
        return bind(teller, book, beginning, sampling, model=model, out=out, json=json, quiet=quiet)
    how = {"options": options, "mixture": mixture, "precision": teller.precision}
    told = partial(_labelled, folders[0], beginning, **how) if label else _bare
    if best_of is not None:
        return _best(teller, best_of, beginning, options, told, json=json, quiet=quiet)
    names = [str(voice.folder) for voice in together]
    if json:
        with waiting("writing ...", quiet=quiet):
            tellings = teller.write_many(number, beginning, **options)
        stories = [
            telling.to_json()
            | ({"label": told(telling.text, story).strip()} if label else {})
            | ({"voices": _voices(teller, names, telling.text, beginning)} if together else {})
            for story, telling in enumerate(tellings)
        ]
        print_json(stories[0] if number == 1 else {"stories": stories})
        return 0
    for story in range(number):
        if story:
            sys.stdout.write("\n")
        text = _show(beginning, teller.stream(beginning, story=story, **options), quiet=quiet)
        sys.stdout.write(told(text, story) + "\n")
        sys.stdout.flush()
        if quiet:
            continue
        if together:
            sys.stderr.write("".join(f"{visible(line)}\n" for line in _turns(teller, names, text, beginning)))
        if found := teller.copied(text, beginning):
            sys.stderr.write(f"{copies(found)}\n")
    return 0


def _read_prompt() -> str:
    """Standard input, or as much of it as is too long for a prompt; errors: TextError."""
    from fabula.errors import TextError  # noqa: PLC0415
    from fabula.storyteller import PROMPT  # noqa: PLC0415

    try:
        return sys.stdin.read(PROMPT + 1)
    except UnicodeDecodeError:
        raise TextError("a prompt on standard input must be UTF-8, got other bytes") from None


def _check(number: int, best_of: int | None, book: int | None, out: Path | None, *, shaped: bool) -> None:
    """Errors: UsageError for what does not go together; `shaped` is a story whose length or label was asked for."""
    if number < 1:
        raise UsageError(f"--number must be at least 1, got {number}")
    if best_of is not None and not 2 <= best_of <= MANY:
        raise UsageError(f"--best-of must be between 2 and {MANY:,}, got {best_of}")
    if best_of is not None and number > 1:
        raise UsageError("--best-of shows one story, the best: leave --number out")
    if book is not None and (shaped or number > 1 or best_of):
        raise UsageError("--book goes with none of --words, --number, --best-of, --label, --stop and --until")
    if book is None and out is not None:
        raise UsageError("-o names the files of a --book; a story goes to stdout")


def _teller(
    folders: tuple[str, ...], *, mixture: bool, label: bool, precision: str, quiet: bool
) -> tuple[Storyteller, Sequence[Voice]]:
    """The storyteller of a folder or of several, and these with their weights where there are several."""
    if not folders:
        raise UsageError("expected a model folder: fabula write tales-model")
    if len(folders) > 1:
        from fabula.ensemble import load as load_all  # noqa: PLC0415
        from fabula.ensemble import parse  # noqa: PLC0415

        if mixture or label:
            raise UsageError(f"--{'mixture' if mixture else 'label'} needs one model, got {len(folders)}")
        voices = parse(folders)
        return load_all(voices, precision=precision), voices
    from fabula.storyteller import load  # noqa: PLC0415

    mixed = None
    if mixture:
        from fabula.baseline import fit_again  # noqa: PLC0415

        with waiting("fitting the n-gram model again ...", quiet=quiet):
            mixed = fit_again(folders[0])
    return load(folders[0], mixture=mixed, precision=precision), ()


def _voices(teller: Storyteller, names: Sequence[str], text: str, beginning: str) -> list[dict[str, Any]]:
    """Which model said each word, for programs."""
    from fabula.ensemble import spoken  # noqa: PLC0415

    return [
        {"word": one.word, "shares": {name: round(share, 4) for name, share in zip(names, one.shares, strict=True)}}
        for one in spoken(teller, text, beginning)
    ]


def _turns(teller: Storyteller, names: Sequence[str], text: str, beginning: str) -> Iterable[str]:
    """Which model said each word, for people: a line for each turn, and how much each said at the end."""
    from fabula.ensemble import spoken  # noqa: PLC0415

    words = spoken(teller, text, beginning)
    likeliest = [max(range(len(names)), key=one.shares.__getitem__) for one in words]
    for voice, turn in itertools.groupby(zip(likeliest, words, strict=True), key=lambda pair: pair[0]):
        yield f"[{names[voice]}] {' '.join(''.join(one.word for _, one in turn).split())}"
    if words:
        totals = [sum(one.shares[voice] for one in words) / len(words) for voice in range(len(names))]
        yield "spoke: " + ", ".join(f"{name} {total:.0%}" for name, total in zip(names, totals, strict=True))


def _best(
    teller: Storyteller,
    count: int,
    beginning: str,
    options: Mapping[str, Any],
    told: Callable[[str, int], str],
    *,
    json: bool,
    quiet: bool,
) -> int:
    """Write many, show the best, and why it is."""
    from fabula.ranking import rank, table  # noqa: PLC0415

    with waiting(f"writing {count:,} stories ...", quiet=quiet):
        judged = rank(teller.write_many(count, beginning, **options))
    best = judged[0]
    if json:
        print_json({**best.to_json(), "ranking": [one.to_json() for one in judged]})
        return 0
    clean = visible if sys.stdout.isatty() else str
    sys.stdout.write(clean(beginning + best.telling.text) + told(best.telling.text, best.story) + "\n")
    sys.stdout.flush()
    if not quiet:
        sys.stderr.write("".join(f"{visible(line)}\n" for line in table(judged)))
    return 0


def _bare(text: str, story: int) -> str:  # noqa: ARG001
    """No label."""
    return ""


def _labelled(folder: str, beginning: str, text: str, story: int, **how: Any) -> str:  # noqa: ANN401
    from fabula.labels import label  # noqa: PLC0415

    return label(folder, beginning, text, story, **how)


def copies(found: Copied) -> str:
    """What was copied, as a line for people.

    >>> copies(Copied((), 0.0, 0)), copies(Copied((), 0.31, 9, 0.1))
    ('copied: nothing', 'copied: 31% of the words in runs of 4 or more, 10% in runs of 8 or more; the longest 9 words')
    """
    if not found.longest:
        return "copied: nothing"
    return (
        f"copied: {found.share:.0%} of the words in runs of {SHORTEST} or more, {found.long_share:.0%} in runs of "
        f"{LONG} or more; the longest {found.longest} words"
    )


def _show(opening: str, pieces: Iterator[str], *, quiet: bool) -> str:
    """Print as it comes, and return it; a terminal never gets control characters."""
    clean, told = visible if sys.stdout.isatty() else str, list[str]()
    sys.stdout.write(clean(opening))
    with waiting("reading the prompt ...", quiet=quiet):
        first = next(pieces, "")
    for piece in itertools.chain([first], pieces):
        sys.stdout.write(clean(piece))
        sys.stdout.flush()
        told.append(piece)
    return "".join(told)
