"""The door of the promotion gate: an adapter becomes a default only by being measured against what is the default now.

`gate` asks both all questions of a held-out set, through the cache, and judges (the rule: `ragkit.evaluate.gate`).
`promote` makes the adapter the default if the gate let it through and nothing has changed since; `roll_back` takes one
step back. What "the default" means is in `ragkit.defaults`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ragkit import adapters, evaluation
from ragkit.adapters import Adapter
from ragkit.answering import Stop
from ragkit.errors import RagkitError
from ragkit.evaluate.answers import abstention_row, exact_match_row, f1_row
from ragkit.evaluate.case import Case
from ragkit.evaluate.gate import Outcome, Row, Scores, judge
from ragkit.evaluate.leaks import leaks
from ragkit.evaluate.report import Item, measure
from ragkit.evaluation import Listen
from ragkit.promotions import Promotion, Promotions, Task
from ragkit.runs import Plan
from ragkit.sets import EvaluationSet, Sets
from ragkit.settings import RetrieveSettings
from ragkit.tune.card import read_questions
from ragkit.types import Question, Variant, to_json
from ragkit.workbench import Workbench

NO_READER = "no reader"
"""What a reader is held against where there is none yet: finding nothing in any document."""


class GateError(RagkitError):
    """A gate that cannot be held, or an adapter that it did not let through."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What a candidate showed against the default, and whether that lets it through."""

    task: Task
    adapter: str
    sha256: str
    """Hash of the candidate's weights."""
    base: str
    template: str
    template_sha256: str
    candidate: Variant
    default: Variant | None
    """What was the default when it was measured; None where there was no reader."""
    default_sha256: str
    """Hash of the weights of the default's adapter; empty without one."""
    name: str
    """Of the set."""
    version: int
    questions: str
    """Hash of the set's content."""
    asked: int
    run: int
    """The evaluation, with every answer."""
    margin: float
    outcome: Outcome
    reasons: tuple[str, ...]
    """Why it did not pass; empty if it did."""
    more_questions: int | None
    """About how many further questions would tell, where it cannot be told yet."""
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the adapter may become the default."""
        return self.outcome == "passed"

    @property
    def words(self) -> str:
        """The outcome as a sentence."""
        other = self.default.name if self.default else NO_READER
        if self.passed:
            return f"{self.adapter} is better than {other}, and nothing that must not fall fell: it may be the default."
        if self.outcome == "failed":
            return f"{self.adapter} is not to replace {other}. {' '.join(self.reasons)}"
        more = f" About {self.more_questions:,} more questions would tell." if self.more_questions else ""
        return f"Whether {self.adapter} may replace {other} cannot be told yet. {' '.join(self.reasons)}{more}"


def gate(
    workbench: Workbench,
    adapter: str,
    questions: EvaluationSet | str,
    *,
    retrieve: RetrieveSettings | None = None,
    margin: float = 0.02,
    listen: Listen | None = None,
    should_stop: Stop | None = None,
) -> Gate:
    """Measure an adapter against the default of its base (for a reader: the default reader) on a held-out set.

    A gate that was stopped goes on where it ended; one that was held before is served from the cache.

    Args:
        workbench: the collection.
        adapter: name of the adapter, or its folder.
        questions: a set of the collection or its name; neither its questions nor close variants of them may have been
            trained on.
        retrieve: how passages are found.
        margin: differences up to this size are no difference.
        listen: gets the progress of the evaluation.
        should_stop: True ends it with Cancelled; what was answered is kept.

    Raises GateError for a set that the adapter was trained on or that cannot tell, or for the default itself.
    """
    found = adapters.find(adapter, workbench.collection.home)
    sets = Sets(workbench.collection)
    chosen = questions if isinstance(questions, EvaluationSet) else sets.get(questions)
    asked = sets.by_sha256(chosen.sha256)
    candidate, default = candidate_of(workbench, found), _default(workbench, found)
    if default == candidate:
        raise GateError(f"{found.name} is the default already.", "There is nothing to hold it against.")
    notes = _check(found, chosen, asked)
    against = _adapter_of(workbench, default)
    if against is not None:
        notes += _leak_of_default(against, asked)
    retrieve = retrieve or RetrieveSettings()
    if found.task == "extract":  # else the reader that is the default now would refuse on behalf of both
        retrieve = replace(retrieve, reader="")
    plan = Plan(
        variants=(candidate, *([default] if default else [])),
        retrieve=retrieve,
        baseline=1 if default else 0,
        margin=margin,
    )
    run = evaluation.begin(workbench, chosen, plan)
    report = evaluation.carry_out(workbench, run.id, listen, should_stop)
    scores = _scores(report.items, 0)
    judgement = judge(scores, _scores(report.items, 1) if default else _silence(asked), asked, margin)
    return Gate(
        task=found.task,
        adapter=found.name,
        sha256=found.sha256,
        base=found.base,
        template=candidate.template,
        template_sha256=workbench.templates.get(candidate.template).sha256,
        candidate=candidate,
        default=default,
        default_sha256=against.sha256 if against else "",
        name=chosen.name,
        version=chosen.version,
        questions=chosen.sha256,
        asked=len(asked),
        run=run.id,
        margin=margin,
        outcome=judgement.outcome,
        reasons=judgement.reasons,
        more_questions=judgement.more_questions,
        rows=judgement.rows,
        notes=tuple(notes),
    )


def promote(workbench: Workbench, gate: Gate) -> Promotion:
    """Make the adapter of a gate the default.

    Raises GateError if it did not pass, or if the adapter, its template, the set or the default is not what was
    measured any more; AdapterError if the adapter is gone.
    """
    if not gate.passed:
        raise GateError(f"{gate.adapter} is not made the default. {gate.words}", "The default stays what it is.")
    stale = _changed(workbench, gate)
    if stale:
        raise GateError(
            f"{stale} since {gate.adapter} was measured (run {gate.run}).",
            "Hold the gate again: what was answered comes from the cache.",
        )
    return Promotions(workbench.collection).add(
        gate.task, gate.adapter, gate.sha256, gate.base, gate.template, gate.run, to_json(gate)
    )


def roll_back(workbench: Workbench, task: Task = "generate", base: str | None = None) -> Promotion:
    """Take the newest promotion back: the default is again what it was before, to the byte.

    Args:
        workbench: the collection.
        task: generate, or extract for the reader.
        base: the model whose default is meant; None takes the newest promotion of all.

    Raises GateError if nothing is promoted.
    """
    taken = Promotions(workbench.collection).roll_back(task, base)
    if taken is None:
        what = "reader" if task == "extract" else f"adapter for {base}" if base else "adapter"
        raise GateError(f"No {what} is promoted in {workbench.collection.name!r}.", "There is nothing to roll back.")
    return taken


def candidate_of(workbench: Workbench, adapter: Adapter) -> Variant:
    """The variant that asks through an adapter: its base, the template that it was tuned through, and it."""
    name = workbench.defaults.reference(adapter)
    if adapter.task == "extract":
        return Variant(engine="reader", model=adapter.base, adapter=name)
    if not adapter.template:
        raise GateError(
            f"The card of {adapter.name} names no template.",
            "An adapter is measured through the one that it was tuned with.",
        )
    return Variant(template=adapter.template, model=adapter.base, adapter=name)


def _default(workbench: Workbench, candidate: Adapter) -> Variant | None:
    """What is the default in the candidate's place."""
    if candidate.task == "extract":
        reader = workbench.defaults.adapter("extract")
        return candidate_of(workbench, reader) if reader else None
    return workbench.defaults.settled(workbench.defaults.variant(candidate.base))


