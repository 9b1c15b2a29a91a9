"""What the commands share: their common options, options made from settings, and how results are written."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import signal
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console

from ragkit.home import default_home
from ragkit.settings import sentences

notes = Console(stderr=True, highlight=False)
"""Progress, remarks and errors; results go to standard output."""

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Folder of the collections: RAGKIT_HOME, else index_data."),
]
CollectionOption = Annotated[str, typer.Option("--collection", "-c", metavar="NAME", help="Collection to work on.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print results as JSON, one object a line.")]
DocumentsOption = Annotated[
    list[str] | None,
    typer.Option("--document", "-d", metavar="NAME", help="Search in this document only; may be repeated."),
]
COLLECTION = "sample"
"""The collection that commands take when none is named; the same as `Workbench.open`."""


def home_of(home: Path | None) -> Path:
    """The folder of collections that was asked for, absolute."""
    return (home or default_home()).expanduser().resolve()


def emit(value: object) -> None:
    """One JSON object on one line of standard output."""
    write(json.dumps(value, ensure_ascii=False) + "\n")


def write(text: str) -> None:
    """Text to standard output, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def results() -> Console:
    """A console on standard output for tables; wide enough not to fold them when it is a pipe."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=160)


Command = Callable[..., Any]


def settings_options(
    cls: type,
    parameter: str,
    panel: str,
    *,
    skip: tuple[str, ...] = (),
    short: dict[str, str] | None = None,
    unset: Mapping[str, str] | None = None,
) -> Callable[[Command], Command]:
    """Give a command one option for each field of a settings dataclass.

    The sentence under the field is the option's help. The command gets the fields that were named on the command line,
    and only those, as the dict `parameter`. `unset` says what a field's default stands for, where it is no value.
    """
    fields = [part for part in dataclasses.fields(cls) if part.name not in skip]
    types = typing.get_type_hints(cls)

    def option(part: dataclasses.Field[Any]) -> inspect.Parameter:
        name = part.name.replace("_", "-")
        switch = f"--{name}/--no-{name}" if part.default is True else f"--{name}"  # what is on can be turned off
        names = [switch, *([short[part.name]] if short and part.name in short else [])]
        default = (unset or {}).get(part.name, part.default)
        shown = f" [dim]\\[default: {default}][/]" if default not in ("", None) else ""
        info = typer.Option(*names, help=sentences(cls)[part.name] + shown, rich_help_panel=panel)
        kind = Annotated[types[part.name] | None, info]
        return inspect.Parameter(part.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def call(**values: Any) -> Any:  # noqa: ANN401
            named = {part.name: values.pop(part.name) for part in fields}
            return command(**values, **{parameter: {key: value for key, value in named.items() if value is not None}})

        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [
            each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own if each.name != parameter
        ] + [option(part) for part in fields]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {each.name: each.annotation for each in parameters}
        return call

    return decorate


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C asks politely: the function that is given returns True from then on; a second one stops
    at once.
    """
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        notes.print("\nStopping. Ctrl-C again stops at once.")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
