"""What every metric row must do, and what each says about plain cases."""

import pytest

from ragkit.catalog import METRICS
from ragkit.evaluate.case import Case, Gold, Missing, Question
from ragkit.types import Citation, Generation, Hit, Support

WHO = Question("1", "Who sat?", ("The cat",), (Gold("cats.txt", 1),))
NOBODY = Question("2", "Who flew?", ())
RETRIEVAL_ONLY = Question("3", "mats", (), (Gold(label="x"),), judged=False)


def hit(rank, document="cats.txt", page=1, text="The cat sat on the mat."):
    return Hit(rank, 1.0 / rank, rank, document, page, str(page), 0, len(text), text)


def case(question=WHO, text="The cat. [1]", hits=None, numbers=(1,)):
    hits = (hit(1), hit(2, "dogs.txt", 4, "A dog barked.")) if hits is None else hits
    cited = tuple(
        Citation(n, hits[n - 1].document, hits[n - 1].page, "1", 0, 1, "T", hits[n - 1].chunk) for n in numbers
    )
    support = (Support(0, len(text), 1.0, numbers),) if text else ()
    return Case(question, text, hits, cited, support, Generation(text, 10, 3, 0.1, 0.2, "stop"), 0.3)


def value(name, given):
    return METRICS.load(name)(given)


@pytest.mark.parametrize("name", METRICS.names)
def test_a_value_is_a_finite_number_or_missing_with_a_reason(name):
    for given in (case(), case(NOBODY, ""), case(text=""), case(hits=(), numbers=()), Case(WHO), Case(RETRIEVAL_ONLY)):
        found = value(name, given)
        if isinstance(found, Missing):
            assert found.reason
        else:
            assert 0 <= found < 1000


@pytest.mark.parametrize("name", METRICS.names)
def test_every_metric_says_what_it_is(name):
    assert METRICS.load(name).__doc__.strip()


PERFECT = [
    "recall",
    "mrr",
    "ndcg",
    "map",
    "exact-match",
    "f1",
    "rouge-l",
    "citation-precision",
    "citation-recall",
    "support",
    "abstention",
]


@pytest.mark.parametrize("name", PERFECT)
def test_the_right_answer_from_the_right_page_scores_one(name):
    assert value(name, case()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "name", ["recall", "mrr", "ndcg", "map", "exact-match", "f1", "citation-precision", "citation-recall"]
)
def test_the_wrong_answer_from_the_wrong_page_scores_nothing(name):
    wrong = case(text="dogs bark", hits=(hit(1, "dogs.txt", 4, "A dog barked."),))
    assert value(name, wrong) == 0.0


def test_saying_nothing_is_right_only_where_there_is_no_answer():
    assert value("f1", case(NOBODY, "")) == value("exact-match", case(NOBODY, "")) == 1.0
    assert value("f1", case(NOBODY, "A bird.")) == 0.0
    assert value("abstention", case(NOBODY, "")) == 1.0
    assert value("abstention", case(NOBODY, "A bird.")) == 0.0
    assert value("abstention", case(text="")) == 0.0
    assert value("false-answer", case(NOBODY, "A bird.")) == 1.0
    assert value("false-answer", case(NOBODY, "")) == 0.0
    assert value("false-refusal", case(text="")) == 1.0
    assert value("false-refusal", case()) == 0.0


def test_what_does_not_apply_is_missing_and_not_zero():
    for name in ("false-answer",):
        assert isinstance(value(name, case()), Missing)
    for name in ("false-refusal", "citation-precision", "recall"):
        assert isinstance(value(name, case(NOBODY, "")), Missing)
    for name in ("f1", "exact-match", "rouge-l", "abstention"):
        assert isinstance(value(name, Case(RETRIEVAL_ONLY, "text")), Missing)


def test_several_passages_of_one_page_are_one_find_at_the_first_rank():
    twice = (hit(1, "dogs.txt", 4), hit(2, "dogs.txt", 4), hit(3), hit(4))
    assert value("mrr", case(hits=twice)) == pytest.approx(1 / 2)
    assert value("recall", case(hits=twice)) == 1.0


def test_citing_one_right_and_one_wrong_passage_is_half_precise():
    assert value("citation-precision", case(numbers=(1, 2))) == pytest.approx(0.5)
    without_gold_page = Question("4", "Who sat?", ("the cat",))
    assert value("citation-precision", case(without_gold_page, numbers=(1, 2))) == pytest.approx(0.5)


def test_citation_marks_do_not_count_as_words():
    assert value("exact-match", case(text="The cat [1][2]")) == 1.0
    assert value("length", case(text="The cat [1, 2].")) == 2.0
