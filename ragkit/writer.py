"""Writing documents: staged in temporary tables, published in one transaction."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

import numpy as np
import psutil

from ragkit import schema
from ragkit.errors import CollectionError
from ragkit.settings import IngestSettings
from ragkit.types import Chunk, Fingerprint, Page, Vectors

Published = Literal["added", "replaced"]

_FORGOTTEN = 1000
"""Rows deleted from staging in one step."""


class Writer:
    """Brings documents in. Pages and chunks wait in temporary tables (a file of SQLite's own, not locked by anybody);
    `publish` moves them into the collection in one transaction, so a document is there as a whole or not at all.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self._folder = folder
        self._connection = schema.connect(path)
        schema.prepare_staging(self._connection)
        self._next = 1
        self._sweep()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what is staged and close the connection."""
        self._connection.close()

    def begin(self, name: str, sha256: str, kind: str, title: str, size: int, original: Path | None = None) -> int:
        """Start a document; the token names it until it is published or discarded.

        `original` is a file whose bytes are kept beside the database (PDFs, for page pictures).
        """
        token, self._next = self._next, self._next + 1
        self._connection.execute(
            "INSERT INTO staged_documents VALUES (?, ?, ?, ?, ?, ?, ?)",
            (token, name, sha256, kind, title, size, str(original) if original else None),
        )
        return token

    def add_page(self, token: int, page: Page) -> None:
        """Stage one page."""
        self._connection.execute(
            "INSERT INTO staged_pages VALUES (?, ?, ?, ?, ?)", (token, page.number, page.label, page.title, page.text)
        )

    def add_chunks(self, token: int, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        """Stage chunks with their vectors, shape (len(chunks), dimension), in reading order."""
        table = np.ascontiguousarray(vectors, dtype="<f4")
        if len(chunks) != len(table):
            raise ValueError(f"{len(chunks)} chunks but {len(table)} vectors")
        self._connection.executemany(
            "INSERT INTO staged_chunks (token, page, start, stop, text, context, vector) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (token, chunk.page, chunk.start, chunk.end, chunk.text, chunk.context, row.tobytes())
                for chunk, row in zip(chunks, table, strict=True)
            ],
        )

    def discard(self, token: int) -> None:
        """Forget a staged document, a part at a time: what is deleted in one step is in memory until that has ended."""
        for table in ("staged_documents", "staged_pages", "staged_chunks"):
            some = f"SELECT rowid FROM {table} WHERE token = ? LIMIT {_FORGOTTEN}"
            while self._connection.execute(
                f"DELETE FROM {table} WHERE rowid IN ({some})", (token,)
            ).rowcount == _FORGOTTEN:
                pass

    def publish(self, tokens: Sequence[int], fingerprint: Fingerprint) -> list[Published]:
        """Put staged documents into the collection in one transaction: all of them or, if one fails, none.

        Each takes the place of one of the same name or the same bytes. Small files are best published many at a time:
        a transaction waits for the disk. Raises CollectionError if the collection's vectors were made by another
        embedder meanwhile.
        """
        copies = self._copy_originals(tokens)
        gone: set[str] = set()
        states: list[Published] = []
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._require(fingerprint)
            for token in tokens:
                stale = self._make_room(token)
                gone.update(stale)
                self._insert(token)
                states.append("replaced" if stale else "added")
            self._connection.execute(schema.TOUCH)
            _put_in_place(copies)
            owned = {sha256 for sha256 in gone if self._owned(sha256)}
        except BaseException:
            self._connection.execute("ROLLBACK")
            _throw_away(copies)
            raise
        self._connection.execute("COMMIT")
        for token in tokens:
            self.discard(token)
        for sha256 in gone - owned:
            for path in self._folder.glob(f"files/{sha256}.*"):
                path.unlink(missing_ok=True)
        return states

    def _make_room(self, token: int) -> list[str]:
        """Delete what a staged document replaces; the SHA-256 of each."""
        name, sha256 = self._connection.execute(
            "SELECT name, sha256 FROM staged_documents WHERE token = ?", (token,)
        ).fetchone()
        stale = self._connection.execute(
            "SELECT id, sha256 FROM documents WHERE name = ? OR sha256 = ?", (name, sha256)
        ).fetchall()
        for document, _ in stale:
            schema.delete_document(self._connection, document)
        return [old for _, old in stale]

    def _owned(self, sha256: str) -> bool:
        row = self._connection.execute("SELECT 1 FROM documents WHERE sha256 = ?", (sha256,)).fetchone()
        return row is not None

    def replace_all(self, tokens: Sequence[int], settings: IngestSettings, fingerprint: Fingerprint) -> None:
        """Put the staged documents in place of all others, with new settings and embedder, in one transaction."""
        copies = self._copy_originals(tokens)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            since = self._connection.execute("SELECT sha256, added, id FROM documents").fetchall()
            for _, _, document in since:
                schema.delete_document(self._connection, document)
            for key, value in (("settings", settings), ("fingerprint", fingerprint)):
                self._connection.execute(
                    "INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(dataclasses.asdict(value)))
                )
            for token in tokens:
                self._insert(token)
            dates = [(added, sha256) for sha256, added, _ in since]
            self._connection.executemany("UPDATE documents SET added = ? WHERE sha256 = ?", dates)
            self._connection.execute(schema.TOUCH)
            _put_in_place(copies)
        except BaseException:
            self._connection.execute("ROLLBACK")
            _throw_away(copies)
            raise
        self._connection.execute("COMMIT")
        for token in tokens:
            self.discard(token)

    def _insert(self, token: int) -> None:
        """Copy a staged document into the tables and the full-text index."""
        execute = self._connection.execute
        document = execute(
            "INSERT INTO documents (name, sha256, kind, title, bytes, pages, chunks, added)"
            " SELECT name, sha256, kind, title, bytes,"
            " (SELECT count(*) FROM staged_pages WHERE token = ?1),"
            " (SELECT count(*) FROM staged_chunks WHERE token = ?1), ?2"
            " FROM staged_documents WHERE token = ?1",
            (token, datetime.now(UTC).isoformat(timespec="seconds")),
        ).lastrowid
        execute(
            "INSERT INTO pages SELECT ?, number, label, title, text FROM staged_pages WHERE token = ?",
            (document, token),
        )
        # The staged order gives ascending ids: n chunks after the highest id ever used.
        row = execute("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'").fetchone()
        last = row[0] if row else 0
        offset = execute("SELECT min(id) FROM staged_chunks WHERE token = ?", (token,)).fetchone()[0]
        if offset is None:
            return
        shift = last + 1 - offset
        execute(
            "INSERT INTO chunks (id, document, page, start, stop, text, context)"
            " SELECT id + ?, ?, page, start, stop, text, context FROM staged_chunks WHERE token = ? ORDER BY id",
            (shift, document, token),
        )
        execute(
            "INSERT INTO chunks_fts (rowid, text, context) SELECT id, text, context FROM chunks WHERE document = ?",
            (document,),
        )
        execute(
            "INSERT INTO vectors SELECT id + ?, vector FROM staged_chunks WHERE token = ? ORDER BY id", (shift, token)
        )

    def _require(self, fingerprint: Fingerprint) -> None:
        stored = self._connection.execute("SELECT value FROM meta WHERE key = 'fingerprint'").fetchone()
        if stored is None:
            self._connection.execute(
                "INSERT INTO meta VALUES ('fingerprint', ?)", (json.dumps(dataclasses.asdict(fingerprint)),)
            )
        elif Fingerprint(**json.loads(stored[0])) != fingerprint:
            raise CollectionError(
                f"The collection was re-embedded with {Fingerprint(**json.loads(stored[0]))} while this was running.",
                "Run the ingestion again.",
            )

    def _copy_originals(self, tokens: Sequence[int]) -> dict[Path, Path]:
        """Copies of the originals to keep, and where each belongs: files/<sha256>.<suffix>."""
        copies: dict[Path, Path] = {}
        for token in tokens:
            sha256, original = self._connection.execute(
                "SELECT sha256, original FROM staged_documents WHERE token = ?", (token,)
            ).fetchone()
            target = self._folder / "files" / f"{sha256}{Path(original or '').suffix.lower()}"
            if original is None or Path(original) == target:
                continue
            target.parent.mkdir(exist_ok=True)
            copy = target.with_name(f".{target.name}.{os.getpid()}.tmp")
            copies[copy] = target
            try:
                with open(original, "rb") as source, open(copy, "wb") as sink:
                    shutil.copyfileobj(source, sink)
                    sink.flush()
                    os.fsync(sink.fileno())
            except BaseException:
                _throw_away(copies)
                raise
        return copies

    def _sweep(self) -> None:
        """Remove what processes that died have left in files/. Originals come and go within write transactions only,
        so what nobody owns while this process holds one belongs to nobody.
        """
        there = list(self._folder.glob("files/*"))  # hidden names, too
        if not there:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            owned = {row[0] for row in self._connection.execute("SELECT sha256 FROM documents")}
            for path in there:
                maker = path.name.split(".")[-2] if path.name.startswith(".") else ""
                if psutil.pid_exists(int(maker)) if maker.isdigit() else path.stem in owned:
                    continue
                path.unlink(missing_ok=True)
        finally:
            self._connection.execute("ROLLBACK")


def _put_in_place(copies: Mapping[Path, Path]) -> None:
    for copy, target in copies.items():
        os.replace(copy, target)


def _throw_away(copies: Mapping[Path, Path]) -> None:
    for copy in copies:
        copy.unlink(missing_ok=True)
