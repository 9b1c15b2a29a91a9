"""Adapters that became the default of a collection: each with the measurement that let it, newest on top.

They lie on a stack: what was promoted last is the default, and rolling it back uncovers what was the default before.
A row holds the hash of the adapter's weights, so that another adapter under the same name inherits nothing.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

Task = Literal["generate", "extract"]
State = Literal["promoted", "rolled back"]

PROMOTIONS_SCHEMA = """
-- Adapters that became the default. No reference to `runs`: the row holds the gate's table, and outlives the run.
CREATE TABLE IF NOT EXISTS promotions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task TEXT NOT NULL,
    adapter TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    base TEXT NOT NULL,
    template TEXT NOT NULL,
    run INTEGER,
    gate TEXT NOT NULL,
    state TEXT NOT NULL,
    created TEXT NOT NULL,
    rolled_back TEXT
);
"""

_COLUMNS = "id, task, adapter, sha256, base, template, run, gate, state, created, rolled_back"


class HoldsPromotions(Protocol):
    """What this module needs of a collection."""

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        ...

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """A write transaction: all or nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Promotion:
    """An adapter that became the default."""

    id: int
    task: Task
    adapter: str
    """Its name."""
    sha256: str
    """Hash of its weights when it was measured."""
    base: str
    """The model that it is the default of."""
    template: str
    """The template that it was tuned and measured through; empty for a reader, which reads no template."""
    run: int | None
    """The evaluation that let it through."""
    gate: dict[str, Any]
    """What was measured, as plain JSON."""
    state: State
    created: str
    rolled_back: str | None
    """UTC, ISO 8601."""


class Promotions:
    """The promotions of one collection."""

    def __init__(self, collection: HoldsPromotions) -> None:
        self._collection = collection

    def add(
        self, task: Task, adapter: str, sha256: str, base: str, template: str, run: int | None, gate: dict[str, Any]
    ) -> Promotion:
        """Make an adapter the default. Whether it may be is for `ragkit.promotion` to say, which calls this."""
        values = (task, adapter, sha256, base, template, run, json.dumps(gate, ensure_ascii=False), _now())
        with self._collection.transaction() as connection:
            number = connection.execute(
                "INSERT INTO promotions (task, adapter, sha256, base, template, run, gate, state, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 'promoted', ?)",
                values,
            ).lastrowid
        return next(each for each in self.history() if each.id == number)

    def standing(self, task: Task, base: str | None = None) -> list[Promotion]:
        """What is promoted and not rolled back, newest first; for one base, or for any."""
        return self._find("task = ?1 AND state = 'promoted' AND (?2 IS NULL OR base = ?2)", task, base)

    def current(self, task: Task, base: str | None = None) -> Promotion | None:
        """The promotion that stands on top; None if nothing is promoted.

        Args:
            task: generate, or extract for readers.
            base: the model. A reader is the default whatever its base, so it is asked for without one.
        """
        return next(iter(self.standing(task, base)), None)

    def history(self) -> list[Promotion]:
        """All promotions, newest first, those that were rolled back too."""
        return self._find("1")

    def roll_back(self, task: Task, base: str | None = None) -> Promotion | None:
        """Take the newest standing promotion back; returns it, or None if nothing is promoted."""
        with self._collection.transaction() as connection:
            top = self.current(task, base)
            if top is None:
                return None
            connection.execute(
                "UPDATE promotions SET state = 'rolled back', rolled_back = ? WHERE id = ?", (_now(), top.id)
            )
        return next(each for each in self.history() if each.id == top.id)

    def _find(self, where: str, *values: object) -> list[Promotion]:
        rows = self._collection.connection.execute(
            f"SELECT {_COLUMNS} FROM promotions WHERE {where} ORDER BY id DESC", values
        )
        return [Promotion(*row[:7], json.loads(row[7]), *row[8:]) for row in rows]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
