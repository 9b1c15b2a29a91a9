"""The door to hard prompt search: templates x instructions x k x demonstrations, by successive halving.

Candidates compete on a training part of a set; then the winner meets the default once, on questions that took no part.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, log
from pathlib import Path

from ragkit.answering import CACHE_FORMAT, Answering, Stop, model_identity, reader_identity
from ragkit.catalog import METRICS
from ragkit.errors import Cancelled
from ragkit.evaluate.case import Missing
from ragkit.evaluate.gold import GoldPages
from ragkit.evaluate.report import LOWER_IS_BETTER, in_words, turned
from ragkit.evaluate.scoring import case_of, decisive
from ragkit.evaluate.statistics import Comparison, compare
from ragkit.prompt.source import dump
from ragkit.prompt.store import TemplateStore
from ragkit.prompt.template import Template
from ragkit.runs import RunError, Runs
from ragkit.sets import EvaluationSet, Sets
from ragkit.settings import RetrieveSettings
from ragkit.types import Question, Variant, digest, to_json
from ragkit.workbench import Workbench

HALVING = 2
"""Of so many candidates one goes on to the next round, which asks so many times more questions."""
FEWEST = 8
"""Questions of the first round at least: fewer would be a lottery."""


@dataclass(frozen=True, slots=True)
class Space:
    """What is searched: every combination of these."""

    templates: tuple[str, ...]
    """Names of templates."""
    instructions: tuple[str, ...] = ()
    """Texts that take the place of a template's `system` block; its own is always a candidate too."""
    ks: tuple[int, ...] = ()
    """Numbers of passages; the default's if empty."""
    demonstrations: tuple[int, ...] = ()
    """Numbers of worked examples for few-shot templates; the default's if empty."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way of asking."""

    number: int
    """From 0; 0 is the default."""
    name: str
    template: str
    instruction: str
    """Empty: the template's own."""
    k: int
    demonstrations: int


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate in one round."""

    candidate: int
    round: int
    questions: int
    score: float | None
    """Mean of the metric over the questions so far; None if no question has a value."""
    goes_on: bool


@dataclass(frozen=True, slots=True)
class Search:
    """Everything that was tried, and what came of it."""

    name: str
    """Of the set."""
    metric: str
    seed: int
    training: int
    """Questions that the candidates competed on."""
    held_out: int
    """Questions that decided at the end."""
    candidates: tuple[Candidate, ...]
    trials: tuple[Trial, ...]
    winner: int
    comparison: Comparison | None
    """The winner against the default on the held-out part; None if the default itself won."""
    verdict: str
    template: str
    """The winner's template as a file's text."""
    run: int | None = None
    generated: int = 0
    cached: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """How far a search is: candidates times questions of the present round."""

    round: int
    rounds: int
    done: int
    total: int
    leader: str


def search(
    workbench: Workbench,
    questions: EvaluationSet | str,
    default: Variant,
    space: Space,
    *,
    retrieve: RetrieveSettings | None = None,
    metric: str = "",
    share: float = 0.5,
    margin: float = 0.02,
    seed: int = 0,
    listen: Callable[[Step], None] | None = None,
    should_stop: Stop | None = None,
) -> Search:
    """Find the best candidate by successive halving (Karnin et al. 2013; Jamieson and Talwalkar 2016).

    Each round asks all that are left the same questions, keeps the better half, and doubles the questions; the last
    ones are asked all of the training part. Everything goes through the cache, so a search that was stopped goes on.

    Args:
        workbench: the collection.
        questions: a set of the collection or its name; it is split by passage, never within one.
        default: what the winner must beat; model, adapter and decoding are the same for all candidates.
        space: what is searched.
        retrieve: how passages are found; its k is the default's.
        metric: what decides; the usual one for the set if empty.
        share: part of the questions for training, 0 to 1.
        margin: differences up to this size are none.
        seed: of the split.
        listen: gets the progress.
        should_stop: True ends the search with Cancelled.
    """
    chosen = questions if isinstance(questions, EvaluationSet) else Sets(workbench.collection).get(questions)
    asked = Sets(workbench.collection).by_sha256(chosen.sha256)
    retrieve = retrieve or RetrieveSettings()
    default = workbench.defaults.settled(default)
    retrieve = replace(retrieve, reader=workbench.readers.settled(retrieve.reader, [default]))
    measured = metric or decisive(asked)[0]
    METRICS.row(measured)
    candidates, templates = _candidates(workbench.templates, default, space, retrieve.k)
    bench = Workbench(workbench.collection)
    bench.templates = _Candidates(workbench.collection.home / "templates", templates)
    training, held_out = split(asked, share, seed)
    runs = Runs(workbench.collection)
    identity = [
        CACHE_FORMAT,
        [template.sha256 for template in templates],
        candidates,
        default,
        model_identity(workbench, default),
        *reader_identity(workbench, retrieve),
        retrieve,
        [measured, share, margin, seed],
        chosen.sha256,
        workbench.collection.sequence,
        workbench.collection.demonstrations(),
    ]
    plan = {"default": default, "space": space, "retrieve": retrieve, "metric": measured, "share": share, "seed": seed}
    run = runs.create("search", chosen.name, chosen.sha256, to_json(plan), digest(identity))
    runs.set_state(run.id, "running")
    race = _Race(bench, default, retrieve, measured, candidates, listen or (lambda _: None), should_stop)
    begun = time.monotonic()
    try:
        trials, winner = race.run(training)
        comparison, verdict = race.final(winner, held_out, margin)
    except Cancelled:
        runs.set_state(run.id, "stopped")
        raise
    result = Search(
        name=chosen.name,
        metric=measured,
        seed=seed,
        training=len(training),
        held_out=len(held_out),
        candidates=tuple(candidates),
        trials=tuple(trials),
        winner=winner,
        comparison=comparison,
        verdict=verdict,
        template=dump(templates[winner]),
        run=run.id,
        generated=race.answering.generated,
        cached=race.answering.cached,
        seconds=time.monotonic() - begun,
    )
    runs.finish(run.id, result)
    return result


def split(questions: Sequence[Question], share: float, seed: int = 0) -> tuple[list[Question], list[Question]]:
    """A training and a held-out part; questions on the same passage or page are never on both sides.

    Raises RunError if either part would be empty.
    """
    groups: dict[str, list[Question]] = {}
    for each in questions:
        key = each.passage or (digest(each.gold[0]) if each.gold else each.id)
        groups.setdefault(key, []).append(each)
    order = list(groups.values())
    random.Random(seed).shuffle(order)
    training: list[Question] = []
    held_out: list[Question] = []
    for group in order:
        (training if len(training) < share * len(questions) else held_out).extend(group)
    if not training or not held_out:
        raise RunError(
            f"{len(questions)} questions cannot be split at {share:g}: a part would be empty.",
            "Give more questions (on more than one passage), or a share between 0 and 1.",
        )
    # Questions of one passage stand together; a second shuffle lets early rounds see many passages.
    random.Random(seed + 1).shuffle(training)
    return training, held_out


def rounds_of(candidates: int, questions: int) -> list[int]:
    """Questions that each round has asked in all: the last round all of them, each earlier one half of the next."""
    count = max(1, ceil(log(candidates, HALVING))) if candidates > 1 else 1
    plan = [ceil(questions / HALVING ** (count - 1 - number)) for number in range(count)]
    return [min(questions, max(FEWEST, each)) for each in plan]


class _Race:
    """The rounds and the final."""

    def __init__(
        self,
        workbench: Workbench,
        default: Variant,
        retrieve: RetrieveSettings,
        metric: str,
        candidates: Sequence[Candidate],
        listen: Callable[[Step], None],
        should_stop: Stop | None,
    ) -> None:
        self.answering = Answering(workbench, should_stop or (lambda: False))
        self._pages = GoldPages(workbench.collection)
        self._default = default
        self._retrieve = retrieve
        self._metric = metric
        self._measure = METRICS.load(metric)
        self._candidates = candidates
        self._listen = listen
        self._known: dict[tuple[int, str], float | None] = {}

    def run(self, training: Sequence[Question]) -> tuple[list[Trial], int]:
        """All trials and the winner's number."""
        left = [candidate.number for candidate in self._candidates]
        plan = rounds_of(len(left), len(training))
        trials: list[Trial] = []
        for number, size in enumerate(plan, start=1):
            scores = self._round(left, training[:size], number, len(plan))
            ranked = sorted(left, key=lambda each: (-self._rank(scores[each]), each))  # of equals, the earlier one
            last = number == len(plan)
            kept = ranked[: 1 if last else max(1, ceil(len(left) / HALVING))]
            trials += [Trial(each, number, size, scores[each], each in kept) for each in left]
            left = sorted(kept)
        return trials, left[0]

    def final(self, winner: int, held_out: Sequence[Question], margin: float) -> tuple[Comparison | None, str]:
        """One paired test of the winner against the default on questions that neither was chosen by."""
        if winner == 0:
            return None, "no candidate did better than the default on the training part"
        pairs = [(self._value(winner, each), self._value(0, each)) for each in held_out]
        both = [(one, other) for one, other in pairs if one is not None and other is not None]
        mine, theirs = [one for one, _ in both], [other for _, other in both]
        lower = self._metric in LOWER_IS_BETTER
        (result,) = compare([(theirs, mine) if lower else (mine, theirs)], margin)
        result = turned(result) if lower else result
        return result, in_words(result, self._metric)

    def _round(
        self, left: Sequence[int], questions: Sequence[Question], number: int, rounds: int
    ) -> dict[int, float | None]:
        values: dict[int, list[float]] = {each: [] for each in left}
        for done, question in enumerate(questions, start=1):
            for each in left:
                value = self._value(each, question)
                values[each] += [] if value is None else [value]
            best = max(left, key=lambda each: (self._rank(_mean(values[each])), -each))
            leader = self._candidates[best].name
            self._listen(Step(number, rounds, done * len(left), len(questions) * len(left), leader))
        return {each: _mean(found) for each, found in values.items()}

    def _value(self, number: int, question: Question) -> float | None:
        """What the metric gives a candidate's answer; kept for the next round."""
        key = (number, question.id)
        if key not in self._known:
            candidate = self._candidates[number]
            variant = replace(
                self._default, template=_template_name(candidate), demonstrations=candidate.demonstrations
            )
            settings = replace(self._retrieve, k=candidate.k)
            evidence = self.answering.evidence(question.question, settings)
            answer = self.answering.answer(variant, evidence, settings)
            value = self._measure(case_of(self._pages.located(question), answer, "retrieved"))
            self._known[key] = None if isinstance(value, Missing) else float(value)
        return self._known[key]

    def _rank(self, score: float | None) -> float:
        if score is None:
            return float("-inf")
        return -score if self._metric in LOWER_IS_BETTER else score


