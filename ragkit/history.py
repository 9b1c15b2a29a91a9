"""Answers as they were given: kept in the collection's database with everything that led to them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from ragkit.collection import Collection
from ragkit.types import Answer, from_json, to_json

Kind = Literal["ask", "compare"]


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation (ask) or a comparison (compare)."""

    name: str
    kind: Kind
    created: str
    """UTC, ISO 8601: when its first answer was kept."""
    question: str
    """Its first question."""
    answers: int


class History:
    """Kept answers of a collection."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def keep(self, answer: Answer, thread: str, kind: Kind = "ask") -> Answer:
        """Store an answer in a thread; returns it with its id."""
        with self._collection.transaction() as connection:
            row = connection.execute(
                "INSERT INTO generations (kind, thread, created, question, variant, answer) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    kind,
                    thread,
                    datetime.now(UTC).isoformat(timespec="seconds"),
                    answer.question,
                    answer.variant.name,
                    json.dumps(to_json(answer), ensure_ascii=False),
                ),
            ).lastrowid
        return replace(answer, id=row)

    def threads(self, kind: Kind = "ask", limit: int = 50) -> list[Thread]:
        """Threads of a kind, latest first."""
        rows = self._collection.connection.execute(
            "SELECT thread, kind, min(created), count(*), min(id) FROM generations WHERE kind = ?"
            " GROUP BY thread ORDER BY max(id) DESC LIMIT ?",
            (kind, limit),
        ).fetchall()
        return [
            Thread(name, kind, created, self._question(first), answers) for name, kind, created, answers, first in rows
        ]

    def answers(self, thread: str) -> list[Answer]:
        """Answers of a thread in the order in which they were given."""
        rows = self._collection.connection.execute(
            "SELECT id, answer FROM generations WHERE thread = ? ORDER BY id", (thread,)
        )
        return [replace(from_json(Answer, json.loads(text)), id=row) for row, text in rows]

    def forget(self, thread: str) -> None:
        """Delete a thread."""
        self._collection.connection.execute("DELETE FROM generations WHERE thread = ?", (thread,))

    def _question(self, row: int) -> str:
        found = self._collection.connection.execute("SELECT question FROM generations WHERE id = ?", (row,))
        return found.fetchone()[0]
