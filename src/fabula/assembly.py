"""How a training is put together from a corpus and settings: what is not chosen is, and nothing is learned yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from fabula import checkpoints, evaluation, footprint, precision, processor, recipe
from fabula.config import Settings, TrainingConfig
from fabula.corpus import Corpus, first
from fabula.errors import UsageError
from fabula.events import Listener
from fabula.folder import Checkpoint
from fabula.inheritance import GENTLER, Ancestor
from fabula.model import LanguageModel, NumpyScorer
from fabula.pretrained import initial_embedding
from fabula.run import Run
from fabula.streams import Feed, Lanes, Windows
from fabula.tuning import begin_from, freeze, look_back, optimizer_for

CHECK_TOKENS = 16_384
"""Held-out units measured on the way; all of them are measured at the end."""

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
) -> Run:
    """A new run. Errors: UsageError for what cannot be done with the memory or in the time there is."""
    wished, by_pace = settings.training.lr, () if corpus.by_heart else recipe.chosen_by_pace(settings)
    facts = facts_of(corpus, _speeds(corpus, settings.training))
    settings, said = recipe.choose(settings, facts, size)
    settings = replace(settings, text=replace(settings.text, unit=corpus.tokenizer.unit))
    notes = [*corpus.notes, f"unit: {corpus.tokenizer.unit} ({corpus.unit_reason})", *said]
    if ancestor and wished is None:
        settings, gentler = _gentler(settings)
        by_pace = tuple(name for name in by_pace if name != "lr")
        notes.append(gentler)
    run = _assemble(out, settings, replace(corpus, notes=tuple(notes)), listeners, begun)
    run.by_pace = list(by_pace)
    limit = run.limit
    if limit is not None:
        _keep_time(run)
    if ancestor:
        _start_from(ancestor, run)
    if limit is not None and limit - run.seconds - run.reserve < LEAST and not corpus.by_heart:
        time, least = run.settings.training.time or limit, run.seconds + run.reserve + LEAST + 1
        least *= 1 + (time > limit)  # half of the time is for this one
        raise UsageError(f"--time {time:g}s is too short to learn anything here: give {least:.0f}s or more")
    return run


def again(
    corpus: Corpus, out: Path, settings: Settings, saved: Checkpoint, *, listeners: Sequence[Listener], begun: float
) -> Run:
    """A run at the step where its checkpoint stands."""
    run = _assemble(out, settings, corpus, listeners, begun)
    checkpoints.restore(run, saved)
    if run.kept is not None:
        _shorten(run, run.kept)
    return run


def facts_of(corpus: Corpus, speeds: Mapping[int, float] | None = None) -> recipe.Facts:
    """What the recipe depends on."""
    return recipe.Facts(
        predictions=corpus.train.tokens + len(corpus.train.streams),
        vocabulary=corpus.tokenizer.size,
        unit=corpus.tokenizer.unit,
        by_heart=corpus.by_heart,
        speeds=speeds or {},
    )


def _speeds(corpus: Corpus, training: TrainingConfig) -> dict[int, float]:
    """What the machine learns in a second, by lanes; measured only where a time limit makes it count."""
    if corpus.by_heart or (training.time is None and recipe.seconds(training) is None):
        return {}
    place = processor.device(training.device)
    with processor.ready(training.threads):
        form = precision.choose(training.precision, processor.SAMPLE[-1], place.type)
        return {lanes: processor.units_per_second(form, place, lanes) for lanes in recipe.LANES}


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
    run.reserve += run.past.seconds if run.past else 0.0
    inherited = begin_from(ancestor, run.model, run.corpus, training.seed)
    run.corpus = replace(run.corpus, notes=(*run.corpus.notes, inherited, said))


def _assemble(out: Path, settings: Settings, corpus: Corpus, listeners: Sequence[Listener], begun: float) -> Run:
    """A run at its very beginning."""
    training, end, streams = settings.training, corpus.tokenizer.end, corpus.train.streams
    assert training.batch
    assert training.length
    if settings.model.window:
        feed: Feed = Windows(streams, end, window=settings.model.window, batch=training.batch, seed=training.seed)
    else:
        feed = Lanes(streams, end, batch=training.batch, length=training.length, seed=training.seed)
    shape, start, said = initial_embedding(settings, corpus)
    place = processor.device(training.device)
    footprint.check(shape, training, corpus.tokenizer.size, corpus.train.held, processor.free_memory(place))
    model = LanguageModel(shape, corpus.tokenizer.size, torch.Generator().manual_seed(training.seed))
    if shape.head in {"adaptive", "sampled"}:
        model.set_counts(streams.frequencies(end))
    if start is not None:
        model.set_embedding(start, frozen=training.freeze_vectors)
    model.to(place)
    freeze(model, training.freeze)
    # A text learned by heart is known before a probe would pay.
    unprobed = corpus.by_heart and training.precision == "auto"
    return Run(
        out=out,
        settings=replace(settings, model=shape),
        corpus=replace(corpus, notes=(*corpus.notes, *said)),
        model=model,
        optimizer=optimizer_for(model, training),
        feed=feed,
        check=corpus.kept(CHECK_TOKENS),
        listeners=listeners,
        begun=begun,
        precision="fp32" if unprobed else precision.choose(training.precision, shape.hidden or 0, place.type),
        state=model.initial_state(feed.batch(0)[0].shape[0]),
    )
