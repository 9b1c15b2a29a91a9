"""Evaluation runs, their answers, and the cache of everything that was ever generated or retrieved for one."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from ragkit.errors import RagkitError
from ragkit.settings import RetrieveSettings
from ragkit.types import Answer, Variant, from_json, to_json

RunState = Literal["waiting", "running", "done", "stopped"]
"""A run that was killed stays `running` (or `waiting`) and is taken up again; one that was asked to stop too."""
RunKind = Literal["evaluate", "search"]
OutcomeKind = Literal["generation", "evidence", "reading"]
Column = Literal["none", "retrieved", "gold"]
"""What the model reads with the question: nothing, the passages found, or the passage that holds the answer."""
COLUMNS: tuple[Column, ...] = ("none", "retrieved", "gold")

RUNS_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    identity TEXT NOT NULL,
    name TEXT NOT NULL,
    questions TEXT NOT NULL,
    plan TEXT NOT NULL,
    report BLOB,
    created TEXT NOT NULL,
    finished TEXT
);
CREATE INDEX IF NOT EXISTS runs_by_identity ON runs(identity);

CREATE TABLE IF NOT EXISTS run_answers (
    run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    question TEXT NOT NULL,
    variant INTEGER NOT NULL,
    context TEXT NOT NULL,
    repeat INTEGER NOT NULL,
    answer BLOB NOT NULL,
    PRIMARY KEY (run, question, variant, context, repeat)
);

-- What was generated or retrieved, by the hash of everything that decides it.
CREATE TABLE IF NOT EXISTS outcomes (
    key TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    created TEXT NOT NULL,
    value BLOB NOT NULL
);
"""

_COLUMNS = "id, kind, state, name, questions, plan, created, finished"


class RunError(RagkitError):
    """A run that is missing or has no report yet, or a plan that cannot be carried out."""


class HoldsRuns(Protocol):
    """What this module needs of a collection."""

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        ...

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """A write transaction: all or nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does: the settings of `ragkit evaluate`."""

    variants: tuple[Variant, ...]
    """Ways of answering, side by side."""
    retrieve: RetrieveSettings = field(default_factory=RetrieveSettings)
    """How passages are found, the same for all variants."""
    documents: tuple[str, ...] | None = None
    """Names of the documents to look in; all if None."""
    columns: tuple[Column, ...] = ("retrieved",)
    """What the model reads with each question."""
    metrics: tuple[str, ...] = ()
    """Metrics that decide: compared between variants and shown first; all others are measured too."""
    baseline: int = 0
    """Place of the variant that the others are compared with."""
    margin: float = 0.02
    """Differences up to this size are no difference."""
    repeats: int = 1
    """Answers a question, where the decoding samples; the scores of a question are their mean."""
    together: bool = False
    """Whether a model writes several answers at once: faster, with wordings that may differ from those of single
    answers (`ragkit.answering.Answering.answers`)."""


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation."""

    id: int
    kind: RunKind
    state: RunState
    name: str
    """The set it was made on."""
    questions: str
    """Hash of the set's content."""
    plan: dict[str, Any]
    """What it was asked to do: for the kind `evaluate` a Plan, which `plan_of` reads."""
    created: str
    finished: str | None
    """UTC, ISO 8601."""

    @property
    def plan_of(self) -> Plan:
        """The plan of an evaluation."""
        return from_json(Plan, self.plan)


