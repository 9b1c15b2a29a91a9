"""`ragkit jobs`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ragkit.collection import Collection
from ragkit.jobs import Jobs
from ragkit.types import to_json
from ui.console import COLLECTION, CollectionOption, HomeOption, JsonOption, emit, home_of, notes, results


def jobs(
    cancel: Annotated[int | None, typer.Option("--cancel", metavar="ID", help="Ask this job to stop.")] = None,
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the jobs of a collection, newest first."""
    kept = Jobs(Collection.open(home_of(home), collection))
    if cancel is not None:
        kept.get(cancel)
        kept.cancel(cancel)
        notes.print(f"Asked job {cancel} to stop.")
    table = Table("job", "kind", "state", "files", "begun", "reason", box=None, pad_edge=False)
    for job in kept.list():
        if as_json:
            emit(to_json(job))
        counts = f"{job.progress.files}/{job.progress.total}"
        begun = (job.started or job.created)[:16].replace("T", " ")
        table.add_row(str(job.id), job.kind, job.state, counts, begun, escape(job.reason))
    if not as_json and table.row_count:
        results().print(table)
    elif not as_json:
        notes.print(f"The collection {collection!r} has no jobs.")
