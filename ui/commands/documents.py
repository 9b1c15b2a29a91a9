"""`ragkit documents` and `ragkit remove`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ragkit.collection import Collection
from ragkit.types import to_json
from ui.console import COLLECTION, CollectionOption, HomeOption, JsonOption, emit, home_of, notes, results


def documents(collection: CollectionOption = COLLECTION, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List documents by name."""
    found = Collection.open(home_of(home), collection).documents()
    if as_json:
        for document in found:
            emit(to_json(document))
        return
    table = Table("document", "kind", box=None, pad_edge=False)
    for column in ("pages", "passages", "kB"):
        table.add_column(column, justify="right")
    table.add_column("added")
    for document in found:
        size = f"{document.bytes / 1000:,.0f}"
        numbers = (f"{document.pages:,}", f"{document.chunks:,}", size)
        table.add_row(escape(document.name), document.kind, *numbers, document.added[:16].replace("T", " "))
    if found:
        results().print(table)
    else:
        notes.print(f"The collection {collection!r} is empty. Fill it with: ragkit ingest FILES -c {collection}")


def remove(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names as `ragkit documents` shows them.")],
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove documents, each in one transaction; an unknown name stops before anything is removed."""
    opened = Collection.open(home_of(home), collection)
    for name in names:
        opened.document(name)
    for name in names:
        opened.remove(name)
        if as_json:
            emit({"document": name, "state": "removed"})
        else:
            notes.print(f"Removed {escape(name)}.")
