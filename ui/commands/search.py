"""`ragkit search`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from ragkit.errors import RagkitError
from ragkit.settings import RetrieveSettings
from ragkit.types import Evidence, Hit, to_json
from ragkit.workbench import Workbench
from ui.console import (
    COLLECTION,
    CollectionOption,
    DocumentsOption,
    HomeOption,
    JsonOption,
    emit,
    home_of,
    notes,
    results,
    settings_options,
)

SNIPPET = 300
"""Characters of a passage that a person is shown."""


class BadQueries(RagkitError):
    """A file of queries that cannot be read."""


@settings_options(
    RetrieveSettings,
    "retrieval",
    "How passages are found",
    skip=("abstain_below", "reader", "reader_below", "reader_above"),
    short={"k": "-k"},
)
def search(
    retrieval: dict[str, Any],
    query: Annotated[str, typer.Argument(help="Words or a question.")] = "",
    queries: Annotated[
        Path | None,
        typer.Option("--queries", metavar="FILE", help='JSON lines {"_id", "text"}; prints {"_id", "hits"} for each.'),
    ] = None,
    documents: DocumentsOption = None,
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the passages that fit best, best first."""
    if bool(query) == bool(queries):
        raise typer.BadParameter("Give either a query or --queries FILE.")
    settings = RetrieveSettings(**retrieval)
    workbench = Workbench.open(collection, home_of(home))
    if queries is not None:
        asked = list(read_queries(queries))  # all of it is checked before the first answer
        for number, (name, text) in enumerate(asked, start=1):
            hits = workbench.retrieve(text, settings, documents or None).hits
            emit({"_id": name, "hits": to_json(hits)})
            if number % 100 == 0:
                notes.print(f"[dim]{number:,} of {len(asked):,}[/]")
        return
    evidence = workbench.retrieve(query, settings, documents or None)
    if as_json:
        emit(to_json(evidence))
    else:
        _show(evidence)


def read_queries(path: Path) -> Iterator[tuple[str, str]]:
    """Ids and texts of a file of JSON lines. Raises BadQueries with the line that is wrong."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadQueries(f"{path} cannot be read: {error}.", "Give a UTF-8 file of JSON lines.") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            yield str(record["_id"]), str(record["text"])
        except (ValueError, TypeError, KeyError) as error:
            raise BadQueries(
                f"Line {number} of {path} is no query: {line[:60]!r}.", 'Each line holds {"_id": ..., "text": ...}.'
            ) from error


def _show(evidence: Evidence) -> None:
    console = results()
    for hit in evidence.hits:
        console.print(f"[bold]{hit.rank}[/]  {place_of(hit)}  [dim]{hit.score:.4f}[/]", soft_wrap=True)
        text = " ".join(hit.text.split())
        console.print(escape(text[:SNIPPET] + ("…" if len(text) > SNIPPET else "")), style="dim", soft_wrap=True)
    if not evidence.hits:
        notes.print("Nothing was found.")


def place_of(hit: Hit) -> str:
    """Document and page, for people."""
    label = f" ({hit.page_label})" if hit.page_label not in ("", str(hit.page)) else ""
    return f"{escape(hit.document)}, page {hit.page}{escape(label)}"
