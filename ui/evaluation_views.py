"""How a report looks: pure functions from the report's parts to escaped HTML."""

from __future__ import annotations

from collections.abc import Sequence

from ragkit.evaluate.failures import MEANINGS
from ragkit.evaluate.page import COLUMN_NAMES, figure
from ragkit.evaluate.report import LOWER_IS_BETTER, Asked, Item, Report, Summary, Verdict
from ui.views import Html, el, icon, join

COLOURS = {
    "right": "#2f9e6b", "rightly refused": "#86cfa9", "not in the documents": "#a9b4c2", "not retrieved": "#e0a83a",
    "held back": "#f0d08a", "did not fit": "#c490d1", "retrieved but refused": "#6f9fe0",
    "retrieved but ignored": "#e0764f", "answered without ground": "#c84a4a",
    "not known without the documents": "#e39aa8", "wrong": "#d06a6a", "not judged": "#cfd6d3",
}  # fmt: skip
"""One colour a class of failure."""
USUAL = ("recall", "abstention", "support", "seconds", "tokens")
"""Metrics that are shown besides those that decide."""
_SYMBOLS = {"better": "trending_up", "worse": "trending_down", "same within the margin": "drag_handle"}
_TONES = {"better": "rk-better", "worse": "rk-worse"}


def column_name(column: str) -> str:
    """What the model read."""
    return COLUMN_NAMES.get(column, column)


def verdicts(report: Report, column: str) -> Html:
    """Every comparison with the baseline in one column as a sentence."""
    found = [_verdict(report, each) for each in report.verdicts if each.column == column]
    if not found:
        why = "Nothing was compared here"
        why += ": without context, templates are alike." if column == "none" else ": too few questions have values."
        return el("p", why, class_="rk-muted")
    return el("div", *found, class_="rk-verdicts")


def _verdict(report: Report, each: Verdict) -> Html:
    result = each.comparison
    told = f"{each.metric}; {result.questions:,} questions, p {result.p_adjusted:.3g} after correction"
    lower = " (lower is better)" if each.metric in LOWER_IS_BETTER else ""
    return el(
        "div",
        icon(_SYMBOLS.get(result.verdict, "help")),
        el("div", el("b", report.variants[each.variant]), " against ", el("b", report.variants[each.baseline]), ": ",
           each.words, el("div", told + lower, class_="rk-muted rk-small")),
        class_=f"rk-verdict {_TONES.get(result.verdict, '')}".strip(),
    )  # fmt: skip


def shown_metrics(report: Report, every: bool) -> list[str]:
    """The metrics of the table: those that decide and the usual ones, or all that were measured."""
    if every:
        return list(report.measured)
    return [name for name in dict.fromkeys((*report.metrics, *USUAL)) if name in report.measured]


def leaderboard(report: Report, column: str, metrics: Sequence[str]) -> Html:
    """Variants x metrics; the best mean of each metric marked, missing values with their reason."""
    best = {metric: _best(report, column, metric) for metric in metrics}
    head = el("tr", el("th", "Variant", scope="col"), *(el("th", name, scope="col") for name in metrics))
    rows = []
    for number, name in enumerate(report.variants):
        mark = el("small", "baseline") if number == report.baseline and len(report.variants) > 1 else None
        cells = [_cell(report.summary(number, column, metric), metric, best[metric] == number) for metric in metrics]
        rows.append(el("tr", el("td", el("b", name), mark), *cells))
    table = el("table", el("thead", head), el("tbody", *rows), class_="rk-table")
    return el("div", table, class_="rk-scroll", tabindex="0", role="region", aria_label="Leaderboard")


def _best(report: Report, column: str, metric: str) -> int | None:
    means = {number: cell.mean for number in range(len(report.variants))
             if (cell := report.summary(number, column, metric)) and cell.mean is not None}  # fmt: skip
    if len(means) < 2 or len(set(means.values())) < 2:
        return None
    return (min if metric in LOWER_IS_BETTER else max)(means, key=lambda number: means[number])