def _adapter_of(workbench: Workbench, variant: Variant | None) -> Adapter | None:
    return adapters.find(variant.adapter, workbench.collection.home) if variant and variant.adapter else None


def _check(adapter: Adapter, chosen: EvaluationSet, asked: Sequence[Question]) -> list[str]:
    """Refuse a set that cannot show anything; returns remarks on one that shows less than it could."""
    if not any(question.judged and question.answerable for question in asked):
        raise GateError(
            f"The set {chosen.name!r} holds no question with an answer.", "Take one that says which answers are right."
        )
    known = _trained_on(adapter)
    found = leaks(known, asked) if known else []
    if found:
        shared, first = len({leak.question_id for leak in found}), found[0]
        raise GateError(
            f"{adapter.name} was trained on {shared} of the {len(asked)} questions of {chosen.name!r}, or on close "
            f"variants of them, such as {first.question!r}.",
            "A score on them would measure memory: take a set that it has not seen.",
        )
    notes = []
    if known is None:
        notes.append(f"{adapter.name} does not say what it was trained on, so it may have seen these questions.")
    if all(question.answerable for question in asked):
        notes.append("Every question has an answer, so the set does not show whether the adapter knows when to refuse.")
    return notes


def _leak_of_default(adapter: Adapter, asked: Sequence[Question]) -> list[str]:
    found = leaks(_trained_on(adapter) or (), asked)
    shared = len({leak.question_id for leak in found})
    return [f"The default, {adapter.name}, was trained on {shared} of these questions: a head start."] if found else []


def _trained_on(adapter: Adapter) -> list[str] | None:
    """The questions that an adapter was trained on; None if its folder does not say."""
    try:
        return read_questions(adapter.folder)
    except ValueError as error:
        raise GateError(str(error), "Train or import the adapter again.") from error


def _scores(items: Sequence[Item], variant: int) -> Scores:
    found: dict[str, dict[str, float]] = {}
    for item in items:
        if item.variant == variant:
            for metric, value in item.values.items():
                found.setdefault(metric, {})[item.question] = value
    return found


def _silence(questions: Sequence[Question]) -> Scores:
    """The scores of saying nothing to every question: what a person has without a reader."""
    formulas = {"f1": f1_row, "exact-match": exact_match_row, "abstention": abstention_row}
    found: dict[str, dict[str, float]] = {}
    for question in questions:
        for metric, value in measure(Case(question, ""), formulas)[0].items():
            found.setdefault(metric, {})[question.id] = value
    return found


def _changed(workbench: Workbench, gate: Gate) -> str:
    """What is not as it was measured; empty if all is."""
    home = workbench.collection.home
    found = adapters.find(gate.candidate.adapter, home)
    if found.sha256 != gate.sha256:
        return f"The weights of {gate.adapter} have changed"
    if workbench.templates.get(gate.template).sha256 != gate.template_sha256:
        return f"The template {gate.template!r} has changed"
    if Sets(workbench.collection).get(gate.name).sha256 != gate.questions:
        return f"The set {gate.name!r} has changed"
    default = _default(workbench, found)
    against = _adapter_of(workbench, default)
    if default != gate.default or (against.sha256 if against else "") != gate.default_sha256:
        return "The default has changed"
    return ""
