"""`ragkit promote`."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from ragkit import promotion
from ragkit.evaluate.gate import Row
from ragkit.evaluate.page import figure
from ragkit.promotion import NO_READER, Gate
from ragkit.promotions import Promotion, Promotions
from ragkit.settings import RetrieveSettings
from ragkit.types import to_json
from ragkit.workbench import Workbench
from ui.commands.evaluate import progress, questions_of
from ui.console import (
    COLLECTION,
    CollectionOption,
    HomeOption,
    JsonOption,
    emit,
    home_of,
    interruptible,
    notes,
    results,
    settings_options,
)

_COLOURS = {"passed": "green", "failed": "red", "cannot tell yet": "yellow"}


@settings_options(RetrieveSettings, "retrieval", "How passages are found", short={"k": "-k"})
def promote(
    retrieval: dict[str, Any],
    adapter: Annotated[
        str, typer.Argument(metavar="NAME", help="The adapter: see `ragkit adapters`. Without one, list promotions.")
    ] = "",
    questions: Annotated[
        str, typer.Option("--set", "-s", metavar="SET", help="Held-out questions: a set, or a file to import as one.")
    ] = "",
    margin: Annotated[float, typer.Option("--margin", help="Differences up to this count as none.")] = 0.02,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Make it the default if it passes, without asking.")] = False,
    back: Annotated[
        bool, typer.Option("--roll-back", help="Take the newest promotion back: the default is what it was before.")
    ] = False,
    task: Annotated[
        Literal["generate", "extract"], typer.Option("--task", help="Roll back: an adapter that writes, or a reader.")
    ] = "generate",
    base: Annotated[
        str, typer.Option("--base", metavar="MODEL", help="Roll back: the model whose default is meant.")
    ] = "",
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure an adapter against what is the default now, and make it the default if it is better.

    Ends with 1 if it is not let through.
    """
    if back and (adapter or questions):
        raise typer.BadParameter("--roll-back takes the newest promotion back and names no adapter and no set.")
    if bool(adapter) != bool(questions):
        raise typer.BadParameter("An adapter is measured on questions: ragkit promote NAME --set SET.")
    workbench = Workbench.open(collection, home_of(home))
    if back:
        _told(promotion.roll_back(workbench, task, base or None), as_json)
    elif not adapter:
        _list(Promotions(workbench.collection).history(), as_json)
    else:
        with interruptible() as stopped, progress() as listen:
            held = promotion.gate(
                workbench,
                adapter,
                questions_of(workbench, questions),
                retrieve=RetrieveSettings(**retrieval),
                margin=margin,
                listen=listen,
                should_stop=stopped,
            )
        promoted = _decide(workbench, held, yes, as_json)
        if as_json:
            emit({**to_json(held), "promoted": promoted})
        if not held.passed:
            raise typer.Exit(1)


def _decide(workbench: Workbench, held: Gate, yes: bool, as_json: bool) -> bool:
    """Show the gate, ask where nobody has said so yet, and promote; returns whether it was done."""
    if not as_json:
        show(held)
    if not held.passed:
        return False
    if not yes and not as_json and sys.stdin.isatty():
        yes = typer.confirm(f"Make {held.adapter} the default?", err=True)
    if not yes:
        notes.print("Nothing was changed. Add --yes to make it the default.")
        return False
    promotion.promote(workbench, held)
    notes.print(f"{escape(held.adapter)} is the default of {escape(held.base)} in {workbench.collection.name} now. "
                "Take it back with: ragkit promote --roll-back", soft_wrap=True)  # fmt: skip
    return True


def show(held: Gate) -> None:
    """The gate as a table on standard output."""
    other = held.default.name if held.default else NO_READER
    title = f"{held.asked:,} questions of {held.name}"
    table = Table("metric", title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in (held.candidate.name, f"now: {other}", "questions"):
        table.add_column(escape(heading), justify="right")
    table.add_column("verdict")
    table.add_column("says")
    for row in held.rows:
        table.add_row(*_cells(row))
    results().print(table)
    results().print(f"[bold {_COLOURS[held.outcome]}]{escape(held.words)}[/]", soft_wrap=True)
    for note in held.notes:
        notes.print(escape(note), soft_wrap=True)
    notes.print(f"[dim]Run {held.run} has every answer.[/]")


def _cells(row: Row) -> list[str]:
    means = ["-" if value is None else figure(value, row.metric) for value in (row.candidate, row.default)]
    says = {"decides": "decides: ", "must not fall": "must not fall: ", "shown": ""}[row.role]
    if row.role == "shown" and row.outcome == "passed":
        told = ""
    else:
        told = f"{says}[{_COLOURS[row.outcome]}]{row.outcome}[/]"
    return [row.metric, *means, str(row.questions), escape(row.words), told]


def _told(taken: Promotion, as_json: bool) -> None:
    if as_json:
        emit(to_json(taken))
    else:
        notes.print(f"{escape(taken.adapter)} is no longer the default of {escape(taken.base)}.")


def _list(history: list[Promotion], as_json: bool) -> None:
    if as_json:
        for each in history:
            emit(to_json(each))
        return
    if not history:
        notes.print("Nothing was promoted yet. Measure an adapter with: ragkit promote NAME --set SET")
        return
    table = Table("promoted", "adapter", "task", "model", "template", "run", "state", box=None, pad_edge=False)
    for each in history:
        when = each.created[:16].replace("T", " ")
        cells = (each.adapter, each.task, each.base, each.template, str(each.run or ""), each.state)
        table.add_row(when, *map(escape, cells))
    results().print(table)
