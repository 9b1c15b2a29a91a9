"""`ragkit adapters`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from ragkit import adapters as library
from ragkit.adapters import Adapter
from ui.console import HomeOption, JsonOption, emit, home_of, notes, results

Action = Literal["list", "show", "rename", "export", "import", "remove"]
_NEEDS = {"list": 0, "show": 1, "rename": 2, "export": 1, "import": 1, "remove": 1}
_MISSING = {
    "show": "NAME",
    "rename": "OLD NEW",
    "export": "NAME, and a FILE if it shall not be NAME.zip here",
    "import": "FILE|FOLDER, and a NAME if it shall not be that of the file",
    "remove": "NAME",
}


def adapters(
    action: Annotated[
        Action,
        typer.Argument(
            help="list them; show one with its card; rename OLD NEW; export NAME [FILE]; import FILE|FOLDER [NAME], "
            "made by peft elsewhere or exported here; remove NAME.",
        ),
    ] = "list",
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME|FILE]...", help="What it is done to.")] = None,
    base: Annotated[
        str,
        typer.Option("--base", metavar="MODEL", help="Import: the model it was trained on, if it does not say so."),
    ] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """The library of adapters: small trained files that change how a model answers. All collections share it."""
    named, place = names or [], home_of(home)
    most = _NEEDS[action] + (action in ("export", "import"))
    if not _NEEDS[action] <= len(named) <= most:
        raise typer.BadParameter(f"ragkit adapters {action} takes {_MISSING.get(action, 'no names')}.")
    if action == "list":
        _list(place, as_json)
    elif action == "show":
        _show(library.find(named[0], place), as_json)
    elif action == "rename":
        library.rename(place, *named)
        _say(as_json, f"{named[0]} is now called {named[1]}.", old=named[0], name=named[1])
    elif action == "export":
        written = library.export(place, named[0], Path(named[1] if len(named) > 1 else "."))
        _say(as_json, f"{named[0]} is written to {written}.", name=named[0], file=str(written))
    elif action == "import":
        source = Path(named[0]).expanduser()
        name = named[1] if len(named) > 1 else source.resolve().name.removesuffix(".zip")
        taken = library.import_adapter(place, source, name, base)
        _say(as_json, f"{taken.name} is in the library, for {taken.base}.", **record(taken))
    else:
        library.remove(place, named[0])
        _say(as_json, f"{named[0]} is removed.", name=named[0])


def record(adapter: Adapter) -> dict[str, Any]:
    """An adapter as JSON."""
    parts = ("name", "task", "method", "base", "base_sha256", "template", "created", "bytes", "source", "sha256")
    return {
        **{part: getattr(adapter, part) for part in parts},
        "bundled": adapter.bundled,
        "folder": str(adapter.folder),
        "metrics": adapter.card.get("metrics", {}),
    }


def _list(home: Path, as_json: bool) -> None:
    found = library.listing(home)
    table = Table("name", "task", "method", "base", "template", "size", "made", "", box=None, pad_edge=False)
    for adapter in found:
        if as_json:
            emit(record(adapter))
        words = (adapter.name, adapter.task, adapter.method, adapter.base, adapter.template)
        size = f"{adapter.bytes / 1e6:,.1f} MB"
        table.add_row(*map(escape, words), size, escape(adapter.created[:10]), escape(adapter.source))
    if found and not as_json:
        results().print(table)
    if not found:
        notes.print("There is no adapter yet. Train one with `ragkit tune`, or import one.")
    for name, reason in library.damaged(home).items():
        notes.print(f"[yellow]{escape(name)}[/] is not listed: {escape(reason)}", soft_wrap=True)


def _show(adapter: Adapter, as_json: bool) -> None:
    if as_json:
        emit({**record(adapter), "card": dict(adapter.card)})
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, value in {**record(adapter), **adapter.card}.items():
        rows = value.items() if isinstance(value, dict) else [("", value)]
        for inner, each in rows:
            if each not in ("", None, {}, []):
                table.add_row(f"[dim]{escape(f'{key} {inner}'.strip())}[/]", escape(str(each)))
    results().print(table)


def _say(as_json: bool, sentence: str, **values: Any) -> None:  # noqa: ANN401
    if as_json:
        emit(values)
    else:
        notes.print(escape(sentence), soft_wrap=True)
