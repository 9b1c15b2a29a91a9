"""`ragkit distill`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ragkit.embed import distill as distillation
from ragkit.errors import SettingsError
from ui.console import JsonOption, emit, notes


def distill(
    model: Annotated[str, typer.Argument(help="A sentence-transformers model: built-in name, folder or hub id.")],
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="New folder for the static model.")],
    dimension: Annotated[int, typer.Option(help="Of the vectors; fewer are smaller and less exact.")] = (
        distillation.DIMENSION
    ),
    as_json: JsonOption = False,
) -> None:
    """Write a table of token vectors; half a minute for MiniLM. Any sentence-transformers tool loads the folder."""
    if to.exists():
        raise SettingsError(f"{to} is there already.", "Name a new folder.")
    unfinished = to.with_name(f".{to.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        distillation.distill(model, unfinished, dimension)
        unfinished.rename(to)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    if as_json:
        emit({"folder": str(to), "dimension": dimension})
    notes.print(f"{escape(str(to))} is ready. Use it with: ragkit ingest FILES --embedder-model {escape(str(to))}")
