"""A report as one HTML file that needs nothing else: no script, no font, no picture from outside."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from ragkit.evaluate import plots
from ragkit.evaluate.failures import MEANINGS
from ragkit.evaluate.report import COSTS, Item, Report, Summary

MOST_QUESTIONS = 1000
"""Questions that the page shows one by one; the CSV and JSON files hold all."""
COLUMN_NAMES = {"none": "no context", "retrieved": "retrieved passages", "gold": "gold passage", "answers": "answers"}

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #667085; --line: #d8dde6; --paper: #fff; --raised: #f5f7fa;
  --accent: #2456d6; --good: #14804a; --bad: #b42318; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #98a2b3; --line: #333b49; --paper: #12161d;
  --raised: #1b212b; --accent: #7ea6ff; --good: #55c98a; --bad: #ff8a7a; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 1080px; padding: 24px; overflow-wrap: anywhere; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 36px 0 8px; }
h3 { font-size: 15px; margin: 20px 0 4px; }
p { margin: 4px 0 12px; } .soft { color: var(--soft); } .good { color: var(--good); } .bad { color: var(--bad); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 120px; } th { font-weight: 600; }
.text { text-align: left; white-space: normal; } td.best { font-weight: 700; }
small { color: var(--soft); } svg { width: 100%; height: auto; max-width: 820px; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); } svg .tick { fill: var(--soft); }
svg .grid { stroke: var(--line); } svg .bar { stroke: var(--accent); stroke-width: 2; }
svg .dot { fill: var(--accent); }
svg .count { text-anchor: middle; fill: #10151d; font-weight: 600; }
.c0 { fill: #6fcf97; background: #6fcf97; } .c1 { fill: #a8e0bf; background: #a8e0bf; }
.c2 { fill: #c3c9d4; background: #c3c9d4; } .c3 { fill: #f2c14e; background: #f2c14e; }
.c4 { fill: #f7dd9a; background: #f7dd9a; } .c5 { fill: #d9a6e0; background: #d9a6e0; }
.c6 { fill: #7fb3f5; background: #7fb3f5; } .c7 { fill: #f08a6c; background: #f08a6c; }
.c8 { fill: #d95f5f; background: #d95f5f; } .c9 { fill: #f3a6b4; background: #f3a6b4; }
.c10 { fill: #e58f8f; background: #e58f8f; } .c11 { fill: #dfe3ea; background: #dfe3ea; }
.key { display: inline-block; width: 12px; height: 12px; border-radius: 2px; margin-right: 6px; }
ul { padding-left: 20px; margin: 4px 0; } ul.legend { list-style: none; padding: 0; }
details { border: 1px solid var(--line); border-radius: 6px; margin: 6px 0; padding: 6px 12px; }
details[open] { background: var(--raised); } summary { cursor: pointer; }
"""


def html(report: Report) -> str:
    """The page. Every text from a document, a question or a model is escaped."""
    title = f"Evaluation of {report.name}" if report.name else "Evaluation"
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
    )
    body = [f"<h1>{escape(title)}</h1>", _about(report), *_verdicts(report)]
    for column in report.columns:
        body += [f"<h2>With {escape(COLUMN_NAMES.get(column, column))}</h2>" if len(report.columns) > 1 else ""]
        body += [*_plots(report, column), _table(report, column), *_causes(report, column)]
    body += _questions(report)
    return head + "\n".join(body) + "</body></html>\n"


def _about(report: Report) -> str:
    facts = [f"{len(report.questions):,} questions", f"{len(report.variants)} variants"]
    facts += [f"collection {report.collection}"] if report.collection else []
    facts += [f"version {report.version} of the set ({report.sha256[:12]})"] if report.sha256 else []
    facts += [f"run {report.run}"] if report.run else []
    facts += [report.created.replace("T", " ")]
    if report.generated or report.cached or report.withheld:
        facts.append(f"{report.generated:,} answers generated, {report.cached:,} from the cache")
        facts.append(f"{report.withheld:,} held back without asking a model")
    notes = "".join(f"<p>{escape(note)}</p>" for note in report.notes)
    return f'<p class="soft">{escape(" · ".join(facts))}</p>{notes}'


def _verdicts(report: Report) -> list[str]:
    if not report.verdicts:
        return []
    base = escape(report.variants[report.baseline])
    margin = f"{report.margin * 100:g} points"
    lines = [
        "<h2>Is it better?</h2>",
        f'<p class="soft">Against <b>{base}</b>, question by question; 95 % intervals, Holm\'s correction over all '
        f"{len(report.verdicts)} comparisons, margin {margin}.</p>",
        '<div class="scroll"><table><tr><th>variant</th><th>metric</th><th>reads</th><th class=text>verdict</th>'
        "<th>p (Holm)</th><th>questions</th></tr>",
    ]
    for each in report.verdicts:
        style = {"better": "good", "worse": "bad"}.get(each.comparison.verdict, "")
        lines.append(
            f"<tr><td>{escape(report.variants[each.variant])}</td><td>{escape(each.metric)}</td>"
            f"<td>{escape(COLUMN_NAMES.get(each.column, each.column))}</td>"
            f'<td class="text {style}">{escape(each.words)}</td>'
            f"<td>{each.comparison.p_adjusted:.3g}</td><td>{each.comparison.questions:,}</td></tr>"
        )
    return [*lines, "</table></div>"]


