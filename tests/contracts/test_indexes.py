"""What every index row must do."""

import numpy as np
import pytest

from ragkit.catalog import INDEXES
from ragkit.errors import CollectionError

DIMENSION = 384


def unit_vectors(count, seed=0):
    """Vectors of low intrinsic dimension, as embeddings of texts are: some rows really are near each other."""
    projection = np.random.default_rng(42).normal(size=(12, DIMENSION))
    table = np.random.default_rng(seed).normal(size=(count, 12)) @ projection
    return (table / np.linalg.norm(table, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(params=INDEXES.names)
def kind(request):
    return INDEXES.load(request.param)


@pytest.fixture
def ids():
    return np.arange(2000, dtype=np.int64) * 7 + 3


def test_search_finds_what_exact_search_finds(kind, ids):
    vectors, queries = unit_vectors(2000), unit_vectors(50, seed=1)
    _, found = kind.build(ids, vectors).search(queries, 10)
    exact = ids[np.argsort(-(queries @ vectors.T), axis=1)[:, :10]]
    recall = np.mean([len(set(row) & set(truth)) / 10 for row, truth in zip(found, exact, strict=True)])
    assert recall >= 0.9


def test_scores_are_cosines_in_descending_order(kind, ids):
    vectors = unit_vectors(2000)
    scores, found = kind.build(ids, vectors).search(vectors[:5], 5)
    assert list(found[:, 0]) == list(ids[:5])
    assert np.allclose(scores[:, 0], 1.0, atol=0.02)
    assert (np.diff(scores, axis=1) <= 1e-6).all()


def test_vectors_come_back_as_exact_as_scores(kind, ids, tmp_path):
    vectors = unit_vectors(2000)
    kind.build(ids, vectors).save(tmp_path / "x")
    index = kind.load(tmp_path / "x")
    some = index.vectors(ids[[1999, 3, 700]])
    assert some.shape == (3, DIMENSION)
    assert np.abs(some @ vectors[:50].T - vectors[[1999, 3, 700]] @ vectors[:50].T).max() < 0.02
    assert index.vectors(ids[:0]).shape == (0, DIMENSION)


@pytest.mark.parametrize("count", [1, 2, 7, 60])
def test_few_vectors_and_large_k(kind, ids, count):
    vectors = unit_vectors(count)
    scores, found = kind.build(ids[:count], vectors).search(vectors[:1], count + 3)
    assert found.shape == scores.shape == (1, count + 3)
    assert found[0, 0] == ids[0]
    assert set(found[0, :count]) <= set(ids[:count])
    assert (found[0, count:] == -1).all()
    assert np.isneginf(scores[0, count:]).all()


def test_a_filter_lets_only_these_ids_through_and_finds_all_of_them(kind, ids):
    only = ids[100:140]
    _, found = kind.build(ids, unit_vectors(2000)).search(unit_vectors(3, seed=2), 40, only)
    assert all(set(row) == set(only) for row in found)


def test_a_filter_that_matches_nothing_gives_nothing(kind, ids):
    _, found = kind.build(ids, unit_vectors(2000)).search(unit_vectors(1), 4, np.array([1], dtype=np.int64))
    assert (found == -1).all()


def test_saved_and_loaded_it_answers_the_same(kind, ids, tmp_path):
    vectors, queries = unit_vectors(2000), unit_vectors(9, seed=3)
    index = kind.build(ids, vectors)
    index.save(tmp_path / "vectors.faiss")
    assert [path.name for path in tmp_path.iterdir()] == ["vectors.faiss"]
    loaded = kind.load(tmp_path / "vectors.faiss")
    assert np.array_equal(loaded.ids, ids)
    assert np.array_equal(loaded.search(queries, 8)[1], index.search(queries, 8)[1])


def test_a_damaged_file_is_refused(kind, tmp_path):
    path = tmp_path / "vectors.faiss"
    path.write_bytes(b"no index at all")
    with pytest.raises(CollectionError, match="not a readable index"):
        kind.load(path)
