"""May an adapter become the default? The rule, over paired scores of the candidate and of what is the default now.

What decides is F1 with no-answer, as SQuAD 2.0 scores it (Rajpurkar et al. 2018): an answerable question counts the
overlap of words with the best gold answer, an unanswerable one counts 1 for saying so and 0 for any answer. It is one
number for both ways of being wrong, so that neither can be traded for the other unseen, and it needs fewer questions
than exact match, which calls "in 1889" as wrong as "in Paris". Its interval must lie above 0, and an exact or
permutation test must agree, since an interval over few questions can be too narrow.

What decides is still a mean over the set as it is mixed: on one that is half unanswerable, refusing everything scores
0.5. So F1 on the answerable questions alone, abstention, citation precision and support must not fall: none may be
worse by more than the margin. Where one looks so much worse and its interval still reaches 0, the answer is not yet
known, and the gate stays shut. Time counts only where it is out of all proportion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ragkit.evaluate.report import LOWER_IS_BETTER, in_words, turned
from ragkit.evaluate.statistics import compare, questions_needed
from ragkit.types import Question

Outcome = Literal["passed", "failed", "cannot tell yet"]
Role = Literal["decides", "must not fall", "shown"]
Scores = Mapping[str, Mapping[str, float]]
"""metric -> question id -> value."""

MAIN = "f1"
ANSWERABLE = "f1 where there is an answer"
GUARDS = (ANSWERABLE, "abstention", "citation-precision", "support")
SHOWN = ("exact-match", "false-answer", "false-refusal", "seconds")

SLOWEST = 3.0
"""Times slower than the default from which time counts."""
NOTICED = 1.0
"""Seconds: a candidate that is quicker than this is quick enough, whatever the default takes. About one second is the
limit up to which a person's thoughts are not interrupted (Nielsen 1993)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of the gate's table."""

    metric: str
    role: Role
    questions: int
    """On which both have a value."""
    candidate: float | None
    default: float | None
    """Means over those questions; None if there is none."""
    difference: float | None
    """Mean of (candidate - default)."""
    low: float | None
    high: float | None
    """95 % interval of the difference; None where there is too little to say."""
    words: str
    """The verdict as a sentence."""
    outcome: Outcome = "passed"
    """What this metric says to the promotion."""
    reason: str = ""
    """Why, where it is against it."""
    more_questions: int | None = None
    """About how many further questions would tell, where it cannot be told yet."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The table and what follows from it."""

    rows: tuple[Row, ...]
    outcome: Outcome
    reasons: tuple[str, ...]
    """Why it did not pass; empty if it did."""
    more_questions: int | None


def judge(candidate: Scores, default: Scores, questions: Sequence[Question], margin: float) -> Judgement:
    """Hold the candidate against the default, question by question.

    Args:
        candidate: scores by metric and question id.
        default: the same for what is the default now.
        questions: the questions, to tell the answerable ones.
        margin: differences up to this size are no difference.
    """
    mine, theirs = _with_answerable(candidate, questions), _with_answerable(default, questions)
    plan: list[tuple[str, Role]] = [(MAIN, "decides")]
    plan += [(name, "must not fall") for name in GUARDS]
    plan += [(name, "shown") for name in SHOWN]
    rows = tuple(_row(name, role, mine.get(name, {}), theirs.get(name, {}), margin) for name, role in plan)
    against = [row for row in rows if row.outcome != "passed"]
    outcome: Outcome = "passed"
    if against:
        outcome = "failed" if any(row.outcome == "failed" for row in against) else "cannot tell yet"
    decisive = [row for row in against if row.outcome == outcome]
    more = [row.more_questions for row in decisive if row.more_questions is not None]
    return Judgement(rows, outcome, tuple(row.reason for row in decisive), max(more, default=None))


def _with_answerable(scores: Scores, questions: Sequence[Question]) -> dict[str, Mapping[str, float]]:
    answerable = {question.id for question in questions if question.judged and question.answerable}
    main = scores.get(MAIN, {})
    return {**scores, ANSWERABLE: {key: value for key, value in main.items() if key in answerable}}


def _row(metric: str, role: Role, mine: Mapping[str, float], theirs: Mapping[str, float], margin: float) -> Row:
    shared = [key for key in theirs if key in mine]
    one, other = [mine[key] for key in shared], [theirs[key] for key in shared]
    if not shared:
        words = "not measured: no question has a value for both"
        if role == "decides":
            return Row(metric, role, 0, None, None, None, None, None, words, "cannot tell yet", f"{metric}: {words}.")
        return Row(metric, role, 0, None, None, None, None, None, words)
    if metric in LOWER_IS_BETTER:
        result = turned(compare([(other, one)], margin)[0])
    else:
        result = compare([(one, other)], margin)[0]
    low, high = (end if math.isfinite(end) else None for end in (result.interval.low, result.interval.high))
    means = sum(one) / len(one), sum(other) / len(other)
    row = Row(metric, role, len(shared), *means, result.difference, low, high, in_words(result, metric))
    outcome, why = _passes(row, result.verdict, margin)
    if outcome == "passed":
        return row
    needed = questions_needed([a - b for a, b in zip(one, other, strict=True)])
    more = max(1, needed - len(shared)) if needed is not None and outcome == "cannot tell yet" else None
    return Row(
        metric, role, len(shared), *means, result.difference, low, high, row.words, outcome, f"{metric}: {why}.", more
    )


def _passes(row: Row, verdict: str, margin: float) -> tuple[Outcome, str]:
    """What a row says, and why."""
    assert row.difference is not None
    assert row.candidate is not None
    assert row.default is not None
    if row.role == "decides":
        if row.low is not None and row.low > 0 and verdict == "better":
            return "passed", ""
        if row.high is not None and row.high < 0:
            return "failed", row.words
        if verdict == "same within the margin":
            return "failed", f"no better than the default, {row.words}"
        return "cannot tell yet", row.words
    if row.role == "must not fall":
        if row.difference >= -margin - 1e-9:
            return "passed", ""
        if row.high is not None and row.high < 0:
            return "failed", row.words
        return "cannot tell yet", f"it may have fallen by more than the margin, {row.words}"
    slow = row.metric == "seconds" and row.candidate > max(NOTICED, SLOWEST * row.default)
    return ("failed", f"more than {SLOWEST:g} times slower, {row.words}") if slow else ("passed", "")
