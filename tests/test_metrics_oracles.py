"""Our formulas against other people's implementations, on real data."""

import json
import math
import random
import sys

import numpy as np
import pytest

from ragkit.evaluate import answers, retrieval
from ragkit.evaluate.case import Case, Question

EXACT = {"abs": 1e-9}


def rankings(seed, questions=200, pages=60):
    """Random judged rankings: (ranking, gains), with graded relevance and ties broken by construction."""
    generator = random.Random(seed)
    for _ in range(questions):
        ranking = [f"p{number}" for number in generator.sample(range(pages), generator.randint(1, 40))]
        relevant = generator.sample(range(pages), generator.randint(1, 8))
        yield ranking, {f"p{number}": float(generator.randint(1, 3)) for number in relevant}


def test_ranking_metrics_agree_with_trec_eval():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    cases = list(rankings(0))
    qrels = {str(n): {page: int(gain) for page, gain in gains.items()} for n, (_, gains) in enumerate(cases)}
    run = {str(n): {page: -float(rank) for rank, page in enumerate(found)} for n, (found, _) in enumerate(cases)}
    measures = {"map", "recip_rank", "ndcg_cut.10", "recall.5"}
    official = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
    for number, (found, gains) in enumerate(cases):
        wanted = official[str(number)]
        assert retrieval.average_precision(found, gains) == pytest.approx(wanted["map"], **EXACT)
        assert retrieval.reciprocal_rank(found, gains) == pytest.approx(wanted["recip_rank"], **EXACT)
        assert retrieval.ndcg(found, gains, 10) == pytest.approx(wanted["ndcg_cut_10"], **EXACT)
        assert retrieval.recall(found, gains, 5) == pytest.approx(wanted["recall_5"], **EXACT)


@pytest.mark.data
def test_ranking_metrics_agree_with_sentence_transformers_on_cranfield(data):
    evaluation = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation")
    folder = data / "ir" / "cranfield"
    relevant = {}
    for line in next((folder / "qrels").iterdir()).read_text().splitlines()[1:]:
        query, page, grade = line.split("\t")
        if int(grade) > 0:
            relevant.setdefault(query, set()).add(page)
    corpus = [json.loads(line)["_id"] for line in (folder / "corpus.jsonl").read_text().splitlines()]
    queries = {query: query for query in sorted(relevant)}
    scorer = evaluation.InformationRetrievalEvaluator(
        queries,
        dict.fromkeys(corpus, ""),
        relevant,
        mrr_at_k=[10],
        ndcg_at_k=[10],
        map_at_k=[100],
        accuracy_at_k=[5],
        precision_recall_at_k=[5],
    )
    generator = np.random.default_rng(0)
    found = [[corpus[place] for place in generator.permutation(len(corpus))[:100]] for _ in queries]
    for ranking, query in zip(found, queries, strict=True):  # some luck, so that the numbers are not all zero
        ranking[int(generator.integers(0, 20))] = sorted(relevant[query])[0]
    found = [list(dict.fromkeys(ranking)) for ranking in found]
    results = [[{"corpus_id": page, "score": -rank} for rank, page in enumerate(ranking)] for ranking in found]
    official = scorer.compute_metrics(results)
    binary = [(ranking, dict.fromkeys(relevant[query], 1.0)) for ranking, query in zip(found, queries, strict=True)]
    assert np.mean([retrieval.ndcg(*pair, 10) for pair in binary]) == pytest.approx(official["ndcg@k"][10], **EXACT)
    assert np.mean([retrieval.recall(*pair, 5) for pair in binary]) == pytest.approx(official["recall@k"][5], **EXACT)
    mrr = np.mean([retrieval.reciprocal_rank(ranking[:10], gains) for ranking, gains in binary])
    assert mrr == pytest.approx(official["mrr@k"][10], **EXACT)


def predictions(data, seed=1):
    """Real questions with real and spoilt answers: (question id, prediction, gold answers)."""
    generator = random.Random(seed)
    articles = json.loads((data / "squad" / "squad-v1.1-dev.json").read_text())["data"]
    rows = [row for article in articles for part in article["paragraphs"] for row in part["qas"]]
    everything = [answer["text"] for row in rows for answer in row["answers"]]
    for row in generator.sample(rows, 1500):
        golds = [answer["text"] for answer in row["answers"]]
        kind = generator.randrange(5)
        prediction = {
            0: golds[0],
            1: f"The {golds[-1].upper()}!",
            2: " ".join(golds[0].split()[:2]) + " and more",
            3: generator.choice(everything),
            4: "",
        }[kind]
        yield row["id"], prediction, golds


@pytest.fixture
def squad_scorer():
    """torchmetrics' SQuAD scores of one prediction and one gold answer, in double precision."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchmetrics.functional.text")
    module = sys.modules["torchmetrics.functional.text.squad"]
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # it would compute in single precision otherwise
    yield lambda told, gold: (
        float(module._compute_exact_match_score(told, gold)),
        float(module._compute_f1_score(told, gold)),
    )
    torch.set_default_dtype(before)


@pytest.mark.data
def test_exact_match_and_f1_agree_with_an_independent_squad_scorer(data, squad_scorer):
    for _, told, golds in predictions(data):
        for gold in golds:
            exact, f1 = squad_scorer(told, gold)
            assert answers.exact_match(told, gold) == exact
            assert answers.f1(told, gold) == pytest.approx(f1, **EXACT)


@pytest.mark.data
def test_unanswerable_questions_score_as_squad_v2_says(data, squad_scorer):
    """Version 2.0 lets the empty text stand for the gold answer of a question that has none."""
    articles = json.loads((data / "squad" / "squad-v2.0-dev.json").read_text())["data"]
    rows = [row for article in articles for part in article["paragraphs"] for row in part["qas"]]
    generator = random.Random(2)
    for row in generator.sample(rows, 1500):
        golds = [answer["text"] for answer in row["answers"]]
        told = generator.choice(["", *golds, "something else", "the"])
        case = Case(Question(row["id"], row["question"], tuple(golds)), told)
        scores = [squad_scorer(told, gold) for gold in golds or [""]]
        exact, f1 = (max(column) for column in zip(*scores, strict=True))
        assert answers.exact_match_row(case) == pytest.approx(exact, **EXACT)
        assert answers.f1_row(case) == pytest.approx(f1, **EXACT)


@pytest.mark.data
def test_rouge_l_agrees_with_googles(data):
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=False)
    for _, told, golds in predictions(data, seed=3):
        wanted = scorer.score(golds[0], told)["rougeL"].fmeasure
        assert answers.rouge_l(told, golds[0]) == pytest.approx(wanted, **EXACT)


def test_ndcg_by_hand():
    assert retrieval.ndcg(["a", "b", "c"], {"c": 2.0, "a": 1.0}, 10) == pytest.approx(
        (1 + 2 / math.log2(4)) / (2 + 1 / math.log2(3))
    )
