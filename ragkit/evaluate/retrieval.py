"""Retrieval metrics. The formulas are pure functions of a ranking and its judgements; the rows apply them to a case.

A ranking is a list of page keys, best first, each once; `gains` maps relevant keys to their grade. Pages count, not
passages: several passages of one page are one find, at the rank of the first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from math import log2

from ragkit.evaluate.case import Case, Missing, Value


def recall(ranking: Sequence[Hashable], gains: Mapping[Hashable, float], k: int) -> float:
    """Share of the relevant pages among the first k (as trec_eval's `recall`)."""
    return sum(key in gains for key in ranking[:k]) / len(gains)


def reciprocal_rank(ranking: Sequence[Hashable], gains: Mapping[Hashable, float]) -> float:
    """1 / rank of the first relevant page, 0 if there is none (Voorhees 1999; trec_eval's `recip_rank`)."""
    return next((1 / rank for rank, key in enumerate(ranking, start=1) if key in gains), 0.0)


def ndcg(ranking: Sequence[Hashable], gains: Mapping[Hashable, float], k: int) -> float:
    """Discounted cumulative gain over that of the ideal ranking (Jarvelin and Kekalainen 2002).

    Gain is the grade itself, discount log2(rank + 1), as trec_eval's `ndcg_cut`.
    """
    found = sum(gains.get(key, 0.0) / log2(rank + 1) for rank, key in enumerate(ranking[:k], start=1))
    ideal = sorted(gains.values(), reverse=True)[:k]
    return found / sum(gain / log2(rank + 1) for rank, gain in enumerate(ideal, start=1))


def average_precision(ranking: Sequence[Hashable], gains: Mapping[Hashable, float]) -> float:
    """Mean over the relevant pages of the precision at their rank, 0 for those not found (trec_eval's `map`)."""
    found = 0
    total = 0.0
    for rank, key in enumerate(ranking, start=1):
        if key in gains:
            found += 1
            total += found / rank
    return total / len(gains)


def _judged(case: Case) -> tuple[list[int], dict[int, float]] | Missing:
    """The case as a ranking over gold pages: each gold page has a number, every other page a number below zero."""
    if not case.question.gold:
        return Missing("the question names no page that holds its answer")
    if case.hits is None:
        return Missing("nothing was retrieved for this variant")
    ranking: list[int] = []
    seen: set[tuple[str, int]] = set()
    taken: set[int] = set()
    for hit in case.hits:
        page = (hit.document, hit.page)
        if page in seen:
            continue
        seen.add(page)
        match = next(
            (
                number
                for number, gold in enumerate(case.question.gold)
                if number not in taken and gold.matches(hit.document, hit.page, hit.page_label)
            ),
            None,
        )
        if match is not None:
            taken.add(match)
        ranking.append(-len(seen) if match is None else match)
    return ranking, {number: gold.gain for number, gold in enumerate(case.question.gold)}


def _apply(case: Case, formula: Callable[[list[int], dict[int, float]], float]) -> Value:
    judged = _judged(case)
    return judged if isinstance(judged, Missing) else formula(*judged)


def recall_row(case: Case) -> Value:
    """Share of the gold pages among the passages handed to the prompt."""
    return _apply(case, lambda ranking, gains: recall(ranking, gains, len(ranking)))


def mrr_row(case: Case) -> Value:
    """1 / rank of the first gold page."""
    return _apply(case, reciprocal_rank)


def ndcg_row(case: Case) -> Value:
    """nDCG over the first ten pages."""
    return _apply(case, lambda ranking, gains: ndcg(ranking, gains, 10))


def map_row(case: Case) -> Value:
    """Average precision over the pages retrieved."""
    return _apply(case, average_precision)
