"""From answers to a report: the cases that metrics look at, what they give, and answers that were made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ragkit.catalog import METRICS
from ragkit.evaluate import report as reports
from ragkit.evaluate.case import Case, Measure
from ragkit.evaluate.failures import is_right
from ragkit.evaluate.report import Asked, Item, Report
from ragkit.runs import Column, RunError
from ragkit.types import Answer, Question, Variant


def measures() -> dict[str, Measure]:
    """Every metric of the catalog by name."""
    return {row.name: METRICS.load(row.name) for row in METRICS}


def case_of(question: Question, answer: Answer, column: Column) -> Case:
    """What the metrics look at; an abstention scores as the empty text."""
    return Case(
        question=question,
        text="" if answer.abstained else answer.text,
        hits=answer.hits if column == "retrieved" else None,
        citations=() if answer.abstained else answer.citations,
        support=answer.support,
        generation=answer.generation,
        seconds=answer.seconds_retrieval + (answer.generation.seconds if answer.generation else 0.0),
    )


def labels(variants: Sequence[Variant]) -> list[str]:
    """A name for each variant, numbered where two would be called the same."""
    names: list[str] = []
    for variant in variants:
        name, number = variant.name, 2
        while name in names:
            name, number = f"{variant.name} ({number})", number + 1
        names.append(name)
    return names


def decisive(questions: Sequence[Question], named: Sequence[str] = ()) -> tuple[str, ...]:
    """The metrics that decide: those that were named, else the usual ones for this kind of set."""
    if named:
        return tuple(named)
    if any(each.judged for each in questions):
        return ("f1", "exact-match", *(["abstention"] if any(not each.answerable for each in questions) else []))
    return ("recall", "ndcg")


def score(
    items: Sequence[Item],
    questions: Sequence[Question],
    variants: Sequence[str],
    columns: Sequence[str],
    *,
    metrics: Sequence[str],
    baseline: int,
    margin: float,
    **about: Any,  # noqa: ANN401 - further fields of the report
) -> Report:
    """The report over measured answers."""
    chosen = decisive(questions, metrics)
    tested = [column for column in columns if column != "none"] or columns  # without context, templates are alike
    every = list(dict.fromkeys([*chosen, *METRICS.names]))
    return Report(
        questions=tuple(Asked(each.id, each.question, each.answers, each.judged) for each in questions),
        variants=tuple(variants),
        columns=tuple(columns),
        metrics=chosen,
        baseline=baseline,
        margin=margin,
        summaries=tuple(reports.summarise(items, len(variants), columns, every)),
        verdicts=tuple(reports.judge(items, len(variants), tested, chosen, baseline, margin)),
        causes=tuple(reports.count_causes(items, len(variants), columns)),
        items=tuple(items),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        **about,
    )


def score_answers(
    questions: Sequence[Question],
    answers: Mapping[str, Mapping[str, str]],
    *,
    metrics: Sequence[str] = (),
    baseline: int = 0,
    margin: float = 0.02,
    name: str = "",
) -> Report:
    """The report over answers made elsewhere: `answers` holds, by the name of their maker, texts by question id.

    A question without an answer counts as missing, an empty answer as an abstention. Raises RunError if a maker
    answered none of the questions.
    """
    if not answers:
        raise RunError("There are no answers to score.", "Give a file of answers.")
    formulas = measures()
    known = {each.id for each in questions}
    items, notes = [], []
    for number, (maker, texts) in enumerate(answers.items()):
        if not known & set(texts):
            shown = ", ".join([repr(key) for key in texts][:3])
            raise RunError(f"{maker} answers none of the questions.", f"Its ids are like {shown}.")
        unknown, unanswered = len(set(texts) - known), len(known - set(texts))
        notes += [f"{maker}: {unknown} answers belong to no question."] if unknown else []
        notes += [f"{maker}: {unanswered} questions have no answer; they are missing, not zero."] if unanswered else []
        items += [_scored(question, number, texts.get(question.id), formulas) for question in questions]
    return score(
        items,
        questions,
        list(answers),
        ("answers",),
        metrics=metrics,
        baseline=baseline,
        margin=margin,
        name=name,
        notes=tuple(notes),
    )


def _scored(question: Question, number: int, text: str | None, formulas: Mapping[str, Measure]) -> Item:
    if text is None:
        missing = dict.fromkeys(formulas, "there is no answer with this id")
        return Item(question.id, number, "answers", 0, None, missing=missing)
    values, missing = reports.measure(Case(question, text), formulas)
    answer = Answer(question.question, text, Variant(), (), (), not text.strip(), None, (), None, None)
    right = is_right(question, answer)
    failure = "not judged" if right is None else "right" if right else "wrong"
    if right is not None and not question.answerable:
        failure = "rightly refused" if right else "answered without ground"
    return Item(question.id, number, "answers", 0, text, not text.strip(), failure, right, values, missing)
