"""The vector index of a collection: files derived from the database, in immutable generations.

A generation is `vectors-<n>.faiss`, written to a temporary name, synced and renamed, and described by
`vectors-<n>.json` (its SHA-256, count, type and the database's sequence number), which is written last: a generation
without its description does not exist. Readers hold one generation and never see it change. What the database has
learnt since is searched exactly beside it until the next generation is built; what is gone from the database is left
out of the results. A missing or damaged file is rebuilt from the database.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from filelock import FileLock

from ragkit.catalog import INDEXES
from ragkit.collection import Collection
from ragkit.errors import CollectionError
from ragkit.protocols import Ids, Index, Rows, Scored
from ragkit.types import Problem, Vectors

FLAT_UP_TO = 50_000
RABITQ_UP_TO = 200_000
"""Measured on real vectors of MiniLM: exact search takes 3 ms at 50,000; RaBitQ 6 ms at 200,000 and 32 ms at a
million, in inverted lists 4 ms at a million (`ragkit/index/faiss.py`)."""

_RECALL_QUERIES = 100
_RECALL_AT = 10
_RECALL_BLOCK = 8_192
"""How the recall of an index is measured when it is built: with some of its own vectors, against exact search."""

_REBUILD_SHARE = 0.05
_REBUILD_LEAST = 2_000
"""A new generation is due when more than this share (and number) of its vectors has come or gone: as many are searched
exactly beside it in less than a millisecond."""


_log = logging.getLogger(__name__)

_SPARE = 10
"""How many times more candidates are asked for where some of them may be gone."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a generation says of itself."""

    generation: int
    index: str
    count: int
    last: int
    """The highest id in it."""
    dimension: int
    sequence: int
    sha256: str
    embedder: str
    recall: float
    """recall@10 against exact search, measured when it was built; 1 where it is exact itself."""


@dataclass(frozen=True, slots=True)
class _View:
    """One consistent state that a search works on; replaced as a whole, never changed."""

    index: Index | None
    manifest: Manifest | None
    fresh_ids: Ids
    fresh_vectors: Vectors
    removed: frozenset[int]
    sequence: int


def index_for(count: int, chosen: str = "auto") -> str:
    """Name of the index row for that many vectors."""
    if chosen != "auto":
        return chosen
    if count <= FLAT_UP_TO:
        return "flat"
    return "rabitq" if count <= RABITQ_UP_TO else "ivf"


