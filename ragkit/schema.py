"""The database of a collection: its tables, its format version, and how a connection is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ragkit.errors import CollectionError
from ragkit.jobs import JOBS_SCHEMA
from ragkit.promotions import PROMOTIONS_SCHEMA
from ragkit.runs import RUNS_SCHEMA
from ragkit.sets import SETS_SCHEMA
from ragkit.votes import VOTES_SCHEMA

FORMAT = 2
"""Format version, kept in `PRAGMA user_version`; a newer one is refused, an older one migrated.

1: documents, then the comparison lab, whose tables came without a new number: a database of format 1 may lack them.
2: promotions of adapters.
"""

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS documents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    sha256 TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    pages INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    added TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS pages (
    document INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    label TEXT NOT NULL,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (document, number)
) WITHOUT ROWID;

-- Chunk ids are never used twice (AUTOINCREMENT), so an index file that lags can be compared by ids alone.
CREATE TABLE IF NOT EXISTS chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
    page INTEGER NOT NULL,
    start INTEGER NOT NULL,
    stop INTEGER NOT NULL,
    text TEXT NOT NULL,
    context TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS chunks_by_document ON chunks(document, page, start);

-- Vectors apart from the text: listing chunks then does not read them.
CREATE TABLE IF NOT EXISTS vectors (
    chunk INTEGER PRIMARY KEY REFERENCES chunks(id) ON DELETE CASCADE, vector BLOB NOT NULL
);

CREATE VIRTUAL TABLE IF NOT EXISTS chunks_fts USING fts5(
    text, context, content='chunks', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2'
);

-- Answers as they were given, with everything that led to them.
CREATE TABLE IF NOT EXISTS generations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    thread TEXT NOT NULL,
    created TEXT NOT NULL,
    question TEXT NOT NULL,
    variant TEXT NOT NULL,
    answer TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS generations_by_thread ON generations(kind, thread, id);

CREATE TABLE IF NOT EXISTS demonstrations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    question TEXT NOT NULL,
    answer TEXT NOT NULL,
    passage TEXT NOT NULL,
    UNIQUE (question, answer)
);
"""

_STAGING = """
PRAGMA temp.journal_mode=MEMORY; -- a file for each of the many small steps takes longer than the steps
CREATE TEMP TABLE staged_documents (
    token INTEGER PRIMARY KEY, name TEXT, sha256 TEXT, kind TEXT, title TEXT, bytes INTEGER, original TEXT
);
CREATE TEMP TABLE staged_pages (token INTEGER, number INTEGER, label TEXT, title TEXT, text TEXT);
CREATE TEMP TABLE staged_chunks (
    id INTEGER PRIMARY KEY, token INTEGER, page INTEGER, start INTEGER, stop INTEGER,
    text TEXT, context TEXT, vector BLOB
);
CREATE INDEX temp.staged_pages_by_token ON staged_pages(token);
CREATE INDEX temp.staged_chunks_by_token ON staged_chunks(token);
"""


TOUCH = "INSERT INTO meta VALUES ('sequence', '1') ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
"""Counts a change of the documents; runs inside the transaction that makes it."""


_FORGET_WORDS = (
    "INSERT INTO chunks_fts (chunks_fts, rowid, text, context)"
    " SELECT 'delete', id, text, context FROM chunks WHERE document = ?"
)


def delete_document(connection: sqlite3.Connection, document: int) -> None:
    """Delete a document with its pages, chunks, vectors and words, inside the caller's transaction.

    The full-text index is kept in step here and in `Writer`, not by triggers: triggers that write to virtual tables
    would need `trusted_schema`, which a database from elsewhere must not have.
    """
    connection.execute(_FORGET_WORDS, (document,))
    connection.execute("DELETE FROM documents WHERE id = ?", (document,))


_ORPHANS = (
    "DELETE FROM pages WHERE document NOT IN (SELECT id FROM documents)",
    "DELETE FROM chunks WHERE document NOT IN (SELECT id FROM documents)",
    "DELETE FROM vectors WHERE chunk NOT IN (SELECT id FROM chunks)",
)


def remove_orphans(connection: sqlite3.Connection) -> None:
    """Delete pages, chunks and vectors that belong to nothing, inside the caller's transaction."""
    for statement in _ORPHANS:
        connection.execute(statement)


def connect(path: Path) -> sqlite3.Connection:
    """A connection with the house's settings: WAL, full synchronisation, foreign keys, a minute's patience.

    `isolation_level=None`: transactions begin and end where the code says so.
    """
    connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA temp_store=FILE")
    connection.execute("PRAGMA trusted_schema=OFF")
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create or check the tables. Raises CollectionError for a file that is damaged, foreign or of a newer format."""
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > FORMAT:
            raise CollectionError(
                f"{path} was written by a newer ragkit (format {version}, this one reads {FORMAT}).",
                "Update ragkit to open it; nothing was changed.",
            )
        if version < FORMAT:
            _migrate(connection)
    except sqlite3.DatabaseError as error:
        raise CollectionError(
            f"{path} is not a readable ragkit database ({error}).",
            "Restore it from a backup, or move the folder away and ingest the documents again.",
        ) from error


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring a new database or one of an older format up to this one, in one transaction: all of it or nothing.

    Up to format 2 nothing but tables were added, so creating those that are missing is the whole of it. A process that
    waited for another one's migration finds everything there and changes nothing.
    """
    tables = _TABLES + JOBS_SCHEMA + SETS_SCHEMA + RUNS_SCHEMA + VOTES_SCHEMA + PROMOTIONS_SCHEMA
    try:
        connection.executescript(f"BEGIN IMMEDIATE;{tables}PRAGMA user_version={FORMAT};COMMIT;")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def prepare_staging(connection: sqlite3.Connection) -> None:
    """Temporary tables in which documents wait until they are published; they live in a file of their own."""
    connection.executescript(_STAGING)
