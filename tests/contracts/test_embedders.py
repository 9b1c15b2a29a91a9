"""What every embedder row must do."""

import numpy as np
import pytest

from ragkit.catalog import EMBEDDERS

NAMES = EMBEDDERS.names


@pytest.fixture(scope="module", params=NAMES)
def kind(request):
    return EMBEDDERS.load(request.param)


@pytest.fixture(scope="module")
def embedder(kind):
    return kind()


def test_vectors_have_length_one_and_the_stated_shape(embedder):
    vectors = embedder.embed(["one", "two words", "x " * 600])
    assert vectors.shape == (3, embedder.fingerprint.dimension)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_no_texts_give_no_vectors(embedder):
    assert embedder.embed([]).shape == (0, embedder.fingerprint.dimension)
    assert embedder.count_tokens([]) == []


def test_a_text_is_nearer_to_its_paraphrase_than_to_something_else(embedder):
    passages = embedder.embed(["The adapter adds low-rank matrices to the weights.", "The cat sleeps on the mat."])
    query = embedder.embed(["Which low-rank matrices does the adapter add?"], "query")[0]
    assert passages[0] @ query > passages[1] @ query + 0.1


def test_the_order_of_a_batch_does_not_matter(embedder):
    texts = ["short", "a much longer text about prefix tuning and its vectors " * 5, "", "middle sized one"]
    together = embedder.embed(texts)
    alone = np.vstack([embedder.embed([text]) for text in texts])
    assert (together * alone).sum(axis=1).min() > 0.999


def test_tokens_are_counted_without_truncation(embedder):
    few, many = embedder.count_tokens(["word", "word " * 1000])
    assert few < 8
    assert many >= 1000


def test_the_fingerprint_is_the_same_for_the_same_model(kind, embedder):
    assert kind().fingerprint == embedder.fingerprint
    assert embedder.fingerprint.max_tokens >= 64


def test_all_engines_give_the_same_vectors_for_the_same_model():
    """A collection may be searched with another engine than the one that embedded it."""
    texts = ["LoRA freezes the weights.", "In 1912 the ship sank in the Atlantic; 1,500 people died.", "a " * 300]
    engines = [EMBEDDERS.load(name)("minilm") for name in ("openvino", "sentence-transformers", "auto")]
    reference = engines[1].embed(texts)
    for engine in engines:
        assert engine.fingerprint == engines[1].fingerprint
        assert (engine.embed(texts) * reference).sum(axis=1).min() > 0.9995  # bf16 on both sides
        assert engine.count_tokens(texts) == engines[1].count_tokens(texts)