class Projection:
    """Nearest neighbours over a collection. Safe to search from several threads while documents come and go."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._lock = threading.Lock()
        self._view: _View | None = None

    def search(self, vectors: Vectors, k: int, only: Ids | None = None) -> list[Scored]:
        """The k nearest chunks of each row, best first, over everything that is in the database now."""
        view = self.refresh()
        results: list[Scored] = [[] for _ in vectors]
        if view.index is not None:
            self._search_index(view, view.index, vectors, k, only, results)
        self._search_fresh(view, vectors, k, only, results)
        return [sorted(result, key=lambda pair: (-pair[1], pair[0]))[:k] for result in results]

    def vectors_of(self, chunks: Sequence[int]) -> dict[int, Vectors]:
        """Vectors of these chunks, each of shape (dimension,), by id, as the index holds them; those gone are left out.

        Out of the index, which lies close together: out of the database each is a page to be read.
        """
        view = self.refresh()
        wanted = np.unique(np.array([chunk for chunk in chunks if chunk not in view.removed], dtype=np.int64))
        fresh = np.flatnonzero(np.isin(view.fresh_ids, wanted))
        found = dict(zip(view.fresh_ids[fresh].tolist(), view.fresh_vectors[fresh], strict=True))
        if view.index is not None:
            ids = view.index.ids
            places = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
            held = wanted[ids[places] == wanted]
            found.update(zip(held.tolist(), view.index.vectors(held), strict=True))
        return found

    @staticmethod
    def _search_index(
        view: _View, index: Index, vectors: Vectors, k: int, only: Ids | None, results: list[Scored]
    ) -> None:
        """Add the k nearest of the generation's vectors that are still in the database."""
        if only is not None and view.removed:
            only = only[~np.isin(only, list(view.removed))]
        spare = 0 if only is not None else min(len(view.removed), _SPARE * k)
        while True:
            scores, ids = index.search(vectors, k + spare, only)
            there = [[chunk >= 0 and chunk not in view.removed for chunk in row] for row in ids.tolist()]
            kept = np.array(there, dtype=bool).reshape(ids.shape)
            # What has gone may be just what is nearest, as when a document was replaced by its next version.
            if (kept.sum(axis=1) >= k).all() or spare >= len(view.removed) or only is not None:
                break
            spare = min(len(view.removed), spare * _SPARE)
        for result, row_scores, row_ids, row_kept in zip(results, scores, ids, kept, strict=True):
            pairs = zip(row_ids[row_kept].tolist(), row_scores[row_kept].tolist(), strict=True)
            result.extend(list(pairs)[:k])

    @staticmethod
    def _search_fresh(view: _View, vectors: Vectors, k: int, only: Ids | None, results: list[Scored]) -> None:
        """Add the nearest of the vectors that no generation holds yet, compared exactly."""
        fresh, ids = view.fresh_vectors, view.fresh_ids
        if only is not None:
            mask = np.isin(ids, only)
            fresh, ids = fresh[mask], ids[mask]
        if not len(ids):
            return
        scores = vectors @ fresh.T
        take = min(k, len(ids))
        for result, row in zip(results, scores, strict=True):
            best = np.argpartition(-row, take - 1)[:take]
            result.extend((int(ids[place]), float(row[place])) for place in best)

    def refresh(self) -> _View:
        """The current state, brought up to date with the database if it has changed since the last call."""
        sequence = self._collection.sequence
        view = self._view
        if view is not None and view.sequence == sequence:
            return view
        with self._lock:
            view = self._view
            if view is None or view.sequence != sequence:
                self._view = view = self._read()
            return view

    def _read(self) -> _View:
        index, manifest = self._newest()
        if manifest is None and self._collection.count() > 0:
            index, manifest = self._write()
        return self._look(index, manifest)

    def _look(self, index: Index | None, manifest: Manifest | None) -> _View:
        """A generation beside what the database holds now."""
        while True:
            with self._collection.snapshot():
                sequence = self._collection.sequence
                if index is None or manifest is None:
                    nothing = np.empty(0, np.int64), np.empty((0, 0), np.float32)
                    return _View(None, None, *nothing, frozenset(), sequence)
                total = self._collection.count()
                fresh = self._collection.vectors(after=manifest.last)
                removed = np.empty(0, np.int64)
                if total - len(fresh[0]) != manifest.count:  # to ask for all ids takes a third of a second at a million
                    removed = np.setdiff1d(index.ids, self._collection.ids(), assume_unique=True)
                same = manifest.embedder == self._embedder()
            if same and len(index.ids) - len(removed) + len(fresh[0]) == total:
                return _View(index, manifest, *fresh, frozenset(removed.tolist()), sequence)
            # It misses ids below its last, or was overtaken by a re-embedding: it belongs to another history.
            index, manifest = self._write()

    def _newest(self) -> tuple[Index | None, Manifest | None]:
        """The newest generation that is whole and was made by the collection's embedder; (None, None) if none is.

        A damaged one stays where it is until the next is written: only a writer, who holds the lock, deletes files.
        """
        view = self._view
        for path in self._newest_first():
            manifest = _read_manifest(path)
            if view is not None and view.index is not None and manifest == view.manifest:
                return view.index, manifest
            data = path.with_suffix(".faiss")
            if manifest and manifest.embedder == self._embedder() and sha256_of(data) == manifest.sha256:
                try:
                    return INDEXES.load(manifest.index).load(data), manifest
                except CollectionError:
                    pass  # unreadable in spite of its hash (another faiss): as good as missing
        return None, None

    def _embedder(self) -> str:
        fingerprint = self._collection.fingerprint
        return f"{fingerprint.weights}/{fingerprint.dimension}" if fingerprint else ""

    def build(self, *, force: bool = False) -> None:
        """Write a new generation if there is none or enough has changed since (always with `force`)."""
        if force or self._due():
            with self._lock:
                self._view = self._look(*self._write())

    def _due(self) -> bool:
        """Whether enough has come and gone since the newest generation; told without reading the generation."""
        manifests = filter(None, map(_read_manifest, self._newest_first()))
        manifest = next((each for each in manifests if each.embedder == self._embedder()), None)
        if manifest is None:
            return self._collection.count() > 0
        fresh = self._collection.count_after(manifest.last)
        changed = fresh + manifest.count - (self._collection.count() - fresh)
        return changed > max(_REBUILD_LEAST, _REBUILD_SHARE * manifest.count)

    def _newest_first(self) -> list[Path]:
        """The descriptions of all generations on disk."""
        return sorted(self._collection.folder.glob("vectors-*.json"), key=_generation, reverse=True)

    def check(self) -> Iterator[Problem]:
        """What is wrong with the newest generation on disk; nothing if it is sound and in step.

        Passages that came after it are no problem: they are searched beside it.
        """
        collection = self._collection
        manifests = self._newest_first()
        if not manifests:
            if collection.count():
                yield Problem("There is no vector index although there are passages", "projection", repairable=True)
            return
        path = manifests[0]
        manifest = _read_manifest(path)
        if manifest is None:
            yield Problem(f"{path.name} cannot be read", "projection", repairable=True)
            return
        data = path.with_suffix(".faiss")
        if sha256_of(data) != manifest.sha256:
            yield Problem(f"{data.name} is missing or was altered (its SHA-256 is off)", "projection", repairable=True)
            return
        if manifest.embedder != self._embedder():
            yield Problem(f"{data.name} was made by another embedder", "projection", repairable=True)
            return
        index = INDEXES.load(manifest.index).load(data)
        now = collection.ids()
        if np.setdiff1d(now[now <= index.ids[-1]], index.ids).size:
            yield Problem(f"{data.name} misses passages that it should hold", "projection", repairable=True)

    def _write(self) -> tuple[Index | None, Manifest | None]:
        """Build the next generation from the database; older ones go. One process at a time."""
        with FileLock(self._collection.folder / ".vectors.lock"):
            return self._write_locked()

    def _write_locked(self) -> tuple[Index | None, Manifest | None]:
        folder = self._collection.folder
        older = self._newest_first()
        for left in folder.glob(".vectors-*.tmp"):  # by a process that died while it held the lock
            left.unlink(missing_ok=True)
        index = manifest = None
        with self._collection.snapshot():
            sequence = self._collection.sequence
            ids = self._collection.ids()
            if len(ids):
                stored = _Stored(self._collection, ids)
                name = index_for(len(ids), self._collection.settings.index)
                index = INDEXES.load(name).build(ids, stored)
                embedder = self._embedder()
                recall = 1.0 if name == "flat" else _recall(index, ids, stored)
        if index is not None:
            number = max(map(_generation, older), default=0) + 1
            manifest = Manifest(number, name, len(ids), int(ids[-1]), stored.shape[1], sequence, "", embedder, recall)
            target = folder / f"vectors-{number}.faiss"
            try:
                _write_whole(target, index.save)
                manifest = replace(manifest, sha256=sha256_of(target))
                text = json.dumps(asdict(manifest), indent=1)
                _write_whole(target.with_suffix(".json"), lambda path: path.write_text(text))
                index = INDEXES.load(name).load(target)  # mapped, instead of all in memory
            except (OSError, RuntimeError) as error:  # RuntimeError is what faiss says of a full disk
                _log.warning("The vector index could not be written and is kept in memory alone: %s", error)
                target.unlink(missing_ok=True)
                return index, manifest
        for path in older:
            path.unlink(missing_ok=True)
            path.with_suffix(".faiss").unlink(missing_ok=True)
        return index, manifest


