"""Answer metrics. The formulas are pure functions of two texts; the rows apply them to a case.

Exact match and F1 are SQuAD's (Rajpurkar et al. 2016 and 2018): articles, punctuation and case do not count, the best
of several gold answers does, and an unanswerable question is answered rightly by saying nothing.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

from ragkit.evaluate.case import Case, Missing, Value

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = frozenset(string.punctuation)
_ROUGE_WORD = re.compile(r"[a-z0-9]+")


def normalise(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no articles, single spaces."""
    bare = "".join(letter for letter in text.lower() if letter not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact_match(prediction: str, gold: str) -> float:
    """1 if both are the same after normalisation, else 0."""
    return float(normalise(prediction) == normalise(gold))


def f1(prediction: str, gold: str) -> float:
    """Harmonic mean of precision and recall over the bags of normalised words; 1 if both are empty."""
    told, wanted = normalise(prediction).split(), normalise(gold).split()
    if not told or not wanted:
        return float(told == wanted)
    shared = sum((Counter(told) & Counter(wanted)).values())
    return 2 * shared / (len(told) + len(wanted)) if shared else 0.0


def rouge_l(prediction: str, gold: str) -> float:
    """F-measure of the longest common subsequence of words (Lin 2004), without stemming, as Google's rouge-score."""
    told, wanted = _ROUGE_WORD.findall(prediction.lower()), _ROUGE_WORD.findall(gold.lower())
    if not told or not wanted:
        return 0.0
    shared = _longest_common_subsequence(told, wanted)
    return 2 * shared / (len(told) + len(wanted))


def _longest_common_subsequence(left: Sequence[str], right: Sequence[str]) -> int:
    row = [0] * (len(right) + 1)
    for word in left:
        before = 0
        for place, other in enumerate(right, start=1):
            before, row[place] = row[place], before + 1 if word == other else max(row[place], row[place - 1])
    return row[-1]


def _against_gold(case: Case, formula: Callable[[str, str], float]) -> Value:
    """The formula against the best gold answer; against the empty text for an unanswerable question."""
    if case.text is None:
        return Missing("no answer was asked for")
    if not case.question.judged:
        return Missing("the question has no gold answer")
    golds = [gold for gold in case.question.answers if normalise(gold)] or [""]
    return max(formula(case.plain, gold) for gold in golds)


def exact_match_row(case: Case) -> Value:
    """SQuAD exact match, the best over the gold answers."""
    return _against_gold(case, exact_match)


def f1_row(case: Case) -> Value:
    """SQuAD token F1, the best over the gold answers."""
    return _against_gold(case, f1)


def rouge_l_row(case: Case) -> Value:
    """ROUGE-L against the best gold answer of an answerable question."""
    if case.question.judged and not case.question.answerable:
        return Missing("the question has no answer to compare with")
    return _against_gold(case, rouge_l)


def false_answer_row(case: Case) -> Value:
    """1 if an unanswerable question was answered all the same, 0 if the variant abstained."""
    if case.text is None or not case.question.judged or case.question.answerable:
        return Missing("only unanswerable questions can be answered falsely")
    return float(bool(case.plain))


def false_refusal_row(case: Case) -> Value:
    """1 if an answerable question got no answer, else 0."""
    if case.text is None or not case.question.answerable:
        return Missing("only answerable questions can be refused falsely")
    return float(not case.plain)


def abstention_row(case: Case) -> Value:
    """1 if the variant answered just when there was an answer, else 0."""
    if case.text is None:
        return Missing("no answer was asked for")
    if not case.question.judged:
        return Missing("the question has no gold answer")
    return float(bool(case.plain) == case.question.answerable)


def _right_citations(case: Case) -> set[int] | Missing:
    """Numbers of the cited passages that hold the answer: a gold page, or a passage with a gold answer in it."""
    question = case.question
    if not case.text or case.citations is None or case.hits is None:
        return Missing("there is no answer that could cite")
    if not question.answerable:
        return Missing("no passage holds the answer of an unanswerable question")
    right: set[int] = set()
    for citation in case.citations:
        text = next((hit.text for hit in case.hits if hit.chunk == citation.chunk), "")
        if question.gold:
            fits = any(gold.matches(citation.document, citation.page, citation.page_label) for gold in question.gold)
        else:
            words = f" {normalise(text)} "
            fits = any(f" {normalise(gold)} " in words for gold in question.answers if normalise(gold))
        if fits:
            right.add(citation.number)
    return right


def citation_precision_row(case: Case) -> Value:
    """Share of the cited passages that hold the answer (Gao et al. 2023, ALCE, with gold pages as the judge)."""
    right = _right_citations(case)
    if isinstance(right, Missing):
        return right
    cited = {citation.number for citation in case.citations or ()}
    return len(right) / len(cited) if cited else Missing("the answer cites nothing")


def citation_recall_row(case: Case) -> Value:
    """Share of the answer's sentences that cite a passage which holds the answer (ALCE)."""
    right = _right_citations(case)
    if isinstance(right, Missing):
        return right
    if not case.support:
        return Missing("the answer has no sentence")
    return sum(bool(right & set(sentence.numbers)) for sentence in case.support) / len(case.support)


def support_row(case: Case) -> Value:
    """Share of the answer's content words that stand in its passages (K-Precision, Adlakha et al. 2023)."""
    if not case.text or not case.support:
        return Missing("there is no answer to support")
    total = sum(part.end - part.start for part in case.support)
    return sum(part.score * (part.end - part.start) for part in case.support) / total


def length_row(case: Case) -> Value:
    """Words of the answer."""
    return Missing("no answer was asked for") if case.text is None else float(len(case.plain.split()))


def seconds_row(case: Case) -> Value:
    """Seconds from the question to the end of the answer."""
    return Missing("no time was taken") if case.seconds is None else case.seconds


def first_token_row(case: Case) -> Value:
    """Seconds from the call of the model to its first token."""
    return Missing("no model was asked") if case.generation is None else case.generation.seconds_to_first


def tokens_row(case: Case) -> Value:
    """Tokens of the answer."""
    return Missing("no model was asked") if case.generation is None else float(case.generation.tokens)