def _plots(report: Report, column: str) -> list[str]:
    found = []
    for metric in report.metrics:
        rows = []
        for number, name in enumerate(report.variants):
            cell = report.summary(number, column, metric)
            if cell is not None and cell.mean is not None:
                rows.append((name, cell.mean, cell.low, cell.high))
        if rows:
            title = f"{metric}, mean and 95 % interval, {COLUMN_NAMES.get(column, column)}"
            found += [f"<h3>{escape(metric)}</h3>", plots.intervals(rows, title, unit=metric not in COSTS)]
    return found


def _table(report: Report, column: str) -> str:
    metrics = [
        metric
        for metric in report.measured
        if any(_mean(report.summary(number, column, metric)) is not None for number in range(len(report.variants)))
    ]
    lines = ['<div class="scroll"><table><tr><th>variant</th>', *(f"<th>{escape(name)}</th>" for name in metrics)]
    lines.append("</tr>")
    for number, name in enumerate(report.variants):
        cells = "".join(_cell(report.summary(number, column, metric), metric) for metric in metrics)
        lines.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    return "".join([*lines, "</table></div>"])


def _mean(cell: Summary | None) -> float | None:
    return cell.mean if cell else None


def _cell(cell: Summary | None, metric: str) -> str:
    if cell is None:
        return "<td>-</td>"
    missing = "; ".join(f"{count:,} missing: {reason}" for reason, count in cell.missing.items())
    marks = f"<br><small>n {cell.questions:,}{f', {sum(cell.missing.values()):,} missing' if missing else ''}</small>"
    hint = f' title="{escape(missing)}"' if missing else ""
    if cell.mean is None:
        return f"<td{hint}>missing{marks}</td>"
    return f"<td{hint}>{figure(cell.mean, metric)}{_span(cell, metric)}{marks}</td>"


def _span(cell: Summary, metric: str) -> str:
    if cell.low is None or cell.high is None:
        return ""
    return f" <small>{figure(cell.low, metric)} to {figure(cell.high, metric)}</small>"


def figure(value: float, metric: str) -> str:
    """A value for people: scores as points of 100, times and lengths as they are."""
    return f"{value:.2f}" if metric in COSTS else f"{value * 100:.1f}"


def _causes(report: Report, column: str) -> list[str]:
    rows = [(report.variants[each.variant], each.counts) for each in report.causes if each.column == column]
    known = list(MEANINGS)
    there = [name for name in known if any(name in counts for _, counts in rows)]
    if not there or there == ["not judged"]:
        return []
    legend = "".join(
        f'<li><span class="key c{known.index(name)}"></span><b>{escape(name)}</b> '
        f'<span class="soft">{escape(MEANINGS[name])}</span></li>'
        for name in there
    )
    title = f"What became of the questions, {COLUMN_NAMES.get(column, column)}"
    plot = plots.shares(rows, known, title)
    return ["<h3>What became of the questions</h3>", plot, f'<ul class="legend">{legend}</ul>']


def _questions(report: Report) -> list[str]:
    by_question: dict[str, list[Item]] = {}
    for item in report.items:
        by_question.setdefault(item.question, []).append(item)
    lines = ["<h2>Question by question</h2>"]
    if len(report.questions) > MOST_QUESTIONS:
        lines.append(f"<p>The first {MOST_QUESTIONS:,} of {len(report.questions):,}; the CSV file has all.</p>")
    for asked in report.questions[:MOST_QUESTIONS]:
        items = by_question.get(asked.id, [])
        right = [item for item in items if item.right is not None]
        told = f" <small>{sum(bool(item.right) for item in right)} of {len(right)} right</small>" if right else ""
        gold = " | ".join(asked.answers) or ("no answer in the documents" if asked.judged else "not judged")
        lines.append(f"<details><summary>{escape(asked.question)}{told}</summary>")
        lines.append(f'<p class="soft">{escape(asked.id)}: {escape(gold)}</p>')
        lines.append(f'<div class="scroll"><table>{"".join(_rows(report, items))}</table></div></details>')
    return lines


def _rows(report: Report, items: Iterable[Item]) -> Iterable[str]:
    names = report.metrics[:3]
    yield "<tr><th>variant</th><th>reads</th><th class=text>answer</th><th>became</th>"
    yield "".join(f"<th>{escape(name)}</th>" for name in names) + "</tr>"
    for item in items:
        text = "no answer" if item.text is None else item.text
        cells = "".join(f"<td>{_value(item, name)}</td>" for name in names)
        yield (
            f"<tr><td>{escape(report.variants[item.variant])}</td>"
            f"<td>{escape(COLUMN_NAMES.get(item.column, item.column))}</td>"
            f'<td class="text">{escape(text)}</td><td>{escape(item.failure)}</td>{cells}</tr>'
        )


def _value(item: Item, metric: str) -> str:
    if metric in item.values:
        return figure(item.values[metric], metric)
    return f'<span title="{escape(item.missing.get(metric, ""))}">missing</span>'
