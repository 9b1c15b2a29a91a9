"""A collection: its documents, pages, passages and vectors in one SQLite database, which is the truth."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragkit import schema, words
from ragkit.errors import CollectionError, EmbedderMismatch
from ragkit.home import DATABASE, check_name, collections
from ragkit.settings import IngestSettings
from ragkit.types import Chunk, Demonstration, Document, Fingerprint, Hit, Page, Vectors
from ragkit.writer import Writer

_DOCUMENT = "id, name, sha256, kind, title, bytes, pages, chunks, added"
_SEPARATOR = " > "
_LAST = 2**63 - 1
"""The highest id that SQLite knows."""


class Collection:
    """One collection. Safe to share between threads: each thread gets a connection of its own."""

    def __init__(self, home: Path, name: str) -> None:
        self.home = home
        self.name = name
        self.folder = home / name
        self.path = self.folder / DATABASE
        self._local = threading.local()

    @classmethod
    def open(cls, home: Path, name: str, *, create: bool = False, settings: IngestSettings | None = None) -> Collection:
        """Open a collection, or create it with these settings.

        Raises CollectionError when it is missing (and not to be created), damaged, or of a newer format.
        """
        collection = cls(home, check_name(name))
        if not collection.path.is_file():
            if not create:
                there = ", ".join(collections(home)) or "none yet"
                raise CollectionError(
                    f"There is no collection {name!r} in {home}.",
                    f"There are: {there}. Make one with: ragkit ingest FILES --collection {name}",
                )
            try:
                collection.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CollectionError(
                    f"{collection.folder} cannot be made ({error.strerror}).",
                    "Choose another folder with --home or RAGKIT_HOME, or mend its rights.",
                ) from error
        schema.prepare(collection.connection, collection.path)
        collection._write_once("settings", json.dumps(dataclasses.asdict(settings or IngestSettings())))
        return collection

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        if not hasattr(self._local, "connection"):
            try:
                self._local.connection = schema.connect(self.path)
            except sqlite3.DatabaseError as error:
                raise CollectionError(
                    f"{self.path} cannot be opened ({error}).", "Check the folder's rights, or restore a backup."
                ) from error
        return self._local.connection

    def close(self) -> None:
        """Close this thread's connection; the next use opens another."""
        if hasattr(self._local, "connection"):
            self._local.connection.close()
            del self._local.connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: all or nothing."""
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything this thread reads meanwhile is of one moment, whatever others write."""
        self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.execute("ROLLBACK")

    # What the collection says of itself

    def meta(self, key: str) -> str | None:
        """A value of the `meta` table."""
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def _write_once(self, key: str, value: str) -> None:
        if self.meta(key) is None:
            self.connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (key, value))

    def set_meta(self, key: str, value: str) -> None:
        """Keep a value in the `meta` table, in place of an earlier one."""
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    @property
    def settings(self) -> IngestSettings:
        """How its documents were cut and embedded."""
        return IngestSettings(**json.loads(self.meta("settings") or "{}"))

    @property
    def fingerprint(self) -> Fingerprint | None:
        """Which embedder made the vectors; None while there are none."""
        stored = self.meta("fingerprint")
        return Fingerprint(**json.loads(stored)) if stored else None

    def check_embedder(self, fingerprint: Fingerprint) -> None:
        """Raise EmbedderMismatch unless the vectors, if any, were made by an embedder of this fingerprint."""
        made_by = self.fingerprint
        if made_by is not None and made_by != fingerprint:
            raise EmbedderMismatch(
                f"Collection {self.name!r} was embedded with {made_by}; the embedder now is {fingerprint}.",
                f"Use the first one, or embed again with: ragkit reembed --collection {self.name}",
            )

    @property
    def sequence(self) -> int:
        """A number that grows with every change of the documents."""
        return int(self.meta("sequence") or 0)

    # Documents

    def documents(self) -> list[Document]:
        """All documents by name."""
        rows = self.connection.execute(f"SELECT {_DOCUMENT} FROM documents ORDER BY name")
        return [Document(*row) for row in rows]

    def document(self, name: str) -> Document:
        """The document of that name. Raises CollectionError if there is none."""
        row = self.connection.execute(f"SELECT {_DOCUMENT} FROM documents WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise CollectionError(
                f"Collection {self.name!r} has no document {name!r}.",
                f"List them with: ragkit documents --collection {self.name}",
            )
        return Document(*row)

    def by_sha256(self, sha256: str) -> Document | None:
        """The document with these bytes, if it is in."""
        row = self.connection.execute(f"SELECT {_DOCUMENT} FROM documents WHERE sha256 = ?", (sha256,)).fetchone()
        return Document(*row) if row else None

    def pages(self, document: int) -> Iterator[Page]:
        """Pages of a document in order, one at a time."""
        rows = self.connection.execute(
            "SELECT number, label, text, title FROM pages WHERE document = ? ORDER BY number", (document,)
        )
        return (Page(*row) for row in rows)

    def page(self, document: int, number: int) -> Page:
        """One page. Raises CollectionError if the document has no such page."""
        row = self.connection.execute(
            "SELECT number, label, text, title FROM pages WHERE document = ? AND number = ?", (document, number)
        ).fetchone()
        if row is None:
            raise CollectionError(f"The document has no page {number}.", "It may have been replaced; search again.")
        return Page(*row)

    def chunks(self, document: int, page: int | None = None) -> list[tuple[int, Chunk]]:
        """Chunks of a document (or of one page) with their ids, in reading order."""
        return list(self.each_chunk(document, page))

    def each_chunk(self, document: int, page: int | None = None) -> Iterator[tuple[int, Chunk]]:
        """The same, one at a time: a document may hold more than should be in memory."""
        rows = self.connection.execute(
            "SELECT id, page, start, stop, text, context FROM chunks"
            " WHERE document = ? AND (?2 IS NULL OR page = ?2) ORDER BY page, start",
            (document, page),
        )
        return ((row[0], Chunk(*row[1:5], headings=_headings(row[5]))) for row in rows)

    def count(self) -> int:
        """Number of chunks."""
        return self.connection.execute("SELECT coalesce(sum(chunks), 0) FROM documents").fetchone()[0]

    @property
    def empty(self) -> bool:
        """Whether there are no chunks."""
        return self.connection.execute("SELECT 1 FROM chunks LIMIT 1").fetchone() is None

    def count_after(self, chunk: int) -> int:
        """Number of chunks with a higher id than this."""
        return self.connection.execute("SELECT count(*) FROM vectors WHERE chunk > ?", (chunk,)).fetchone()[0]

    def original(self, document: Document) -> Path | None:
        """The kept copy of the document's bytes, where its kind keeps one (for page pictures)."""
        kept = next(self.folder.glob(f"files/{document.sha256}.*"), None)
        return kept if kept and kept.is_file() else None

    def remove(self, name: str) -> None:
        """Delete a document with its pages, chunks, words and vectors, in one transaction."""
        document = self.document(name)
        with self.transaction() as connection:
            schema.delete_document(connection, document.id)
            connection.execute(schema.TOUCH)
        original = self.original(document)
        if original:
            original.unlink(missing_ok=True)

    def writer(self) -> Writer:
        """A writer with a connection of its own; use it from one thread."""
        return Writer(self.path, self.folder)

    # Vectors and search

    def ids(self) -> NDArray[np.int64]:
        """Ids of all chunks, ascending."""
        # Out of the index, which holds ids alone: in order they would be read from among texts, which takes far longer.
        rows = self.connection.execute("SELECT id FROM chunks INDEXED BY chunks_by_document")
        return np.sort(np.fromiter((row[0] for row in rows), dtype=np.int64))

    def ids_of(self, documents: Sequence[str]) -> NDArray[np.int64]:
        """Ids of the chunks of the documents with these names, ascending."""
        marks = ",".join("?" * len(documents))
        rows = self.connection.execute(
            f"SELECT id FROM chunks WHERE document IN (SELECT id FROM documents WHERE name IN ({marks})) ORDER BY id",
            list(documents),
        )
        return np.fromiter((row[0] for row in rows), dtype=np.int64)

    def vectors(self, after: int = 0, up_to: int = _LAST) -> tuple[NDArray[np.int64], Vectors]:
        """Ids above `after` up to `up_to` and their vectors, shape (n,) and (n, dimension), by ascending id."""
        dimension = self.fingerprint.dimension if self.fingerprint else 0
        rows = self.connection.execute(
            "SELECT chunk, vector FROM vectors WHERE chunk > ? AND chunk <= ? ORDER BY chunk", (after, up_to)
        )
        ids: list[int] = []
        parts: list[bytes] = []
        for chunk, vector in rows:
            ids.append(chunk)
            parts.append(vector)
        table = np.frombuffer(b"".join(parts), dtype="<f4").reshape(len(ids), dimension)
        return np.asarray(ids, dtype=np.int64), table

    def search_words(self, question: str, k: int, documents: Sequence[str] | None = None) -> list[tuple[int, float]]:
        """Chunks by BM25 over text and heading path, best first; higher scores are better."""
        query = words.match_query(question)
        if not query:
            return []
        where, extra = "", []
        if documents is not None:
            where = (
                " AND rowid IN (SELECT id FROM chunks WHERE document IN (SELECT id FROM documents WHERE name IN"
                f" ({','.join('?' * len(documents))})))"
            )
            extra = list(documents)
        rows = self.connection.execute(
            f"SELECT rowid, -bm25(chunks_fts, {words.TEXT_WEIGHT}, {words.CONTEXT_WEIGHT}) AS score FROM chunks_fts"
            f" WHERE chunks_fts MATCH ?{where} ORDER BY score DESC, rowid LIMIT ?",
            (query, *extra, k),
        )
        return [(row[0], row[1]) for row in rows]

    def words_damage(self) -> str:
        """What FTS5 says is wrong with the full-text index when it compares it with the passages; empty if nothing."""
        try:
            self.connection.execute("INSERT INTO chunks_fts (chunks_fts, rank) VALUES ('integrity-check', 1)")
        except sqlite3.DatabaseError as error:
            return str(error)
        return ""

    def hits(self, scored: Sequence[tuple[int, float]], similarity: dict[int, float] | None = None) -> tuple[Hit, ...]:
        """Hits for chunk ids with scores, in that order, ranked from 1; ids that are gone are left out."""
        rows: dict[int, tuple] = {}
        for batch in _batches([chunk for chunk, _ in scored]):
            marks = ",".join("?" * len(batch))
            found = self.connection.execute(
                "SELECT c.id, d.name, c.page, p.label, c.start, c.stop, c.text, c.context FROM chunks c"
                " JOIN documents d ON d.id = c.document JOIN pages p ON p.document = c.document AND p.number = c.page"
                f" WHERE c.id IN ({marks})",
                batch,
            )
            rows.update((row[0], row) for row in found)
        present = [(rows[chunk], score) for chunk, score in scored if chunk in rows]
        return tuple(
            Hit(rank, float(score), *row[:7], headings=_headings(row[7]), similarity=(similarity or {}).get(row[0]))
            for rank, (row, score) in enumerate(present, start=1)
        )

    # The bank of demonstrations

    def demonstrations(self) -> list[Demonstration]:
        """The bank of worked examples, in the order in which they were added."""
        rows = self.connection.execute("SELECT question, answer, passage FROM demonstrations ORDER BY id")
        return [Demonstration(*row) for row in rows]

    def add_demonstrations(self, examples: Iterable[Demonstration]) -> int:
        """Add to the bank what is not in it; returns how many were added."""
        with self.transaction() as connection:
            before = connection.total_changes
            connection.executemany(
                "INSERT OR IGNORE INTO demonstrations (question, answer, passage) VALUES (?, ?, ?)",
                [(example.question, example.answer, example.passage) for example in examples],
            )
            return connection.total_changes - before

    def remove_demonstration(self, example: Demonstration) -> bool:
        """Take one example out of the bank, known by question and answer; returns whether it was there."""
        removed = self.connection.execute(
            "DELETE FROM demonstrations WHERE question = ? AND answer = ?", (example.question, example.answer)
        )
        return removed.rowcount > 0

    def clear_demonstrations(self) -> int:
        """Empty the bank; returns how many examples were in it."""
        return self.connection.execute("DELETE FROM demonstrations").rowcount


def _headings(context: str) -> tuple[str, ...]:
    return tuple(context.split(_SEPARATOR)) if context else ()


def _batches(ids: Sequence[int], size: int = 500) -> Iterator[list[int]]:
    """Slices short enough for SQLite's limit on parameters."""
    return ([int(item) for item in ids[start : start + size]] for start in range(0, len(ids), size))
