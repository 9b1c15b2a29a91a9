"""What every retriever row must do."""

import pytest

from ragkit import word_index
from ragkit.catalog import EMBEDDERS, RETRIEVERS
from ragkit.projection import Projection
from ragkit.retrieve.hybrid import HybridRetriever
from ragkit.settings import RetrieveSettings
from ragkit.word_index import WordIndex
from tests import library


def build(name, collection, settings):
    parts = {
        "collection": collection,
        "projection": Projection(collection),
        "word_index": WordIndex(collection),
        "embedder": EMBEDDERS.load("hashing")(),
        "settings": settings,
    }
    parts["dense"] = RETRIEVERS.load("dense")(**parts)
    parts["words"] = RETRIEVERS.load("words")(**parts)
    return RETRIEVERS.load(name)(**parts)


@pytest.fixture(params=["a small collection", "a large collection"])
def collection(home, request, monkeypatch):
    if request.param == "a large collection":  # its words are searched in files of their own
        monkeypatch.setattr(word_index, "FTS5_UP_TO", 0)
    return library.filled(home)


@pytest.fixture(params=RETRIEVERS.names)
def retriever(request, collection):
    return build(request.param, collection, RetrieveSettings())


QUESTIONS = {
    "Which two low-rank matrices does LoRA learn?": "lora.md",
    "Who sleeps on the mat?": "cats.txt",
    "Where does prefix tuning prepend key and value vectors?": "prefix.md",
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_passage_that_holds_the_answer_comes_first(retriever, collection, question):
    assert collection.hits(retriever.retrieve(question, 3))[0].document == QUESTIONS[question]


def test_at_most_k_distinct_chunks_best_first(retriever):
    scored = retriever.retrieve("low-rank matrices and cats on mats", 3)
    scores = [score for _, score in scored]
    assert len(scored) <= 3
    assert len({chunk for chunk, _ in scored}) == len(scored)
    assert scores == sorted(scores, reverse=True)


def test_only_the_named_documents_are_searched(retriever, collection):
    scored = retriever.retrieve("Which low-rank matrices does LoRA learn?", 10, ["cats.txt", "prefix.md"])
    assert {hit.document for hit in collection.hits(scored)} <= {"cats.txt", "prefix.md"}
    assert retriever.retrieve("LoRA", 10, []) == []


def test_the_same_question_gives_the_same_order(retriever):
    question = "What is prepended to a layer?"
    assert retriever.retrieve(question, 5) == retriever.retrieve(question, 5)


@pytest.mark.parametrize("fusion", ["convex", "rrf"])
def test_hybrid_finds_what_only_one_of_its_parts_finds(collection, fusion):
    evenly = RetrieveSettings(fusion=fusion, dense_weight=0.5, words_weight=0.5)  # hashed words are near by chance
    hybrid = build("hybrid", collection, evenly)
    words = build("words", collection, RetrieveSettings())
    question = "sleeping"  # the hashing embedder does not stem, the full-text index does
    assert collection.hits(words.retrieve(question, 1))[0].document == "cats.txt"
    assert collection.hits(hybrid.retrieve(question, 1))[0].document == "cats.txt"


class Ranked:
    """A search that has its scores already."""

    def __init__(self, scores):
        self._scores = scores

    def retrieve(self, question, k, documents=None):
        return sorted(self._scores.items(), key=lambda pair: -pair[1])[:k]

    def cosines(self, question, chunks):
        return {chunk: self._scores[chunk] for chunk in chunks}


def test_a_candidate_gets_both_scores_whichever_search_proposed_it():
    meaning, words = {1: 0.9, 2: 0.5, 3: 0.1}, {2: 8.0, 1: 6.0, 3: 2.0}
    settings = RetrieveSettings(depth=1, dense_weight=0.6, words_weight=0.4)
    scored = HybridRetriever(Ranked(meaning), Ranked(words), settings).retrieve("", 1)
    assert scored == [(1, pytest.approx(0.6 + 0.4 * 6.0 / 8.0))]
    settings = RetrieveSettings(depth=1, dense_weight=0.1, words_weight=0.9)
    scored = HybridRetriever(Ranked(meaning), Ranked(words), settings).retrieve("", 1)
    assert scored == [(2, pytest.approx(0.1 * 1.5 / 1.9 + 0.9))]
