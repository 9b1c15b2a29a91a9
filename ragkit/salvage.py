"""Saving what can be read of a damaged database.

Everything readable is copied into a new database, table by table, around the places that SQLite cannot read. A document
of which anything is missing is left out: its file can be ingested again, half of it would answer wrongly. The whole
then takes the place of the damaged database through SQLite's backup, so whoever has it open goes on with it.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from ragkit import schema
from ragkit.collection import Collection
from ragkit.errors import CollectionError

_WORK = ".salvage"
_FAR = 1_000_000
"""Row numbers tried beyond the last one that could be read, where nothing says how many there are."""
_COMPLETE = (
    "SELECT d.name, d.pages = (SELECT count(*) FROM pages WHERE document = d.id)"
    " AND d.chunks = (SELECT count(*) FROM chunks WHERE document = d.id)"
    " AND d.chunks = (SELECT count(*) FROM chunks JOIN vectors ON chunk = id WHERE document = d.id) FROM documents d"
)


def salvage(collection: Collection) -> tuple[str, ...]:
    """Put what can be read in place of the damaged database; returns the names of the documents that are lost.

    A copy of the damaged files stays beside it. Documents whose very names cannot be read are not among those returned.
    Raises CollectionError when the settings or the embedder's fingerprint cannot be read: then only a backup helps.
    """
    work = collection.folder / _WORK
    shutil.rmtree(work, ignore_errors=True)
    try:
        saved = Collection.open(work, "saved", create=True)
        lost = _copy(collection.connection, saved)
        _keep_damaged(collection.path)
        saved.connection.backup(collection.connection)
        saved.close()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return lost


def _copy(source: sqlite3.Connection, saved: Collection) -> tuple[str, ...]:
    target = saved.connection
    target.execute("PRAGMA foreign_keys=OFF")  # rows come in any order, and not all of them
    target.execute("BEGIN")
    target.execute("DELETE FROM meta")
    for table, keyed in _tables(target):
        columns = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
        if table == "pages":
            found = _by_document(source, columns, target)
        else:
            found = (_by_key if keyed else _by_row)(source, table, columns)
        marks = ",".join("?" * len(columns))
        target.executemany(f"INSERT OR IGNORE INTO {table} ({','.join(columns)}) VALUES ({marks})", found)
    if not {"settings", "fingerprint"} <= {row[0] for row in target.execute("SELECT key FROM meta")}:
        raise CollectionError(
            "How the collection was embedded cannot be read any more.",
            "Restore it from a backup, or ingest its files into a new one.",
        )
    _count_on(source, target)
    lost = tuple(name for name, complete in target.execute(_COMPLETE).fetchall() if not complete)
    lost += tuple(name for name in _altered(saved) if name not in lost)
    target.executemany("DELETE FROM documents WHERE name = ?", [(name,) for name in lost])
    schema.remove_orphans(target)
    target.execute("INSERT INTO chunks_fts (chunks_fts) VALUES ('rebuild')")
    target.execute(schema.TOUCH)
    target.execute("COMMIT")
    return lost


def _tables(connection: sqlite3.Connection) -> list[tuple[str, bool]]:
    """Names of the tables of the house, and whether they are ordered by a key of their own instead of a row number."""
    rows = connection.execute("PRAGMA table_list").fetchall()
    own = [row for row in rows if row[0] == "main" and row[2] == "table" and not row[1].startswith("sqlite_")]
    return sorted(((row[1], bool(row[4])) for row in own), key=lambda each: each[0] != "documents")


def _by_row(source: sqlite3.Connection, table: str, columns: list[str]) -> Iterator[tuple]:
    """All rows that can be read, by number; after one that cannot the next number is tried."""
    query = f"SELECT rowid, {','.join(columns)} FROM {table} WHERE rowid > ? ORDER BY rowid"
    highest: int | None = None
    last = 0
    while highest is None or last < highest:
        try:
            for number, *row in source.execute(query, (last,)):
                last = number
                yield tuple(row)
            return
        except sqlite3.DatabaseError:
            highest = highest or _highest(source, table) or last + _FAR
            last += 1


def _highest(source: sqlite3.Connection, table: str) -> int | None:
    for query in (f"SELECT max(rowid) FROM {table}", f"SELECT seq FROM sqlite_sequence WHERE name = '{table}'"):
        try:
            return source.execute(query).fetchone()[0]
        except (sqlite3.DatabaseError, TypeError):
            continue
    return None


def _by_key(source: sqlite3.Connection, table: str, columns: list[str]) -> Iterator[tuple]:
    """The rows before the first place that cannot be read, and those after the last one."""
    info = source.execute(f"PRAGMA table_info({table})").fetchall()
    key = [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]]
    for way in ("ASC", "DESC"):
        order = ",".join(f"{name} {way}" for name in key)
        try:
            yield from source.execute(f"SELECT {','.join(columns)} FROM {table} ORDER BY {order}")
            return
        except sqlite3.DatabaseError:
            continue


def _by_document(source: sqlite3.Connection, columns: list[str], target: sqlite3.Connection) -> Iterator[tuple]:
    """The pages of those documents all of whose pages can be read."""
    query = f"SELECT {','.join(columns)} FROM pages WHERE document = ?"
    for document in target.execute("SELECT id FROM documents").fetchall():
        try:
            yield from source.execute(query, document).fetchall()
        except sqlite3.DatabaseError:
            continue


def _altered(saved: Collection) -> Iterator[str]:
    """Documents whose passages are not the text of their pages: SQLite does not notice every damage."""
    for document in saved.documents():
        pages = {page.number: page.text for page in saved.pages(document.id)}
        chunks = (chunk for _, chunk in saved.chunks(document.id))
        if any(pages.get(each.page, "")[each.start : each.end] != each.text for each in chunks):
            yield document.name


def _count_on(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Numbers go on where they were, so that none is given twice."""
    try:
        rows = source.execute("SELECT seq, name FROM sqlite_sequence").fetchall()
    except sqlite3.DatabaseError:
        return
    for number, name in rows:
        if not target.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (number, name)).rowcount:
            target.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, number))


def _keep_damaged(path: Path) -> None:
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    for part in (path, path.with_name(f"{path.name}-wal")):
        if part.is_file():
            shutil.copyfile(part, part.with_name(f"damaged-{now}-{part.name}"))
