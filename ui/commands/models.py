"""`ragkit models`."""

from __future__ import annotations

import typer
from rich.markup import escape

from ragkit.models import listing
from ragkit.types import to_json
from ui.console import JsonOption, emit, notes, results

MORE = "Any folder or hub id of a safetensors model works too, and any GGUF file for answers."
COLOURS = {"right": "green", "altered": "red", "missing": "red"}


def models(as_json: JsonOption = False) -> None:
    """Read every byte of the built-in models and compare. Exit 1 when one is missing or altered."""
    found = listing(recheck=True)
    for model in found:
        if as_json:
            emit(to_json(model))
            continue
        results().print(
            f"[bold]{escape(model.name)}[/]  [{COLOURS[model.state]}]{model.state}[/]  {escape(model.summary)}"
            f"  [dim]{model.bytes / 1e6:,.0f} MB, {model.licence}, {escape(model.source)}, {model.sha256[:16]}[/]",
            soft_wrap=True,
        )
        if model.hint:
            notes.print(f"  {escape(model.hint)}")
    if not as_json:
        notes.print(f"[dim]{MORE}[/]", soft_wrap=True)
    if any(model.state != "right" for model in found):
        raise typer.Exit(1)
