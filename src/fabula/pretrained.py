"""Word vectors in place of random ones: a model's first embedding, from a file or from word2vec on the same text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fabula.config import ModelConfig, Settings
from fabula.corpus import Corpus
from fabula.errors import UsageError
from fabula.vectors import embedding_for, load_vectors, train_vectors, wanted_words, word_of

Start = tuple[ModelConfig, NDArray[np.float32] | None, tuple[str, ...]]


def initial_embedding(settings: Settings, corpus: Corpus) -> Start:
    """The model's settings with the vectors' width, the embedding (V, E) to begin with, and what to say about it.

    Without `training.vectors` the embedding is None and the settings are unchanged. Errors: VectorsError;
    UsageError for units that are not words or another width than asked for; MissingExtraError when word2vec is asked
    for without gensim.
    """
    asked, tokenizer, model = settings.training.vectors, corpus.tokenizer, settings.model
    if asked is None:
        return model, None, ()
    if tokenizer.unit not in {"symbols", "words"}:
        raise UsageError(f"word vectors need words, but the unit is {tokenizer.unit}: add --unit words")
    if asked == "train":
        spelled = [word_of(tokenizer.spelling(token)) for token in range(tokenizer.size)]
        if not corpus.train.streams.held:
            raise UsageError(
                "word2vec needs the whole text in memory, but this lies in a store: give it a file of vectors"
            )
        stories = ([spelled[token] for token in stream] for stream in corpus.train.streams)
        vectors = train_vectors(stories, width=model.embedding or 128, seed=settings.training.seed)
    else:
        vectors = load_vectors(asked, wanted_words(tokenizer))
    counts = corpus.train.streams.frequencies(tokenizer.end)
    counts[tokenizer.end] = 0  # no word
    rng = np.random.default_rng(settings.training.seed)
    start, coverage = embedding_for(tokenizer, vectors, rng, counts)
    source = "word2vec on this text" if asked == "train" else asked
    said = f"word vectors from {source}, width {vectors.width}: {coverage}"
    return replace(model, embedding=vectors.width), start, (said,)
