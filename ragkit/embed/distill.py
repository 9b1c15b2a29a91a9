"""A table of token vectors out of a sentence-transformers model, without any text to learn from.

After model2vec (Tulkens and van Dongen 2024): every token of the vocabulary is embedded alone; principal components
keep what tells tokens apart, and are brought nearer to one length here; frequent tokens weigh less, by their rank under
Zipf's law (smooth inverse frequency, Arora et al. 2017). What the words of a text mean together is lost:
`tests/bench/static.py` measures how much that is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from ragkit.embed.sentence import SentenceEmbedder
from ragkit.errors import SettingsError
from ragkit.types import Vectors

DIMENSION = 256
"""model2vec's default."""
_WHITEN = 0.75
"""How far the components are brought to one length: 0 leaves them, 1 makes them equal. Without it nDCG@10 of whole
documents is lower on each of SciFact, Cranfield and CISI; between 0.5 and 1 little changes."""
_MARKS = re.compile("^(##|[Ġ▁])")
"""What tokenizers put before a token to say that it goes on a word, or begins one."""
_LEAST = 1e-4
"""Least variance that counts, as a part of the largest: below it there is noise."""
_SIF = 1e-4
"""The constant of smooth inverse frequency (model2vec's; Arora et al. take 1e-3 for counted frequencies)."""


def distill(model: str, folder: Path, dimension: int = DIMENSION) -> None:
    """Write a static model into an empty folder, in sentence-transformers' format.

    Args:
        model: a built-in name, a folder or a hub id of a sentence-transformers model.
        folder: where to.
        dimension: of the vectors; at most that of the model.

    Raises SettingsError for an impossible dimension, ModelError for a model that cannot be loaded.
    """
    original = SentenceEmbedder(model)
    most = original.fingerprint.dimension
    if not 1 <= dimension <= most:
        raise SettingsError(f"dimension is {dimension}.", f"It lies from 1 to {most}, that of {model}.")
    vectors, plain = original.token_vectors()
    table = np.zeros((len(vectors), dimension), dtype=np.float32)
    table[plain] = _components(vectors[plain], dimension) * _weights(original.tokens(), plain)[plain, None]
    SentenceTransformer(modules=[StaticEmbedding(original.tokenizer, embedding_weights=table)]).save_pretrained(
        str(folder), create_model_card=False
    )


def _components(vectors: Vectors, dimension: int) -> Vectors:
    """The vectors along their first principal components, partly whitened, shape (n, dimension)."""
    centred = vectors - vectors.mean(axis=0)
    _, variances, directions = np.linalg.svd(centred.T @ centred / len(centred))
    kept = np.maximum(variances[:dimension], _LEAST * variances[0])
    return centred @ directions[:dimension].T / kept ** (_WHITEN / 2)


def _weights(tokens: Sequence[str], plain: NDArray[np.bool_]) -> Vectors:
    """Smooth inverse frequency, by place in the vocabulary: it lists frequent words first.

    Single letters and marks stand before all words, in no such order; they count as frequent as the most frequent one.
    """
    word = plain & np.array([len(_MARKS.sub("", token)) > 1 for token in tokens])
    frequency = 1.0 / (np.cumsum(word) + 1)
    return (_SIF / (_SIF + frequency / frequency[word].sum())).astype(np.float32)
