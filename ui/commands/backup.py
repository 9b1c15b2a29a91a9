"""`ragkit backup` and `ragkit restore`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ragkit import backup as backups
from ragkit.types import to_json
from ui.console import HomeOption, JsonOption, emit, home_of, notes

Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="NAME", help="This collection and nothing else; may be repeated.")
]


def backup(
    file: Annotated[Path | None, typer.Argument(help="File to write; ragkit-DATE-TIME.zip here if not given.")] = None,
    only: Only = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write all collections, adapters and templates into one file. Everything may be in use meanwhile."""
    target = file or Path(f"ragkit-{datetime.now():%Y%m%d-%H%M%S}.zip")
    made = backups.back_up(home_of(home), target.expanduser().absolute(), only or ())
    if as_json:
        emit({"file": str(target), **to_json(made)})
        return
    held = [f"{len(each)} {what}" for what, each in _parts(made) if each]
    size = target.expanduser().stat().st_size
    notes.print(f"[bold]{escape(str(target))}[/]: {', '.join(held) or 'nothing yet'}; {size / 1e6:,.1f} MB.")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `ragkit backup` wrote.")],
    only: Only = None,
    name: Annotated[
        str, typer.Option("--as", metavar="NEW", help="Name for the collection, with one --only NAME.")
    ] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put collections, adapters and templates back. Nothing that is there is overwritten."""
    if name and len(only or ()) != 1:
        raise typer.BadParameter("--as renames one collection: name it with --only.")
    rename = {(only or [""])[0]: name} if name else None
    done = backups.restore(file.expanduser().absolute(), home_of(home), only or (), rename)
    if as_json:
        emit({"file": str(file), "restored": done})
    else:
        notes.print(f"Restored: {escape(', '.join(done)) or 'nothing, as all of it is there'}.")


def _parts(made: backups.Backup) -> list[tuple[str, tuple[str, ...]]]:
    return [
        ("collection" if len(made.collections) == 1 else "collections", made.collections),
        ("adapter" if len(made.adapters) == 1 else "adapters", made.adapters),
        ("template" if len(made.templates) == 1 else "templates", made.templates),
    ]
