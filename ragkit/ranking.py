"""Formulas that join and reorder rankings: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ragkit.protocols import Scored
from ragkit.types import Vectors


def reciprocal_rank_fusion(rankings: Sequence[tuple[float, Sequence[int]]], constant: int = 60) -> Scored:
    """Sum of weight / (constant + rank) over the rankings, rank from 1 (Cormack, Clarke and Buettcher 2009).

    `rankings` are (weight, ids best first). Ties go to the smaller id, so that the order is the same every time.
    """
    scores: dict[int, float] = {}
    for weight, ids in rankings:
        for rank, item in enumerate(ids, start=1):
            scores[item] = scores.get(item, 0.0) + weight / (constant + rank)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def convex_combination(
    cosines: Mapping[int, float], bm25: Mapping[int, float], dense_weight: float, words_weight: float
) -> Scored:
    """dense_weight * cosine' + words_weight * bm25', each score scaled by its theoretical minimum and its maximum:

        cosine' = (cosine + 1) / (largest cosine + 1)        bm25' = bm25 / largest bm25

    This is TM2C2 of Bruch, Gai and Ingber (2023), "An Analysis of Fusion Functions for Hybrid Retrieval": better than
    reciprocal rank fusion in and out of domain. A candidate without a score counts as the minimum. Ties go to the
    smaller id.
    """
    top_cosine = max(cosines.values(), default=0.0) + 1.0
    top_bm25 = max(bm25.values(), default=0.0)
    scores = {
        item: dense_weight * ((cosines.get(item, -1.0) + 1.0) / top_cosine if top_cosine > 0 else 0.0)
        + words_weight * (bm25.get(item, 0.0) / top_bm25 if top_bm25 > 0 else 0.0)
        for item in cosines.keys() | bm25.keys()
    }
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def maximal_marginal_relevance(scored: Scored, vectors: Mapping[int, Vectors], k: int, relevance: float) -> Scored:
    """Pick k of the candidates, each time the one with the largest

        relevance * score - (1 - relevance) * (largest cosine to what is picked already)

    (Carbonell and Goldstein 1998). Scores are first scaled to 0..1 over the candidates, because fused scores and
    cosines have different ranges. `vectors` have length 1. Candidates without a vector keep their score alone.
    """
    if not scored or relevance >= 1:
        return scored[:k]
    raw = np.array([score for _, score in scored])
    spread = float(raw.max() - raw.min())
    value = (raw - raw.min()) / spread if spread > 0 else np.ones_like(raw)
    dimension = len(next(iter(vectors.values()))) if vectors else 1
    table = np.array([vectors.get(item, np.zeros(dimension)) for item, _ in scored], dtype=np.float32)
    nearest = np.zeros(len(scored))
    left = np.ones(len(scored), dtype=bool)
    picked: Scored = []
    while left.any() and len(picked) < k:
        gain = np.where(left, relevance * value - (1 - relevance) * nearest, -np.inf)
        place = int(gain.argmax())
        left[place] = False
        picked.append(scored[place])
        nearest = np.maximum(nearest, table @ table[place])
    return picked
