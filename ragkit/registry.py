"""Registries: a visible table of rows for each kind of part, resolved only when a part is asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ragkit.errors import MissingExtra, UnknownPart


@dataclass(frozen=True, slots=True)
class Row:
    """One part: what it is called, where it lives, what it is for, what it needs."""

    name: str
    target: str
    """`module:Class`."""
    summary: str
    extra: str = ""
    """The optional dependency group that brings `needs`; empty for the base install."""
    needs: tuple[str, ...] = ()
    """Third-party modules that the part imports."""


class Registry:
    """All parts of one kind, in the order in which menus show them."""

    def __init__(self, kind: str, *rows: Row) -> None:
        self.kind = kind
        self._rows: dict[str, Row] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Plug in another part, also at run time."""
        self._rows[row.name] = row

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    @property
    def names(self) -> list[str]:
        """Names in menu order."""
        return list(self._rows)

    def row(self, name: str) -> Row:
        """The row of that name. Raises UnknownPart with the nearest name."""
        if name not in self._rows:
            near = difflib.get_close_matches(name, self._rows, n=1)
            guess = f"Did you mean {near[0]!r}? " if near else ""
            known = ", ".join(self._rows)
            raise UnknownPart(f"There is no {self.kind} called {name!r}.", f"{guess}There are: {known}.")
        return self._rows[name]

    def load(self, name: str) -> Any:  # noqa: ANN401 - the class of the row, which fulfils the kind's protocol
        """The class behind a name; its module is imported now. Raises MissingExtra if a needed module is absent."""
        row = self.row(name)
        module, _, attribute = row.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] not in row.needs:
                raise  # a fault of ours, not a missing dependency
            group = f"ragkit[{row.extra}]" if row.extra else error.name
            raise MissingExtra(
                f"The {self.kind} {name!r} needs the module {error.name!r}, which is not installed.",
                f"Install it with: pip install '{group}'",
            ) from error
