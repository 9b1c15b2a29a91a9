"""`ragkit votes` and `ragkit ratings`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from ragkit.collection import Collection
from ragkit.evaluate import ledger
from ragkit.evaluate.ballots import FACTORS, ballots, variant_name
from ragkit.evaluate.ratings import Table as Ratings
from ragkit.evaluate.ratings import rate
from ragkit.types import to_json
from ragkit.votes import Vote, Votes
from ragkit.workbench import Workbench
from ui.console import COLLECTION, CollectionOption, HomeOption, JsonOption, emit, home_of, notes, results

_CHOICES = {"left": "left is better", "right": "right is better", "tie": "equally good", "bad": "both are bad"}


def votes(
    action: Annotated[
        Literal["list", "cast", "undo", "export"],
        typer.Argument(help="list them; cast one; undo the last one; export them as rows for a trainer of trl."),
    ] = "list",
    left: Annotated[int, typer.Option("--left", metavar="ANSWER", help="Cast: number of one answer.")] = 0,
    right: Annotated[int, typer.Option("--right", metavar="ANSWER", help="Cast: number of the other.")] = 0,
    choice: Annotated[
        Literal["left", "right", "tie", "bad"] | None, typer.Option("--choice", help="Cast: which one is better.")
    ] = None,
    form: Annotated[
        Literal["dpo", "kto", "reward"], typer.Option("--format", help="Which trainer the export is for.")
    ] = "dpo",
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="File of JSON lines to export to.")] = None,
    template: Annotated[
        str,
        typer.Option(
            "--template", "-t", help="Export: the template whose prompt stands for two that differ. Without it such "
            "pairs are left out.",
        ),
    ] = "",
    unpair: Annotated[
        bool, typer.Option("--unpair", help="Export to kto: take the better of two as good and the other as bad.")
    ] = False,
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the votes on answers, oldest first; cast one; take the last one back; or export them as training data."""
    workbench = Workbench.open(collection, home_of(home))
    kept = Votes(workbench.collection)
    if action == "list":
        _list(kept.list(), as_json)
    elif action == "cast":
        if choice is None or not left or not right:
            raise typer.BadParameter("A vote names two answers and a choice: --left N --right N --choice left.")
        vote = kept.cast(left, right, choice, blind=False)  # whoever types the numbers has seen the names
        if as_json:
            emit(to_json(vote))
        else:
            notes.print(f"Vote {vote.id}: {_CHOICES[choice]}.")
    elif action == "undo":
        _undo(kept.undo(), as_json)
    elif to is None:
        raise typer.BadParameter("Say where to: --to FILE.", param_hint="--to")
    else:
        _export(workbench, kept, form, to, template, unpair, as_json)


def ratings(
    by: Annotated[
        str, typer.Option("--by", metavar="FACTOR", help=f"What to rate: {', '.join(FACTORS)}.")
    ] = "variant",
    alone: Annotated[
        bool, typer.Option("--alone", help="Count only votes between answers that differ in nothing but that.")
    ] = False,
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rate by the votes: Bradley-Terry ratings with 95 % intervals, position and length of the answers discounted."""
    kept = Votes(Collection.open(home_of(home), collection)).list()
    cast = ballots(kept, by, alone=alone)
    mixed = 0 if alone else len(cast) - len(ballots(kept, by, alone=True))
    table = rate(cast)
    if as_json:
        emit({"by": by, "alone": alone, "mixed": mixed, **to_json(table)})
    elif not table.ratings:
        notes.print(f"No vote tells anything about the {by} yet. Vote on comparisons in the browser: ragkit ui")
    else:
        _show(table, by, mixed)


def _list(found: list[Vote], as_json: bool) -> None:
    if as_json:
        for vote in found:
            emit(to_json(vote))
        return
    table = Table("vote", "cast", "question", "left", "right", "choice", box=None, pad_edge=False)
    for vote in found:
        names = [escape(_short(variant_name(side.answer.variant), 30)) for side in (vote.left, vote.right)]
        when = vote.created[:16].replace("T", " ")
        table.add_row(str(vote.id), when, escape(_short(vote.question, 50)), *names, _CHOICES[vote.choice])
    if found:
        results().print(table)
    else:
        notes.print("There are no votes. Compare answers in the browser and vote: ragkit ui")


def _undo(vote: Vote | None, as_json: bool) -> None:
    if vote is None:
        notes.print("There is no vote to take back.")
        raise typer.Exit(1)
    if as_json:
        emit(to_json(vote))
    else:
        notes.print(f"Took vote {vote.id} back: {_CHOICES[vote.choice]}, on {escape(_short(vote.question, 60))}")


def _export(
    workbench: Workbench,
    kept: Votes,
    form: ledger.Format,
    to: Path,
    template: str,
    unpair: bool,
    as_json: bool,
) -> None:
    deploy = workbench.templates.get(template).render if template else None
    built = ledger.build(form, kept.list(), kept.grades(), template=template, deploy=deploy, unpair=unpair)
    files = ledger.write(built, to.expanduser(), source=workbench.collection.name)
    if as_json:
        told: dict[str, Any] = {"format": form, "rows": len(built.rows), "files": [str(file) for file in files]}
        emit(told | {"left_out": built.reasons, "longest_row_tokens": built.longest})
        return
    for file in files:
        results().print(escape(str(file)), soft_wrap=True)
    notes.print(f"{_count(len(built.rows), 'row')}. The longest has about {built.longest:,} tokens: set max_length.")
    for reason, number in built.reasons.items():
        notes.print(f"[dim]{number} left out: {escape(reason)}[/]")


def _show(table: Ratings, by: str, mixed: int) -> None:
    shown = Table(by, box=None, pad_edge=False)
    for column in ("rating", "95 % interval", "wins", "votes", "strongest"):
        shown.add_column(column, justify="right")
    for rating in table.ratings:
        interval = f"{rating.low:,.0f} to {rating.high:,.0f}"
        wins = f"{rating.wins:g}"
        shown.add_row(
            escape(rating.name), f"{rating.rating:,.0f}", interval, wins, str(rating.votes), f"{rating.best:.0%}"
        )
    results().print(shown)
    best = escape(table.ratings[0].name)
    if table.enough:
        notes.print(f"Enough votes: {best} is the strongest with {table.ratings[0].best:.0%} probability.")
    else:
        notes.print("Not enough votes yet to name the strongest with 95 % probability.")
    notes.print(f"[dim]Discounted: standing left {table.left_bonus:+.0f} points, an answer twice as long "
                f"{table.length_bonus * math.log(2):+.0f} points; {_count(table.votes, 'vote')}.[/]")  # fmt: skip
    if mixed:
        notes.print(f"[dim]In {mixed} of them the answers differ in more than the {by}; --alone leaves those out.[/]")


def _short(text: str, letters: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= letters else line[: letters - 1] + "…"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