def _cell(cell: Summary | None, metric: str, best: bool) -> Html:
    gone = sum(cell.missing.values()) if cell else 0
    why = "; ".join(f"{number:,}: {reason}" for reason, number in cell.missing.items()) if cell else "not measured"
    if cell is None or cell.mean is None:
        return el("td", el("span", "missing", class_="rk-missing", title=why))
    span = f"{figure(cell.low, metric)} to {figure(cell.high, metric)}" if _spans(cell) else ""
    left_out = el("small", f"{gone:,} missing", class_="rk-missing", title=why) if gone else None
    return el("td", el("b", figure(cell.mean, metric)), el("small", span) if span else None, left_out,
              class_="rk-best" if best else None)  # fmt: skip


def _spans(cell: Summary) -> bool:
    return cell.low is not None and cell.high is not None


def reasons(report: Report, column: str, metrics: Sequence[str]) -> Html | None:
    """Why values of the table are missing, in words; None if none is."""
    found: dict[str, dict[str, int]] = {}
    for each in report.summaries:
        if each.column == column and each.metric in metrics:
            for reason, number in each.missing.items():
                told = found.setdefault(reason, {})
                told[each.metric] = max(told.get(each.metric, 0), number)
    if not found:
        return None
    lines = [el("li", f"{', '.join(f'{name} ({number:,})' for name, number in told.items())}: {reason}")
             for reason, told in found.items()]  # fmt: skip
    return el("details", el("summary", "Missing values and why (they count in no mean)"), el("ul", *lines),
              class_="rk-reasons rk-small")  # fmt: skip


def legend(classes: Sequence[str]) -> Html:
    """What the classes of failure mean, with their colours."""
    lines = [
        el("div", el("span", class_="rk-key-dot", style=f"background:{COLOURS[name]}"),
           el("span", el("b", name), el("span", f"  {MEANINGS[name]}", class_="rk-muted")))  # type: ignore[index]
        for name in classes
    ]  # fmt: skip
    return el("div", *lines, class_="rk-key-list")


def gold(asked: Asked) -> Html:
    """The question and the answers that count as right."""
    right = " | ".join(asked.answers) or ("The documents hold no answer." if asked.judged else "Not judged.")
    return el("div", el("p", el("b", asked.question)), el("p", "Right: ", right, class_="rk-small rk-muted"),
              class_="rk-gold")  # fmt: skip


def became(item: Item) -> Html:
    """What became of an answer, as a badge."""
    tone = "rk-good" if item.right else "rk-bad" if item.right is False else ""
    return el("span", item.failure, class_=f"rk-badge {tone}".strip(), title=MEANINGS.get(item.failure))  # type: ignore[call-overload]


def scores(item: Item, metrics: Sequence[str]) -> Html:
    """The scores of one answer; a missing one with its reason."""
    parts = []
    for name in metrics:
        if name in item.values:
            parts.append(el("span", f"{name} ", el("b", figure(item.values[name], name))))
        else:
            parts.append(el("span", f"{name} ", el("i", "missing", class_="rk-missing",
                                                   title=item.missing.get(name, ""))))  # fmt: skip
    return el("div", *parts, class_="rk-scores")


def seen(item: Item) -> Html | None:
    """The passages that were found, the ones with the answer marked."""
    if not item.hits:
        return None
    marks = [
        join([el("span", str(place), class_="rk-n"), " ", hit.document, f", p. {hit.label or hit.page}",
              el("span", " holds the answer", class_="rk-badge rk-good") if hit.holds else None])
        for place, hit in enumerate(item.hits, start=1)
    ]  # fmt: skip
    return el("details", el("summary", f"{len(item.hits)} passages found"), *(el("div", mark) for mark in marks),
              class_="rk-reasons rk-small")  # fmt: skip
