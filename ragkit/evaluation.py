"""The door of the comparison lab: many questions, several variants, one report; nothing is generated twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ragkit.answering import CACHE_FORMAT, Answering, Stop, Wanted, model_identity, reader_identity
from ragkit.catalog import METRICS
from ragkit.errors import Cancelled
from ragkit.evaluate import report as reports
from ragkit.evaluate.failures import classify, holding, is_right
from ragkit.evaluate.gold import GoldPages
from ragkit.evaluate.report import Item, Report, Seen
from ragkit.evaluate.scoring import case_of, labels, measures, score
from ragkit.runs import COLUMNS, Column, Plan, Run, RunError, Runs
from ragkit.sets import EvaluationSet, Sets
from ragkit.settings import RetrieveSettings
from ragkit.types import Answer, Evidence, Question, Variant, digest, from_json, to_json
from ragkit.workbench import Workbench

TOGETHER = 8
"""Answers written at once at most, where a plan has them written together."""
_TIMES = {"seconds", "first-token"}
_WRITTEN_TOGETHER = "Answers were written together: their wordings may differ from those of answers written one by one."


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    done: int
    total: int
    """Answers."""
    generated: int
    cached: int
    seconds: float
    """Since this run began."""
    rate: float
    """Answers a second, since this run began."""
    left: float | None
    """Seconds until the end, by the rate so far; None while nothing can be said."""


Listen = Callable[[Progress], None]


def evaluate(
    workbench: Workbench,
    questions: EvaluationSet | str,
    variants: Sequence[Variant],
    *,
    retrieve: RetrieveSettings | None = None,
    documents: Sequence[str] | None = None,
    columns: Sequence[Column] = ("retrieved",),
    metrics: Sequence[str] = (),
    baseline: int = 0,
    margin: float = 0.02,
    repeats: int = 1,
    together: bool = False,
    listen: Listen | None = None,
    should_stop: Stop | None = None,
) -> Report:
    """Answer every question of a set with every variant, and compare.

    The same call again, after a kill or a stop, goes on where that one ended; after its end it is served from the
    cache. The arguments are those of `ragkit.runs.Plan`; `questions` is a set of the collection or its name.

    Raises Cancelled when `should_stop` says so; what was answered is kept.
    """
    chosen = questions if isinstance(questions, EvaluationSet) else Sets(workbench.collection).get(questions)
    plan = Plan(
        variants=tuple(variants),
        retrieve=retrieve or RetrieveSettings(),
        documents=tuple(documents) if documents else None,
        columns=tuple(columns),
        metrics=tuple(metrics),
        baseline=baseline,
        margin=margin,
        repeats=repeats,
        together=together,
    )
    return carry_out(workbench, begin(workbench, chosen, plan).id, listen, should_stop)


def begin(workbench: Workbench, questions: EvaluationSet, plan: Plan) -> Run:
    """Check a plan and write it down as a run, or find the run of the same plan that was never finished.

    What a variant leaves open ("auto") is settled here, so that the run stays what it was when the default changes.

    Raises RunError, TemplateError, UnknownPart or ModelError for what could not be carried out.
    """
    _check(plan)
    variants = tuple(workbench.defaults.settled(variant) for variant in plan.variants)
    reader = workbench.readers.settled(plan.retrieve.reader, variants)
    plan = replace(plan, variants=variants, retrieve=replace(plan.retrieve, reader=reader))
    templates = [workbench.templates.get(variant.template) for variant in plan.variants]
    for name in plan.metrics:
        METRICS.row(name)
    for name in plan.documents or ():
        workbench.collection.document(name)
    decides = [
        CACHE_FORMAT,
        plan,
        questions.sha256,
        workbench.collection.sequence,
        workbench.collection.demonstrations(),
        [template.sha256 for template in templates],
        [model_identity(workbench, variant) for variant in plan.variants],
        *reader_identity(workbench, plan.retrieve),
    ]
    runs = Runs(workbench.collection)
    return runs.create("evaluate", questions.name, questions.sha256, to_json(plan), digest(decides))


def carry_out(workbench: Workbench, run: int, listen: Listen | None = None, should_stop: Stop | None = None) -> Report:
    """Do a run that `begin` wrote down, or the rest of it. Raises Cancelled when `should_stop` says so."""
    runs = Runs(workbench.collection)
    begun = runs.get(run)
    work = _Work(workbench, runs, begun, listen or (lambda _: None), should_stop or (lambda: False))
    runs.set_state(run, "running")
    try:
        report = work.report(work.items())
    except Cancelled:
        runs.set_state(run, "stopped")
        raise
    runs.finish(run, report)
    return report


def load_report(workbench: Workbench, run: int) -> Report:
    """The report of a run that is done. Raises RunError if there is none yet."""
    return from_json(Report, Runs(workbench.collection).report(run))


def _check(plan: Plan) -> None:
    if not plan.variants:
        raise RunError("There is no variant to evaluate.", "Give at least one, such as the template 'cite'.")
    if not plan.columns or not set(plan.columns) <= set(COLUMNS):
        raise RunError(f"The columns are {', '.join(plan.columns) or 'none'}.", f"There are: {', '.join(COLUMNS)}.")
    if not 0 <= plan.baseline < len(plan.variants):
        raise RunError(f"There is no variant {plan.baseline + 1}.", f"There are {len(plan.variants)}.")
    if plan.margin < 0 or plan.repeats < 1:
        raise RunError("The margin is below 0 or the repeats are below 1.", "A margin is like 0.02, repeats like 1.")


class _Work:
    """One run: its questions, its answers in an order that keeps the model's prefix cache warm, its report."""

    def __init__(self, workbench: Workbench, runs: Runs, run: Run, listen: Listen, should_stop: Stop) -> None:
        self._workbench = workbench
        self._runs = runs
        self._run = run
        self._plan = run.plan_of
        self._listen = listen
        self._answering = Answering(workbench, should_stop)
        self._pages = GoldPages(workbench.collection)
        self._questions = [self._pages.located(each) for each in Sets(workbench.collection).by_sha256(run.questions)]
        self._measures = measures()
        self._begun = time.monotonic()

    def items(self) -> list[Item]:
        """Every answer, measured: model after model, and all variants of one model on one question in turn."""
        variants = list(enumerate(self._plan.variants))
        total = len(self._questions) * len(self._plan.columns) * sum(self._repeats(each) for _, each in variants)
        found: list[Item] = []
        self._tell(0, total)
        for group in _by_model(variants):
            each = len(self._plan.columns) * sum(self._repeats(variant) for _, variant in group)
            block = max(1, TOGETHER // each) if self._plan.together else 1
            for start in range(0, len(self._questions), block):
                answers = self._answers(self._questions[start : start + block], group)
                kept = [
                    (question.id, number, column, repeat, answer)
                    for question, number, column, repeat, answer in answers
                    if answer is not None
                ]
                self._runs.keep_answers(self._run.id, kept)
                found += [self._item(*answer) for answer in answers]
                self._tell(len(found), total)
        return found

    def _answers(
        self, questions: Sequence[Question], variants: Sequence[tuple[int, Variant]]
    ) -> list[tuple[Question, int, Column, int, Answer | None]]:
        """Answers of variants that share a model, each after its question, variant, column and repeat."""
        places: list[tuple[Question, int, Column, int, Wanted | None]] = []
        for question in questions:
            for column in self._plan.columns:
                evidence = self._evidence(question, column)
                for number, variant in variants:
                    for repeat in range(self._repeats(variant)):
                        wanted = Wanted(variant, evidence, column, repeat) if evidence is not None else None
                        places.append((question, number, column, repeat, wanted))
        possible = [wanted for *_, wanted in places if wanted is not None]
        answers = iter(self._answering.answers(possible, self._plan.retrieve, together=self._plan.together))
        return [
            (question, number, column, repeat, next(answers) if wanted is not None else None)
            for question, number, column, repeat, wanted in places
        ]

    def _evidence(self, question: Question, column: Column) -> Evidence | None:
        if column == "retrieved":
            return self._answering.evidence(question.question, self._plan.retrieve, self._plan.documents)
        return self._pages.gold_evidence(question) if column == "gold" else Evidence(question.question, (), None)

    def _item(self, question: Question, number: int, column: Column, repeat: int, answer: Answer | None) -> Item:
        if answer is None:
            reason = "the set names no passage that holds the answer"
            return Item(question.id, number, column, repeat, None, missing=dict.fromkeys(self._measures, reason))
        values, missing = reports.measure(case_of(question, answer, column), self._measures)
        if self._plan.together:  # then times are of all that were written at once
            for name in _TIMES & values.keys():
                del values[name]
                missing[name] = "answers were written together"
        holds = holding(question, answer.hits) if question.answerable else []
        right = is_right(question, answer)
        failure = classify(question, answer, right is not False or column == "gold" or self._pages.holds(question))
        if column == "none" and failure not in ("right", "rightly refused", "answered without ground", "not judged"):
            failure = "not known without the documents"
        return Item(
            question=question.id,
            variant=number,
            column=column,
            repeat=repeat,
            text=answer.text,
            abstained=answer.abstained,
            failure=failure,
            right=right,
            values=values,
            missing=missing,
            prompt_sha256=digest(answer.prompt.text) if answer.prompt else "",
            hits=tuple(
                Seen(hit.document, hit.page, hit.page_label, hit.chunk, place in holds)
                for place, hit in enumerate(answer.hits)
            ),
        )

    def _repeats(self, variant: Variant) -> int:
        """Greedy decoding gives the same answer every time."""
        return self._plan.repeats if variant.decoding.temperature > 0 else 1

    def _tell(self, done: int, total: int) -> None:
        seconds = time.monotonic() - self._begun
        rate = done / seconds if seconds > 0 and done else 0.0
        left = (total - done) / rate if rate else None
        work = self._answering
        self._listen(Progress(done, total, work.generated, work.cached, seconds, rate, left))

    def report(self, items: Sequence[Item]) -> Report:
        """Everything that can be said about the answers."""
        plan, work = self._plan, self._answering
        there = Sets(self._workbench.collection)
        version = next((each.version for each in _versions(there, self._run) if each.sha256 == self._run.questions), 0)
        return score(
            items,
            self._questions,
            labels(plan.variants),
            plan.columns,
            metrics=plan.metrics,
            baseline=plan.baseline,
            margin=plan.margin,
            name=self._run.name,
            run=self._run.id,
            collection=self._workbench.collection.name,
            version=version,
            sha256=self._run.questions,
            generated=work.generated,
            cached=work.cached,
            withheld=work.withheld,
            seconds=time.monotonic() - self._begun,
            notes=(_WRITTEN_TOGETHER,) if plan.together else (),
        )


def _versions(sets: Sets, run: Run) -> list[EvaluationSet]:
    return sets.versions(run.name) if any(each.name == run.name for each in sets.list()) else []


def _by_model(variants: Sequence[tuple[int, Variant]]) -> list[list[tuple[int, Variant]]]:
    """Variants grouped by the model that they need, so that it is loaded once."""
    groups: dict[tuple[str, str, str], list[tuple[int, Variant]]] = {}
    for number, variant in variants:
        groups.setdefault((variant.engine, variant.model, variant.adapter), []).append((number, variant))
    return list(groups.values())