class _Candidates(TemplateStore):
    """The person's templates and, beside them, the candidates' own, which are written nowhere."""

    def __init__(self, user_dir: Path, templates: Sequence[Template]) -> None:
        super().__init__(user_dir)
        self._made = {template.name: template for template in templates}

    def get(self, name: str) -> Template:
        """A candidate's template, else the person's."""
        return self._made.get(name) or super().get(name)


def _template_name(candidate: Candidate) -> str:
    return f"{candidate.template}-candidate-{candidate.number}"


def _candidates(
    store: TemplateStore, default: Variant, space: Space, k: int
) -> tuple[list[Candidate], list[Template]]:
    """All combinations, the default first, each once; and their templates. Raises RunError if there is only one."""
    found: dict[tuple[str, str, int, int], None] = {}

    def add(template: str, instruction: str, passages: int, examples: int) -> None:
        shown = examples if store.get(template).few_shot else 0
        own = instruction == store.get(template).system
        found.setdefault((template, "" if own else instruction, passages, shown))

    add(default.template, "", k, default.demonstrations)
    combinations = product(
        space.templates or (default.template,),
        ("", *space.instructions),
        space.ks or (k,),
        space.demonstrations or (default.demonstrations,),
    )
    for combination in combinations:
        add(*combination)
    if len(found) < 2:
        raise RunError("There is nothing to search: only the default.", "Give templates, instructions or several k.")
    candidates = [
        Candidate(number, _label(place, space, store), *place) for number, place in enumerate(found)
    ]
    templates = []
    for each in candidates:
        base = store.get(each.template)
        templates.append(replace(base, name=_template_name(each), system=each.instruction or base.system))
    return candidates, templates


def _label(place: tuple[str, str, int, int], space: Space, store: TemplateStore) -> str:
    template, instruction, k, examples = place
    parts = [template]
    parts += [f"instruction {space.instructions.index(instruction) + 1}"] if instruction else []
    parts += [f"k {k}"]
    parts += [f"{examples} examples"] if store.get(template).few_shot else []
    return ", ".join(parts)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
