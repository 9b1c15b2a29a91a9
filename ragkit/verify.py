"""Checks a collection: the database against itself, and the projection against the database."""

from __future__ import annotations

from collections.abc import Iterator

from ragkit.collection import Collection
from ragkit.projection import Projection
from ragkit.types import Chunk, Problem

_ORPHANS = {
    "pages without a document": "SELECT count(*) FROM pages WHERE document NOT IN (SELECT id FROM documents)",
    "passages without a document": "SELECT count(*) FROM chunks WHERE document NOT IN (SELECT id FROM documents)",
    "vectors without a passage": "SELECT count(*) FROM vectors WHERE chunk NOT IN (SELECT id FROM chunks)",
}
_REMOVE_ORPHANS = (
    "DELETE FROM pages WHERE document NOT IN (SELECT id FROM documents)",
    "DELETE FROM chunks WHERE document NOT IN (SELECT id FROM documents)",
    "DELETE FROM vectors WHERE chunk NOT IN (SELECT id FROM chunks)",
)
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
    """Everything that is wrong with a collection, one by one; nothing if it is sound."""
    connection = collection.connection
    for (found,) in connection.execute("PRAGMA integrity_check").fetchall():
        if found != "ok":
            yield Problem(f"SQLite reports: {found}", "database", repairable=False)
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
    yield from _check_offsets(collection)
    yield from _check_words(collection)
    yield from Projection(collection).check()
    yield from _check_files(collection)


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


def repair(collection: Collection) -> None:
    """Mend what the database allows: orphans go, the full-text index and the projection are rebuilt."""
    with collection.transaction() as connection:
        for statement in _REMOVE_ORPHANS:
            connection.execute(statement)
        connection.execute("INSERT INTO chunks_fts (chunks_fts) VALUES ('rebuild')")
    owned = {document.sha256 for document in collection.documents()}
    for path in collection.folder.glob("files/*"):
        if path.stem not in owned:
            path.unlink(missing_ok=True)
    for path in [*collection.folder.glob(".*.tmp"), *collection.folder.glob("files/.*.tmp")]:
        path.unlink(missing_ok=True)
    Projection(collection).build(force=True)
