"""The report of an evaluation: scores, means with intervals, paired comparisons, causes of failure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ragkit.evaluate.case import Case, Measure, Missing, Value
from ragkit.evaluate.statistics import Comparison, Interval, compare, mean_interval

LOWER_IS_BETTER = frozenset({"false-answer", "false-refusal", "length", "seconds", "first-token", "tokens"})
COSTS = frozenset({"length", "seconds", "first-token", "tokens"})
"""Metrics on a scale of their own: a margin of points says nothing about them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A retrieved passage as the report lists it."""

    document: str
    page: int
    label: str
    chunk: int
    holds: bool
    """Whether it holds the answer, as far as the set can tell."""


@dataclass(frozen=True, slots=True)
class Item:
    """One answer of a run and what it scored."""

    question: str
    """Id in the set."""
    variant: int
    column: str
    repeat: int
    text: str | None
    """None where no answer was to be had."""
    abstained: bool = False
    failure: str = "not judged"
    right: bool | None = None
    values: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Reasons, by metric, where there is no value."""
    prompt_sha256: str = ""
    """Of the text that the model read; the run keeps the prompt itself."""
    hits: tuple[Seen, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the report shows it."""

    id: str
    question: str
    answers: tuple[str, ...]
    judged: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """One metric of one variant in one column."""

    variant: int
    column: str
    metric: str
    questions: int
    """Questions with a value."""
    mean: float | None
    low: float | None
    high: float | None
    """95 % interval of the mean; None where there is too little to say."""
    missing: dict[str, int]
    """Questions without a value, by reason."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One variant against the baseline on one metric."""

    variant: int
    baseline: int
    column: str
    metric: str
    comparison: Comparison
    """As statistics.compare gives it; a positive difference always means a higher value of the metric."""
    words: str


@dataclass(frozen=True, slots=True)
class Causes:
    """How often each class of failure occurs in the answers of one variant."""

    variant: int
    column: str
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation found."""

    questions: tuple[Asked, ...]
    variants: tuple[str, ...]
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    """Metrics that decide; each variant has a value or a reason for every metric all the same."""
    baseline: int
    margin: float
    summaries: tuple[Summary, ...]
    verdicts: tuple[Verdict, ...]
    causes: tuple[Causes, ...]
    items: tuple[Item, ...]
    name: str = ""
    """Of the set, or the file of gold answers."""
    created: str = ""
    """UTC, ISO 8601."""
    run: int | None = None
    collection: str = ""
    version: int = 0
    sha256: str = ""
    """Of the questions."""
    generated: int = 0
    """Answers that were generated for this report; the others came from the cache."""
    cached: int = 0
    withheld: int = 0
    """Answers for which no model was asked."""
    seconds: float = 0.0
    """Wall time of the last run that worked on it."""
    notes: tuple[str, ...] = ()

    def summary(self, variant: int, column: str, metric: str) -> Summary | None:
        """The summary of one cell; None for what was not measured."""
        for each in self.summaries:
            if (each.variant, each.column, each.metric) == (variant, column, metric):
                return each
        return None

    @property
    def measured(self) -> tuple[str, ...]:
        """All metrics for which somebody has a value, those that decide first."""
        there = dict.fromkeys(each.metric for each in self.summaries if each.mean is not None)
        return tuple(dict.fromkeys([*(name for name in self.metrics if name in there), *there]))


def measure(case: Case, measures: Mapping[str, Measure]) -> tuple[dict[str, float], dict[str, str]]:
    """Values by metric, and reasons for those that cannot be computed."""
    found: dict[str, Value] = {name: formula(case) for name, formula in measures.items()}
    values = {name: float(value) for name, value in found.items() if not isinstance(value, Missing)}
    return values, {name: value.reason for name, value in found.items() if isinstance(value, Missing)}


def summarise(items: Sequence[Item], variants: int, columns: Sequence[str], metrics: Sequence[str]) -> list[Summary]:
    """Mean and interval of each metric for each variant and column, over questions."""
    cells = _cells(items, metrics)
    found = []
    for column in columns:
        for variant in range(variants):
            reasons = _reasons(items, variant, column)
            for metric in metrics:
                values = list(cells.get((variant, column, metric), {}).values())
                low, high = _ends(mean_interval(values), metric) if values else (None, None)
                mean = sum(values) / len(values) if values else None
                found.append(
                    Summary(variant, column, metric, len(values), mean, low, high, reasons.get(metric, {}))
                )
    return found


def judge(
    items: Sequence[Item],
    variants: int,
    columns: Sequence[str],
    metrics: Sequence[str],
    baseline: int = 0,
    margin: float = 0.02,
) -> list[Verdict]:
    """Every variant against the baseline on the metrics that decide, question by question; Holm over all of it."""
    cells = _cells(items, metrics)
    places, pairs = [], []
    for column in columns:
        for metric in metrics:
            for variant in range(variants):
                one, other = cells.get((variant, column, metric), {}), cells.get((baseline, column, metric), {})
                shared = [question for question in other if question in one]
                if variant != baseline and shared:
                    places.append((variant, column, metric))
                    mine, theirs = [one[key] for key in shared], [other[key] for key in shared]
                    pairs.append((theirs, mine) if metric in LOWER_IS_BETTER else (mine, theirs))
    found = []
    for (variant, column, metric), result in zip(places, compare(pairs, margin) if pairs else [], strict=True):
        shown = turned(result) if metric in LOWER_IS_BETTER else result
        found.append(Verdict(variant, baseline, column, metric, shown, in_words(shown, metric)))
    return found


def turned(result: Comparison) -> Comparison:
    """The comparison with the sign of the metric itself: it was made with the sides swapped, lower being better."""
    interval = Interval(-result.interval.high, -result.interval.low)
    return Comparison(
        result.questions,
        -result.difference,
        interval,
        result.p,
        result.p_adjusted,
        result.verdict,
        result.more_questions,
    )


def in_words(result: Comparison, metric: str = "") -> str:
    """The verdict as a sentence: "better by 4.1 points (1.2 to 7.0)"."""
    low, high = result.interval.low, result.interval.high
    size = abs(result.difference)
    if result.difference < 0:
        low, high = -high, -low
    scale, unit, digits = (1.0, "", 2) if metric in COSTS else (100.0, " points", 1)

    def shown(value: float, sign: str = "") -> str:
        return f"{value * scale:{sign}.{digits}f}"

    sure = math.isfinite(low) and math.isfinite(high)
    if result.verdict in ("better", "worse"):
        return f"{result.verdict} by {shown(size)}{unit}" + (f" ({shown(low)} to {shown(high)})" if sure else "")
    if result.verdict == "same within the margin":
        return f"{result.verdict}: {shown(result.difference, '+')}{unit}"
    told = f"cannot tell yet: {shown(result.difference, '+')}{unit}"
    if sure:
        told += f" ({shown(result.interval.low)} to {shown(result.interval.high)})"
    if result.more_questions is None:
        return told
    if result.more_questions > 100_000:
        return f"{told}; no number of questions within reach would"
    return f"{told}; about {result.more_questions:,} more questions would"


def count_causes(items: Iterable[Item], variants: int, columns: Sequence[str]) -> list[Causes]:
    """Classes of failure for each variant and column that was answered."""
    counts: dict[tuple[int, str], Counter[str]] = {}
    for item in items:
        if item.text is not None:
            counts.setdefault((item.variant, item.column), Counter())[item.failure] += 1
    return [
        Causes(variant, column, dict(counts[variant, column]))
        for column in columns
        for variant in range(variants)
        if (variant, column) in counts
    ]


Cells = dict[tuple[int, str, str], dict[str, float]]


def _cells(items: Iterable[Item], metrics: Sequence[str]) -> Cells:
    """(variant, column, metric) -> question id -> value, the mean of its repeats."""
    lists: dict[tuple[int, str, str], dict[str, list[float]]] = {}
    for item in items:
        for metric in metrics:
            if metric in item.values:
                cell = lists.setdefault((item.variant, item.column, metric), {})
                cell.setdefault(item.question, []).append(item.values[metric])
    return {
        place: {question: sum(values) / len(values) for question, values in cell.items()}
        for place, cell in lists.items()
    }


def _reasons(items: Iterable[Item], variant: int, column: str) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for item in items:
        if (item.variant, item.column, item.repeat) == (variant, column, 0):
            for metric, reason in item.missing.items():
                counts.setdefault(metric, Counter())[reason] += 1
    return {metric: dict(counter) for metric, counter in counts.items()}


def _ends(interval: Interval, metric: str) -> tuple[float | None, float | None]:
    """The interval within what the metric can be; None where there is too little to say."""
    low, high = interval.low, interval.high
    if not (math.isfinite(low) and math.isfinite(high)):
        return None, None
    return max(low, 0.0), high if metric in COSTS else min(high, 1.0)
