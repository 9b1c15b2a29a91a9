"""`ragkit verify`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from ragkit import verify as checks
from ragkit.collection import Collection
from ragkit.types import to_json
from ui.console import COLLECTION, CollectionOption, HomeOption, JsonOption, emit, home_of, notes


def verify(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended from the database.")] = False,
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Exit 0 when the collection is sound (with --repair: when it is afterwards), 1 otherwise."""
    opened = Collection.open(home_of(home), collection)
    found = list(checks.check(opened))
    lost: tuple[str, ...] = ()
    if repair and found:
        lost = checks.repair(opened)
        left = list(checks.check(opened))
    else:
        left = found
    if as_json:
        mended = [problem for problem in found if problem not in left]
        emit({"collection": collection, "sound": not left, "problems": to_json(left), "repaired": to_json(mended),
              "lost": list(lost)})  # fmt: skip
    else:
        for problem in found:
            state = "repaired" if problem not in left else "can be repaired" if problem.repairable else "not repairable"
            notes.print(f"{escape(problem.what)} [dim]({problem.where}, {state})[/]")
        if lost:
            notes.print(f"Could not be saved, ingest again: {escape(', '.join(lost))}")
            notes.print("A copy of the damaged database is kept beside it.")
        notes.print(_verdict(collection, len(left), any(problem.repairable for problem in left), repair))
    if left:
        raise typer.Exit(1)


def _verdict(collection: str, left: int, repairable: bool, repaired: bool) -> str:
    if not left:
        return f"The collection {collection!r} is sound."
    if repairable and not repaired:
        return f"{left} found. Mend them with: ragkit verify --repair -c {collection}"
    return f"{left} left. Remove the documents concerned and ingest their files again."
