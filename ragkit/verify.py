"""Checks a collection: the database against itself, and the projection against the database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import numpy as np

from ragkit import schema
from ragkit.collection import Collection
from ragkit.projection import Projection
from ragkit.salvage import salvage
from ragkit.types import Chunk, Problem
from ragkit.word_index import WordIndex

_ROUNDING = 0.01
"""Vectors have length 1; a longer or shorter one was altered on the disk, which SQLite does not notice."""
_BLOCK = 4_096

_ORPHANS = {
    "pages without a document": "SELECT count(*) FROM pages WHERE document NOT IN (SELECT id FROM documents)",
    "passages without a document": "SELECT count(*) FROM chunks WHERE document NOT IN (SELECT id FROM documents)",
    "vectors without a passage": "SELECT count(*) FROM vectors WHERE chunk NOT IN (SELECT id FROM chunks)",
}
_DAMAGE = {
    "passages without a vector": "SELECT count(*) FROM chunks WHERE id NOT IN (SELECT chunk FROM vectors)",
    "documents whose page count is off": (
        "SELECT count(*) FROM documents d WHERE pages <> (SELECT count(*) FROM pages WHERE document = d.id)"
    ),
    "documents whose passage count is off": (
        "SELECT count(*) FROM documents d WHERE chunks <> (SELECT count(*) FROM chunks WHERE document = d.id)"
    ),
    "passages that stand twice": (
        "SELECT count(*) - count(DISTINCT document || ' ' || page || ' ' || start || ' ' || stop) FROM chunks"
    ),
}


def check(collection: Collection) -> Iterator[Problem]:
    """Everything that is wrong with a collection, one by one; nothing if it is sound.

    Of a database that SQLite cannot read everywhere only that is said: what else is missing follows from it.
    """
    damaged = list(_check_database(collection))
    yield from damaged or _check_contents(collection)


def _check_database(collection: Collection) -> Iterator[Problem]:
    try:
        for (found,) in collection.connection.execute("PRAGMA integrity_check").fetchall():
            if found != "ok":
                what = found.removeprefix("*** in database main ***").strip()
                yield Problem(f"SQLite reports: {what}", "database", repairable=True)
    except sqlite3.DatabaseError as error:
        yield Problem(f"SQLite reports: {error}", "database", repairable=True)


def _check_contents(collection: Collection) -> Iterator[Problem]:
    connection = collection.connection
    for what, query in _ORPHANS.items():
        if count := connection.execute(query).fetchone()[0]:
            yield Problem(f"{count} {what}", "database", repairable=True)
    for what, query in _DAMAGE.items():
        if count := connection.execute(query).fetchone()[0]:
            yield Problem(f"{count} {what}", "database", repairable=False)
    fingerprint = collection.fingerprint
    if fingerprint:
        wrong = connection.execute(
            "SELECT count(*) FROM vectors WHERE length(vector) <> ?", (4 * fingerprint.dimension,)
        ).fetchone()[0]
        if wrong:
            yield Problem(f"{wrong} vectors of another length than {fingerprint}", "database", repairable=False)
        else:  # of another length they make no table
            yield from _check_norms(collection)
    yield from _check_offsets(collection)
    yield from _check_words(collection)
    yield from Projection(collection).check()
    yield from WordIndex(collection).check()
    yield from _check_files(collection)


def _check_norms(collection: Collection) -> Iterator[Problem]:
    """Vectors have length 1, some thousands at a time."""
    ids, off = collection.ids(), 0
    for start in range(0, len(ids), _BLOCK):
        some = ids[start : start + _BLOCK]
        _, vectors = collection.vectors(after=int(some[0]) - 1, up_to=int(some[-1]))
        off += int((np.abs(np.linalg.norm(vectors, axis=1) - 1) > _ROUNDING).sum())
    if off:
        yield Problem(f"{off} vectors that are not of length 1", "database", repairable=False)


def _check_offsets(collection: Collection) -> Iterator[Problem]:
    """Every passage must be exactly the characters of its page that its offsets name."""
    wrong = 0
    for document in collection.documents():
        chunks: dict[int, list[Chunk]] = {}
        for _, chunk in collection.chunks(document.id):
            chunks.setdefault(chunk.page, []).append(chunk)
        for page in collection.pages(document.id):
            here = chunks.pop(page.number, [])
            wrong += sum(page.text[chunk.start : chunk.end] != chunk.text for chunk in here)
        wrong += sum(map(len, chunks.values()))  # passages of pages that are not there
    if wrong:
        yield Problem(f"{wrong} passages that are not the text of their page", "database", repairable=False)


def _check_words(collection: Collection) -> Iterator[Problem]:
    """FTS5 compares its index with the passages itself; any difference is an error of the statement."""
    difference = collection.words_damage()
    if difference:
        yield Problem(f"The full-text index differs from the passages ({difference})", "words", repairable=True)


def _check_files(collection: Collection) -> Iterator[Problem]:
    """Kept originals and temporary files that nothing refers to."""
    owned = {document.sha256 for document in collection.documents()}
    for path in sorted(collection.folder.glob("files/[!.]*")):
        if path.stem not in owned:
            yield Problem(f"{path.name} belongs to no document", "files", repairable=True)
    for path in sorted([*collection.folder.glob(".*.tmp"), *collection.folder.glob("files/.*.tmp")]):
        yield Problem(f"{path.name} was left behind by a process that died", "files", repairable=True)


def repair(collection: Collection) -> tuple[str, ...]:
    """Mend what the database allows: orphans go, the full-text index and the projection are rebuilt.

    Out of a damaged database everything readable is saved; returns the names of the documents that this cost.
    """
    lost = salvage(collection) if any(_check_database(collection)) else ()
    with collection.transaction() as connection:
        schema.remove_orphans(connection)
        connection.execute("INSERT INTO chunks_fts (chunks_fts) VALUES ('rebuild')")
    owned = {document.sha256 for document in collection.documents()}
    for path in collection.folder.glob("files/*"):
        if path.stem not in owned:
            path.unlink(missing_ok=True)
    for path in [*collection.folder.glob(".*.tmp"), *collection.folder.glob("files/.*.tmp")]:
        path.unlink(missing_ok=True)
    Projection(collection).build(force=True)
    WordIndex(collection).build(force=True)
    return lost
