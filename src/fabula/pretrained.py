"""Word vectors in place of random ones: the first embedding of a model, from a file or from word2vec on the same text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fabula.config import ModelConfig, Settings
from fabula.corpus import Corpus
from fabula.errors import UsageError
from fabula.vectors import embedding_for, load_vectors, train_vectors, word_of

Start = tuple[ModelConfig, NDArray[np.float32] | None, tuple[str, ...]]


def initial_embedding(settings: Settings, corpus: Corpus) -> Start:
    """The model's settings with the vectors' width, the embedding (V, E) to begin with, and what to say about it.

    Without `training.vectors` the embedding is None and the settings are unchanged. Errors: VectorsError;
    UsageError for units that are not words; MissingExtraError when word2vec is asked for without gensim.
    """
    asked, tokenizer, model = settings.training.vectors, corpus.tokenizer, settings.model
    if asked is None:
        return model, None, ()
    if tokenizer.unit not in {"symbols", "words"}:
        raise UsageError(f"word vectors need words, but the unit is {tokenizer.unit}: add --unit words")
    spelled = [word_of(tokenizer.spelling(token)) for token in range(tokenizer.size)]
    if asked == "train":
        sentences = [[spelled[token] for token in stream] for stream in corpus.train.streams]
        vectors = train_vectors(sentences, width=model.embedding or 128, seed=settings.training.seed)
    else:
        vectors = load_vectors(Path(asked), {form for word in spelled for form in (word, word.lower())})
    rng = np.random.default_rng(settings.training.seed)
    start, coverage = embedding_for(tokenizer, vectors, rng)
    source = "word2vec on this text" if asked == "train" else asked
    said = f"word vectors from {source}: {coverage.found:,} of {coverage.total:,} {tokenizer.unit}, width {start.shape[1]}"
    return replace(model, embedding=start.shape[1]), start, (said,)
