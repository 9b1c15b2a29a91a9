"""Background jobs and their progress, in the collection's database: a reload, a second window or a crash finds them.

This module knows how jobs are kept, not what they do; `ingest/worker.py` does them. A table of our own and not a queue
library: those (huey, RQ, Celery) keep pickled tasks in a store of theirs, which no transaction and no backup of the
collection would hold, and know nothing of the files within a job.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from ragkit.errors import CollectionError

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
FINISHED: tuple[JobState, ...] = ("done", "failed", "cancelled")

FileState = Literal["waiting", "reading", "added", "unchanged", "replaced", "refused"]
"""`waiting` and `reading` pass; the others are results."""

ATTEMPTS = 3
"""A job whose worker is killed as often as this (by the system, for memory) would be killed again."""

JOBS_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    args TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    cancel INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    progress TEXT NOT NULL DEFAULT '{}',
    created TEXT NOT NULL,
    started TEXT,
    finished TEXT
);

CREATE TABLE IF NOT EXISTS job_files (
    job INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    file TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    pages INTEGER NOT NULL DEFAULT 0,
    chunks INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job, position)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS job_files_by_name ON job_files(job, file);
"""

_COLUMNS = "id, kind, args, state, reason, cancel, progress, created, started, finished"


class HoldsJobs(Protocol):
    """What this module needs of a collection."""

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        ...

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """A write transaction: all or nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, over all its files."""

    files: int = 0
    """Files with a result."""
    total: int = 0
    """Files of the job."""
    pages: int = 0
    """Pages read in this run."""
    chunks: int = 0
    """Passages embedded in this run."""
    seconds: float = 0.0
    """Since this run began."""
    rate: float = 0.0
    """Passages embedded a second, over the last half minute."""
    share: float = 0.0
    """Part of the work that is done, 0 to 1, by bytes of the files."""
    left: float | None = None
    """Seconds until the end, by the present rate; None while nothing can be said."""
    doing: str = ""
    """Stage of a job that has several, such as a training: preparing, sweep, training, checking."""


@dataclass(frozen=True, slots=True)
class JobFile:
    """One file of a job."""

    file: str
    """The document's name."""
    state: FileState
    reason: str = ""
    pages: int = 0
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """A piece of work and where it stands."""

    id: int
    kind: str
    args: Mapping[str, Any]
    state: JobState
    reason: str
    """Why it failed."""
    cancel: bool
    """Somebody asked it to stop."""
    progress: Progress
    created: str
    started: str | None
    finished: str | None
    """UTC, ISO 8601."""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in FINISHED


