"""Write the tables of README.md and the made pages of docs, from catalogs and measurements.

    python -m tests.make_tables
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ragkit.prompt.store import TemplateStore
from tests.bench import beside
from tests.bench import page as benchmarks
from ui.commands.parts import KINDS, rows_of

ROOT = Path(__file__).parents[1]
BUNDLED = TemplateStore(ROOT / "no templates but those that come with ragkit")
PURPOSE = {
    "loaders": "read a file into pages",
    "splitters": "cut pages into passages",
    "embedders": "turn passages into vectors",
    "indexes": "find the nearest vectors",
    "retrievers": "find passages for a question",
    "rerankers": "look at the candidates again",
    "selectors": "choose demonstrations",
    "templates": "word the prompt",
    "generators": "write the answer",
    "tasks": "say what is learnt",
    "methods": "say which weights learn",
    "metrics": "score answers and retrieval",
}
"""What the parts of a kind do."""


def short_table() -> str:
    """One row a kind: what it does and what there is."""
    lines = ["| kind | what they do | parts |", "| --- | --- | --- |"]
    for kind in KINDS:
        lines.append(f"| {kind} | {PURPOSE[kind]} | {', '.join(f'`{row.name}`' for row in rows_of(kind, BUNDLED))} |")
    return "\n".join(lines)


def long_page() -> str:
    """One table a kind, with every part's summary."""
    page = ["# Parts", "", "Made from the catalogs by `python -m tests.make_tables`."]
    for kind in KINDS:
        rows = [f"| `{row.name}` | {row.summary} |" for row in rows_of(kind, BUNDLED)]
        page += ["", f"## {kind}: {PURPOSE[kind]}", "", "| part | what it is for |", "| --- | --- |", *rows]
    return "\n".join(page) + "\n"


def adapters_table() -> str:
    """What the bundled adapters' evaluations found: one row each, and one for the bare model."""
    reader, grounded = (_evaluation(name) for name in ("reader", "grounded"))
    tuned, bare, both = grounded["variants"].items()
    lines = [
        "| | F1, answerable | answered, unanswerable | citation precision | seconds an answer |",
        "| --- | --- | --- | --- | --- |",
        _row("`reader` alone", next(iter(reader["variants"].values()))),
        _row("`grounded` alone", tuned[1]),
        _row("`grounded` beside `reader`, the default", both[1]),
        _row(f"the same model without an adapter, template `{bare[0]}`", bare[1]),
    ]
    return "\n".join(lines)


PAGES: dict[str, Callable[[], str]] = {
    "parts.md": long_page, "benchmarks.md": benchmarks.page,
    **{f"{name}.svg": partial(benchmarks.plot, name) for name in benchmarks.plotted()},
}  # fmt: skip
"""Pages and plots of the folder docs by file."""


def _evaluation(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "ragkit" / "bundled" / name / "evaluation.json").read_text("utf-8"))


def _row(what: str, found: dict[str, Any]) -> str:
    metrics = ("f1", "false-answer", "citation-precision", "seconds")
    return f"| {what} | {' | '.join(_cell(found.get(metric), metric) for metric in metrics)} |"


def _cell(value: dict[str, float] | None, metric: str) -> str:
    if value is None:
        return ""
    if metric == "seconds":
        return f"{value['mean']:.2f}"
    return f"{value['mean']:.2f} ({value['low']:.2f} to {value['high']:.2f})"


TABLES = {"parts": short_table, "adapters": adapters_table, "short": beside.in_short}
"""Made parts of the README by the name in their marks."""


def in_readme(text: str) -> str:
    """The README's text with each table between its marks."""
    for name, table in TABLES.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, _, rest = text.partition(start)
        text = f"{before}{start}\n{table()}\n{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(in_readme(readme.read_text("utf-8")), "utf-8")
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page(), "utf-8")
