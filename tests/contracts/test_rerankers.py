"""What every reranker row must do, on a tiny random model that the test makes."""

import pytest

from ragkit.catalog import RERANKERS
from ragkit.errors import ModelError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT cross-encoder of two layers with random weights, saved as sentence-transformers saves it."""
    transformers = pytest.importorskip("transformers")
    sentence_transformers = pytest.importorskip("sentence_transformers")
    path = tmp_path_factory.mktemp("cross-encoder")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "cat",
        "sat",
        "on",
        "mat",
        "lora",
        "rank",
        "what",
        "is",
    ]
    (path / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizer(str(path / "vocab.txt"))
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=1,
    )
    transformers.set_seed(0)
    transformers.BertForSequenceClassification(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    sentence_transformers.CrossEncoder(str(path)).save_pretrained(str(path))
    return path


@pytest.mark.parametrize("name", RERANKERS.names)
def test_one_score_a_passage_and_the_same_every_time(name, folder):
    reranker = RERANKERS.load(name)(str(folder))
    passages = ["the cat sat on the mat", "lora is rank", "what"]
    scores = reranker.score("what is the cat", passages)
    assert len(scores) == 3
    assert all(isinstance(score, float) for score in scores)
    assert reranker.score("what is the cat", passages[::-1])[::-1] == pytest.approx(scores, abs=1e-5)
    assert reranker.score("anything", []) == []


@pytest.mark.parametrize("name", RERANKERS.names)
def test_a_missing_model_is_one_clear_error(name, tmp_path):
    with pytest.raises(ModelError):
        RERANKERS.load(name)(str(tmp_path / "nowhere"))