class Runs:
    """The runs of one collection and the cache of outcomes."""

    def __init__(self, collection: HoldsRuns) -> None:
        self._collection = collection

    def create(self, kind: RunKind, name: str, questions: str, plan: dict[str, Any], identity: str) -> Run:
        """A new run; or the one of this identity that was begun and never finished."""
        with self._collection.transaction() as connection:
            row = connection.execute(
                "SELECT id FROM runs WHERE identity = ? AND state != 'done' ORDER BY id DESC", (identity,)
            ).fetchone()
            number = row[0] if row else None
            if number is None:
                number = connection.execute(
                    "INSERT INTO runs (kind, state, identity, name, questions, plan, created)"
                    " VALUES (?, 'waiting', ?, ?, ?, ?, ?)",
                    (kind, identity, name, questions, json.dumps(plan, ensure_ascii=False), _now()),
                ).lastrowid
        assert number is not None
        return self.get(number)

    def list(self, limit: int = 100) -> list[Run]:
        """Runs, newest first."""
        rows = self._collection.connection.execute(f"SELECT {_COLUMNS} FROM runs ORDER BY id DESC LIMIT ?", (limit,))
        return [_run(row) for row in rows]

    def get(self, run: int) -> Run:
        """One run. Raises RunError if there is none of that id."""
        row = self._collection.connection.execute(f"SELECT {_COLUMNS} FROM runs WHERE id = ?", (run,)).fetchone()
        if row is None:
            raise RunError(f"There is no evaluation run {run}.", "It may have been removed.")
        return _run(row)

    def report(self, run: int) -> dict[str, Any]:
        """The report as it was kept. Raises RunError if the run has none yet."""
        row = self._collection.connection.execute("SELECT report FROM runs WHERE id = ?", (run,)).fetchone()
        if row is None or row[0] is None:
            state = self.get(run).state
            raise RunError(f"Run {run} has no report: it is {state}.", "Start the same evaluation again to finish it.")
        return _read(row[0])

    def set_state(self, run: int, state: RunState) -> None:
        """Say where the run stands."""
        self._collection.connection.execute("UPDATE runs SET state = ? WHERE id = ?", (state, run))

    def finish(self, run: int, report: object) -> None:
        """Keep the report; the run is done."""
        self._collection.connection.execute(
            "UPDATE runs SET state = 'done', report = ?, finished = ? WHERE id = ?", (_packed(report), _now(), run)
        )

    def remove(self, run: int) -> None:
        """Forget a run and its answers; the cache keeps what was generated."""
        self.get(run)
        self._collection.connection.execute("DELETE FROM runs WHERE id = ?", (run,))

    # Answers

    def keep_answers(self, run: int, answers: Sequence[tuple[str, int, Column, int, Answer]]) -> None:
        """Keep answers of a run as (question id, place of the variant, column, repeat, answer), in one transaction."""
        with self._collection.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO run_answers VALUES (?, ?, ?, ?, ?, ?)",
                [(run, *place, _packed(answer)) for *place, answer in answers],
            )

    def answer(self, run: int, question: str, variant: int, column: Column, repeat: int = 0) -> Answer:
        """One answer of a run with its prompt, passages and citations. Raises RunError if there is none."""
        row = self._collection.connection.execute(
            "SELECT answer FROM run_answers WHERE run = ? AND question = ? AND variant = ? AND context = ?"
            " AND repeat = ?",
            (run, question, variant, column, repeat),
        ).fetchone()
        if row is None:
            raise RunError(f"Run {run} has no answer of variant {variant + 1} to question {question!r}.")
        return from_json(Answer, _read(row[0]))

    # The cache

    def outcome(self, key: str) -> Any | None:  # noqa: ANN401 - JSON as it was kept
        """What was kept under a key, as plain JSON; None if nothing was."""
        row = self._collection.connection.execute("SELECT value FROM outcomes WHERE key = ?", (key,)).fetchone()
        return _read(row[0]) if row else None

    def keep_outcome(self, key: str, kind: OutcomeKind, value: object) -> None:
        """Keep a value of `ragkit.types` under the hash of everything that decides it."""
        self._collection.connection.execute(
            "INSERT OR IGNORE INTO outcomes VALUES (?, ?, ?, ?)", (key, kind, _now(), _packed(value))
        )

    def outcomes(self, kind: OutcomeKind) -> int:
        """How many outcomes of a kind are kept."""
        return self._collection.connection.execute("SELECT count(*) FROM outcomes WHERE kind = ?", (kind,)).fetchone()[
            0
        ]

    def forget_outcomes(self) -> int:
        """Empty the cache; returns how many outcomes were kept."""
        return self._collection.connection.execute("DELETE FROM outcomes").rowcount


def _packed(value: object) -> bytes:
    return zlib.compress(json.dumps(to_json(value), ensure_ascii=False, separators=(",", ":")).encode())


def _read(blob: bytes) -> Any:  # noqa: ANN401 - JSON
    return json.loads(zlib.decompress(blob))


def _run(row: tuple[Any, ...]) -> Run:
    number, kind, state, name, questions, plan, *times = row
    return Run(number, kind, state, name, questions, json.loads(plan), *times)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
