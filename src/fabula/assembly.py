"""How a training is put together from a corpus and settings: what is not chosen is, and nothing is learned yet."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from fabula import checkpoints, evaluation, footprint, precision, processes, processor, recipe
from fabula.config import Settings, TrainingConfig, to_toml
from fabula.corpus import Corpus, first
from fabula.distributed import Team
from fabula.errors import UsageError
from fabula.events import Listener
from fabula.folder import Checkpoint
from fabula.inheritance import GENTLER, Ancestor
from fabula.model import LanguageModel, Learner, NumpyScorer
from fabula.pretrained import initial_embedding
from fabula.run import Run
from fabula.streams import Ahead, Feed, Lanes, Share, Windows
from fabula.tuning import begin_from, freeze, look_back, optimizer_for
from fabula.version import __version__

CHECK_TOKENS = 16_384
"""Held-out units measured on the way; all of them are measured at the end."""

FORMS = ("fp32", "bf16", "fp16")
"""Formats of the products, by the numbers that processes tell each other."""

LEAST = 1.0
"""Seconds of a time limit that must be left for learning when all is ready."""

JUDGING = 0.1
"""Share of a time limit that the last measurement may take: what is kept aside beyond that is not measured."""


def begin(
    corpus: Corpus,
    out: Path,
    settings: Settings,
    *,
    size: str | None,
    ancestor: Ancestor | None,
    listeners: Sequence[Listener],
    begun: float,
    team: Team,
) -> Run:
    """A new run. Errors: UsageError for what cannot be done with the memory or in the time there is."""
    wished, by_pace = settings.training.lr, () if corpus.by_heart else recipe.chosen_by_pace(settings)
    _compare(settings, corpus, team)
    facts = facts_of(corpus, _speeds(corpus, settings.training, team), team)
    settings, said = recipe.choose(settings, facts, size)
    settings = replace(settings, text=replace(settings.text, unit=corpus.tokenizer.unit))
    notes = [*corpus.notes, f"unit: {corpus.tokenizer.unit} ({corpus.unit_reason})", *said]
    if ancestor and wished is None:
        settings, gentler = _gentler(settings)
        by_pace = tuple(name for name in by_pace if name != "lr")
        notes.append(gentler)
    run = _assemble(out, settings, replace(corpus, notes=tuple(notes)), listeners=listeners, begun=begun, team=team)
    run.by_pace = list(by_pace)
    limit = run.limit
    if limit is not None:
        _keep_time(run)
    if ancestor:
        _start_from(ancestor, run)
    run.meet()
    if limit is not None and limit - run.seconds - run.reserve < LEAST and not corpus.by_heart:
        time, least = run.settings.training.time or limit, run.seconds + run.reserve + LEAST + 1
        least *= 1 + (time > limit)  # half of the time is for this one
        raise UsageError(f"--time {time:g}s is too short to learn anything here: give {least:.0f}s or more")
    return run


def again(
    corpus: Corpus,
    out: Path,
    settings: Settings,
    saved: Checkpoint,
    *,
    listeners: Sequence[Listener],
    begun: float,
    team: Team,
) -> Run:
    """A run at the step where its checkpoint stands."""
    _compare(settings, corpus, team, step=saved.step)
    run = _assemble(out, settings, corpus, listeners=listeners, begun=begun, team=team)
    checkpoints.restore(run, saved)
    if run.kept is not None:
        _shorten(run, run.kept)
    return run


def facts_of(corpus: Corpus, speeds: Mapping[int, float] | None = None, team: Team | None = None) -> recipe.Facts:
    """What the recipe depends on."""
    return recipe.Facts(
        predictions=corpus.train.tokens + len(corpus.train.streams),
        vocabulary=corpus.tokenizer.size,
        unit=corpus.tokenizer.unit,
        by_heart=corpus.by_heart,
        speeds=speeds or {},
        processes=team.size if team else 1,
    )


def _compare(settings: Settings, corpus: Corpus, team: Team, *, step: int = 0) -> None:
    """Make sure that several processes begin alike; errors: ProcessError."""
    if team.size > 1:
        told = {"settings": to_toml(settings), "text": corpus.digest, "checkpoint": str(step)}
        short = {name: hashlib.sha256(value.encode()).hexdigest()[:12] for name, value in told.items()}
        versions = {"version of fabula": __version__, "version of torch": str(torch.__version__)}
        team.compare(versions | short)


def _said_of(team: Team, training: TrainingConfig, learner: Learner) -> tuple[str, ...]:
    """A sentence on how the lanes are shared, and on what travels, where there are several processes."""
    if team.size == 1:
        return ()
    sent = sum(one.numel() for name, one in learner.named_parameters() if name not in learner.sparse)
    rows = " besides the rows used of word vectors" if learner.sparse else ""
    lanes = f"{team.size} processes learn together, each {(training.batch or 0) // team.size} lanes"
    return (f"{lanes}; {4 * sent / 1e6:,.1f} MB of gradients travel in each step{rows}",)


def _speeds(corpus: Corpus, training: TrainingConfig, team: Team) -> dict[int, float]:
    """What the machine learns in a second, by lanes; measured only where a time limit makes it count."""
    if corpus.by_heart or (training.time is None and recipe.seconds(training) is None):
        return {}
    place = processor.device(training.device)
    with processor.ready(training.threads):
        form = precision.choose(training.precision, processor.SAMPLE[-1], place.type)
        found = team.agree(*(processor.units_per_second(form, place, lanes) for lanes in recipe.LANES))
        return dict(zip(recipe.LANES, found, strict=True))


def _gentler(settings: Settings) -> tuple[Settings, str]:
    """The learning rate of a model that knows something already, and a sentence on it."""
    lr = (settings.training.lr or 0.0) * GENTLER
    said = f"learning rate {lr:.2g}, a third of a new model's, lest it forget: --set training.lr overrules it"
    return replace(settings, training=replace(settings.training, lr=lr)), said


def _keep_time(run: Run) -> None:
    """Keep back what the last measurement will take of a time limit, and shorten it where that is too much."""
    kept, end, window = run.corpus.held_out, run.corpus.tokenizer.end, run.settings.model.window
    if kept is None:
        return
    with processor.ready(run.settings.training.threads):
        needed = evaluation.seconds_for(NumpyScorer(run.model), kept.tokens, end, window=window)
    needed = run.team.agree(needed / run.team.size)[0]
    training = run.settings.training
    share = JUDGING * recipe.each(training, training.time or 0.0) / max(needed, 1e-9)
    if share < 1:
        said = f"{JUDGING:.0%} of the time is for measuring, so only {share:.0%} of what was kept aside is measured"
        run.corpus = replace(run.corpus, notes=(*run.corpus.notes, said))
        _shorten(run, max(1, int(share * kept.tokens)))
    run.measuring = needed * run.check.tokens / max(kept.tokens, 1) if run.check else 0.0
    run.keep_back(run.measuring)


def _shorten(run: Run, most: int) -> None:
    """Measure on so many held-out units only."""
    stories = first(run.corpus.held_out_stories, run.corpus.tokenizer, most)
    shorter = run.corpus.encoded(stories)
    run.corpus, run.kept = replace(run.corpus, held_out=shorter, held_out_stories=stories), most
    run.check = run.corpus.kept(CHECK_TOKENS)


def _start_from(ancestor: Ancestor, run: Run) -> None:
    """Give a fresh run what an old model knows, and measure what that one could do."""
    training = run.settings.training
    with processor.ready(training.threads):
        run.past, said = look_back(ancestor, run.corpus, CHECK_TOKENS)
    if run.past:
        run.past = replace(run.past, seconds=run.team.agree(run.past.seconds)[0])
    run.reserve += run.past.seconds if run.past else 0.0
    inherited = begin_from(ancestor, run.model, run.corpus, training.seed)
    run.corpus = replace(run.corpus, notes=(*run.corpus.notes, inherited, said))


def _assemble(
    out: Path, settings: Settings, corpus: Corpus, *, listeners: Sequence[Listener], begun: float, team: Team
) -> Run:
    """A run at its very beginning."""
    training, end, streams = settings.training, corpus.tokenizer.end, corpus.train.streams
    assert training.batch
    assert training.length
    share = Share(team.rank, team.size, training.accumulate)
    share.lanes(training.batch)  # before a short text makes fewer of them
    if settings.model.window:
        feed: Feed = Windows(
            streams, end, window=settings.model.window, batch=training.batch, seed=training.seed, share=share
        )
    else:
        feed = Lanes(streams, end, batch=training.batch, length=training.length, seed=training.seed, share=share)
    shape, start, said = initial_embedding(settings, corpus)
    place = processor.device(training.device)
    own, free = replace(training, batch=training.batch // team.size), processor.free_memory(place)
    if free is not None and place.type == "cpu":
        free //= processes.here()
    footprint.check(shape, own, corpus.tokenizer.size, corpus.train.held, free)
    model = LanguageModel(shape, corpus.tokenizer.size, torch.Generator().manual_seed(training.seed))
    if shape.head in {"adaptive", "sampled"}:
        model.set_counts(streams.frequencies(end))
    if start is not None:
        model.set_embedding(start, frozen=training.freeze_vectors)
    model.to(place)
    freeze(model, training.freeze)
    # A text learned by heart is known before a probe would pay.
    unprobed = corpus.by_heart and training.precision == "auto"
    form = "fp32" if unprobed else precision.choose(training.precision, shape.hidden or 0, place.type)
    learner = Learner(model)
    return Run(
        out=out,
        settings=replace(settings, model=shape),
        corpus=replace(corpus, notes=(*corpus.notes, *said, *_said_of(team, training, learner))),
        model=model,
        learner=team.shared(learner, sum(one.numel() for one in model.parameters()), learner.sparse),
        team=team,
        optimizer=optimizer_for(model, training),
        feed=feed if place.type == "cpu" else Ahead(feed),
        check=corpus.kept(CHECK_TOKENS),
        listeners=listeners,
        begun=begun,
        precision=FORMS[int(team.agree(FORMS.index(form))[0])],
        state=model.initial_state(feed.batch(0)[0].shape[0]),
    )