def _recall(index: Index, ids: Ids, vectors: Rows) -> float:
    """The share of the exact nearest neighbours that the index finds, over some of its own vectors."""
    count = len(ids)
    places = np.unique(np.linspace(0, count - 1, _RECALL_QUERIES).astype(int))
    queries = np.concatenate([vectors[place : place + 1] for place in places.tolist()])
    k = min(_RECALL_AT + 1, count)  # one of them is the vector itself
    scores = np.empty((len(queries), 0), dtype=np.float32)
    nearest = np.empty((len(queries), 0), dtype=np.int64)
    for start in range(0, count, _RECALL_BLOCK):
        block = slice(start, start + _RECALL_BLOCK)
        scores = np.hstack([scores, queries @ vectors[block].T])
        nearest = np.hstack([nearest, np.broadcast_to(ids[block], (len(queries), len(ids[block])))])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, nearest = np.take_along_axis(scores, best, axis=1), np.take_along_axis(nearest, best, axis=1)
    found = index.search(queries, k)[1]
    shared = [len(set(exact) & set(near)) for exact, near in zip(nearest.tolist(), found.tolist(), strict=True)]
    return sum(shared) / nearest.size


class _Stored:
    """The vectors of a collection, read out of the database a slice at a time. For use within a snapshot."""

    def __init__(self, collection: Collection, ids: Ids) -> None:
        self._collection, self._ids = collection, ids
        fingerprint = collection.fingerprint
        self.shape = (len(ids), fingerprint.dimension if fingerprint else 0)

    def __getitem__(self, rows: slice) -> Vectors:
        wanted = self._ids[rows]
        return self._collection.vectors(after=int(wanted[0]) - 1, up_to=int(wanted[-1]))[1]


def _read_manifest(path: Path) -> Manifest | None:
    try:
        return Manifest(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _generation(path: Path) -> int:
    number = path.stem.removeprefix("vectors-")
    return int(number) if number.isdigit() else 0


def _write_whole(target: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, sync it and rename it: the target is whole or absent, never half."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        write(temporary)
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file; empty if there is no such file."""
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except FileNotFoundError:
        return ""
