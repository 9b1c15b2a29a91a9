"""`ragkit list`."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ingest.catalog import REGISTRIES as INGEST
from ragkit.catalog import REGISTRIES as QUERY
from ragkit.errors import UnknownPart
from ragkit.prompt.store import TemplateStore
from ragkit.registry import Row
from ui.console import HomeOption, JsonOption, emit, home_of, results

KINDS = ("loaders", "splitters", *QUERY, "templates")


def parts(
    kind: Annotated[str, typer.Argument(help=f"One kind only: {', '.join(KINDS)}.")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every part with its summary, and what a part that cannot be used yet would need."""
    wanted = [each for each in KINDS if kind in ("", each, each.removesuffix("s"))]
    if not wanted:
        raise UnknownPart(f"There is no kind of part called {kind!r}.", f"There are: {', '.join(KINDS)}.")
    for each in wanted:
        rows = rows_of(each, TemplateStore(home_of(home) / "templates"))
        if as_json:
            for row in rows:
                missing = missing_modules(row)
                emit({"kind": each, "name": row.name, "summary": row.summary, "extra": row.extra, "missing": missing})
        else:
            results().print(_table(each, rows))


def rows_of(kind: str, templates: TemplateStore) -> list[Row]:
    """All rows of a kind, in menu order."""
    if kind == "templates":
        return [Row(template.name, "", template.summary) for template in templates.list()]
    return list({**INGEST, **QUERY}[kind])


def missing_modules(row: Row) -> list[str]:
    """Modules that the part needs and that are not installed."""
    return [module for module in row.needs if importlib.util.find_spec(module) is None]


def _table(kind: str, rows: list[Row]) -> Table:
    table = Table(title=kind, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True, min_width=22)
    for row in rows:
        missing = ", ".join(missing_modules(row))
        table.add_row(escape(row.name), escape(row.summary) + (f" [yellow](needs {missing})[/]" if missing else ""))
    table.add_section()
    return table
