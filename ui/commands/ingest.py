"""`ragkit ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ingest.launch import submit_ingest
from ragkit import demonstrations
from ragkit.collection import Collection
from ragkit.errors import SettingsError
from ragkit.settings import IngestSettings
from ui.console import (
    COLLECTION,
    CollectionOption,
    HomeOption,
    JsonOption,
    home_of,
    notes,
    settings_options,
)
from ui.follow import follow
from ui.watching import watch


@settings_options(IngestSettings, "settings", "How a new collection is made")
def ingest(
    settings: dict[str, Any],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, or folders with everything in them.")],
    examples: Annotated[
        Path | None,
        typer.Option(
            "--examples",
            metavar="FILE",
            help='Also add worked examples for few-shot prompts: JSON lines or CSV with question, answer, passage?.',
        ),
    ] = None,
    watched: Annotated[
        bool,
        typer.Option("--watch", help="Keep the collection equal to this folder until Ctrl-C: added, changed, gone."),
    ] = False,
    collection: CollectionOption = COLLECTION,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put documents in and follow the work; the collection is made if there is none. Exit 1 if a file was refused."""
    bank = demonstrations.read(examples) if examples else []
    opened = Collection.open(home_of(home), collection, create=True, settings=IngestSettings(**settings))
    _check_settings(opened, settings)
    if examples:
        added = opened.add_demonstrations(bank)
        notes.print(f"{added} worked example{'s' * (added != 1)} added.")
    if watched:
        if len(paths) != 1:
            raise typer.BadParameter("--watch takes one folder.")
        watch(opened, paths[0], as_json=as_json)
        return
    job = submit_ingest(opened, paths)
    files = follow(opened, job, as_json=as_json)
    if not files:
        notes.print("There are no files in what was named.")
    if any(file.state == "refused" for file in files):
        raise typer.Exit(1)


def _check_settings(collection: Collection, wanted: dict[str, Any]) -> None:
    """Refuse settings that an existing collection was not made with."""
    for name, value in wanted.items():
        made_with = getattr(collection.settings, name)
        if value != made_with:
            option = f"--{name.replace('_', '-')}"
            change = f"ragkit reembed -c {collection.name} {option} {value}"
            raise SettingsError(
                f"The collection {collection.name!r} was made with {option} {made_with}, not {value}.",
                f"Leave the option out, or change what is in with: {change}",
            )