class Jobs:
    """The jobs of one collection."""

    def __init__(self, collection: HoldsJobs) -> None:
        self._collection = collection

    def submit(self, kind: str, args: Mapping[str, Any], files: Iterable[str] = ()) -> int:
        """Queue a job; `files` are names that are known already, so that they show as waiting. Returns its id."""
        with self._collection.transaction() as connection:
            job = connection.execute(
                "INSERT INTO jobs (kind, args, state, created) VALUES (?, ?, 'queued', ?)",
                (kind, json.dumps(dict(args), ensure_ascii=False), _now()),
            ).lastrowid
            assert job is not None
            _insert_files(connection, job, files)
        return job

    def list(self, limit: int = 50) -> list[Job]:
        """Jobs, newest first."""
        rows = self._collection.connection.execute(f"SELECT {_COLUMNS} FROM jobs ORDER BY id DESC LIMIT ?", (limit,))
        return [_job(row) for row in rows]

    def get(self, job: int) -> Job:
        """One job. Raises CollectionError if there is none of that id."""
        row = self._collection.connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job,)).fetchone()
        if row is None:
            raise CollectionError(f"There is no job {job}.", "It may have been cleared from the list.")
        return _job(row)

    def files(self, job: int) -> list[JobFile]:
        """Files of a job, in its order."""
        rows = self._collection.connection.execute(
            "SELECT file, state, reason, pages, chunks FROM job_files WHERE job = ? ORDER BY position", (job,)
        )
        return [JobFile(*row) for row in rows]

    def pending(self) -> int:
        """Jobs that are queued or running."""
        query = "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')"
        return self._collection.connection.execute(query).fetchone()[0]

    def cancel(self, job: int) -> None:
        """Ask a job to stop; one that waits is over at once, one that runs within about two seconds."""
        with self._collection.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = 'cancelled', cancel = 1, finished = ? WHERE id = ? AND state = 'queued'",
                (_now(), job),
            )
            connection.execute("UPDATE jobs SET cancel = 1 WHERE id = ? AND state = 'running'", (job,))

    def clear(self) -> int:
        """Forget the jobs that are over; returns how many."""
        with self._collection.transaction() as connection:
            marks = ",".join("?" * len(FINISHED))
            return connection.execute(f"DELETE FROM jobs WHERE state IN ({marks})", FINISHED).rowcount

    # For the worker

    def take(self) -> Job | None:
        """The next job, now running; one that another worker left behind comes first. Call with the lock held.

        A job that ended its worker ATTEMPTS times is given up.
        """
        with self._collection.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = 'failed', finished = ?, reason = ? WHERE state = 'running' AND attempts >= ?",
                (_now(), f"The worker ended {ATTEMPTS} times in the middle of this job.", ATTEMPTS),
            )
            row = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs WHERE state IN ('running', 'queued') ORDER BY state DESC, id LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            connection.execute(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, started = coalesce(started, ?)"
                " WHERE id = ?",
                (_now(), row[0]),
            )
        return self.get(row[0])

    def waiting(self) -> list[Job]:
        """Jobs that are queued or running, oldest first."""
        rows = self._collection.connection.execute(
            f"SELECT {_COLUMNS} FROM jobs WHERE state IN ('queued', 'running') ORDER BY id"
        )
        return [_job(row) for row in rows]

    def asked_to_stop(self, job: int) -> bool:
        """Whether the job should stop: it was cancelled or cleared away."""
        row = self._collection.connection.execute("SELECT cancel FROM jobs WHERE id = ?", (job,)).fetchone()
        return row is None or bool(row[0])

    def set_files(self, job: int, files: Iterable[str]) -> None:
        """Say which files the job has; results that are there already stay."""
        with self._collection.transaction() as connection:
            kept = {
                row[0]: row[1:]
                for row in connection.execute(
                    "SELECT file, state, reason, pages, chunks FROM job_files WHERE job = ?", (job,)
                )
            }
            connection.execute("DELETE FROM job_files WHERE job = ?", (job,))
            _insert_files(connection, job, files)
            connection.executemany(
                "UPDATE job_files SET state = ?, reason = ?, pages = ?, chunks = ? WHERE job = ? AND file = ?",
                [(*values, job, file) for file, values in kept.items()],
            )

    def update(self, job: int, progress: Progress, files: Iterable[JobFile] = ()) -> None:
        """Record progress and the files that changed, in one transaction."""
        with self._collection.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET progress = ? WHERE id = ?", (json.dumps(dataclasses.asdict(progress)), job)
            )
            connection.executemany(
                "UPDATE job_files SET state = ?, reason = ?, pages = ?, chunks = ? WHERE job = ? AND file = ?",
                [(item.state, item.reason, item.pages, item.chunks, job, item.file) for item in files],
            )

    def finish(self, job: int, state: JobState, reason: str = "") -> None:
        """Say how the job ended."""
        with self._collection.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, reason = ?, finished = ? WHERE id = ?", (state, reason, _now(), job)
            )


def _insert_files(connection: sqlite3.Connection, job: int, files: Iterable[str]) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO job_files (job, position, file, state) VALUES (?, ?, ?, 'waiting')",
        [(job, position, file) for position, file in enumerate(files)],
    )


def _job(row: tuple[Any, ...]) -> Job:
    number, kind, args, state, reason, cancel, progress, *times = row
    return Job(number, kind, json.loads(args), state, reason, bool(cancel), Progress(**json.loads(progress)), *times)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
