"""Fusion and diversification, against values worked out by hand and by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.ranking import convex_combination, maximal_marginal_relevance, reciprocal_rank_fusion

rankings = st.lists(st.lists(st.integers(0, 30), unique=True, max_size=12), min_size=1, max_size=3)


def test_reciprocal_rank_fusion_by_hand():
    fused = dict(reciprocal_rank_fusion([(1.0, [7, 8]), (2.0, [8, 9])], constant=60))
    assert fused[7] == pytest.approx(1 / 61)
    assert fused[8] == pytest.approx(1 / 62 + 2 / 61)
    assert fused[9] == pytest.approx(2 / 62)


@given(rankings)
def test_fusion_ranks_each_item_once_and_keeps_a_unanimous_winner(lists):
    fused = reciprocal_rank_fusion([(1.0, items) for items in lists])
    assert sorted(item for item, _ in fused) == sorted({item for items in lists for item in items})
    assert [score for _, score in fused] == sorted((score for _, score in fused), reverse=True)
    if all(lists) and len({items[0] for items in lists}) == 1:
        assert fused[0][0] == lists[0][0]


def test_convex_combination_by_hand():
    fused = dict(convex_combination({1: 0.6, 2: 0.2, 3: -1.0}, {2: 12.0, 3: 6.0}, 0.5, 0.5))
    assert fused == pytest.approx({1: 0.5, 2: 0.5 * 1.2 / 1.6 + 0.5, 3: 0.25})


@given(st.dictionaries(st.integers(0, 50), st.floats(-1, 1), max_size=20))
def test_one_search_alone_keeps_its_order(cosines):
    fused = convex_combination(cosines, {}, 0.6, 0.4)
    assert fused == sorted(fused, key=lambda pair: (-pair[1], pair[0]))
    assert {item for item, _ in fused} == set(cosines)
    assert [cosines[item] for item, _ in fused] == pytest.approx(sorted(cosines.values(), reverse=True))


def test_mmr_prefers_a_different_passage_to_a_repeated_one():
    same, other = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)
    scored = [(1, 1.0), (2, 0.99), (3, 0.5)]
    vectors = {1: same, 2: same, 3: other}
    assert [item for item, _ in maximal_marginal_relevance(scored, vectors, 2, 1.0)] == [1, 2]
    assert [item for item, _ in maximal_marginal_relevance(scored, vectors, 2, 0.5)] == [1, 3]


@given(st.integers(0, 8), st.floats(0, 1))
def test_mmr_picks_k_distinct_candidates(k, relevance):
    generator = np.random.default_rng(k)
    table = generator.normal(size=(6, 4)).astype(np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    scored = [(item, float(score)) for item, score in enumerate(sorted(generator.random(6), reverse=True))]
    picked = maximal_marginal_relevance(scored, dict(enumerate(table)), k, relevance)
    assert len(picked) == min(k, 6) == len({item for item, _ in picked})
    assert all(pair in scored for pair in picked)
