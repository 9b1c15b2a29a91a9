"""The word index of a large collection: files of tantivy's, derived from the database, that keep up with it.

SQLite's FTS5 holds the words of every passage in the transaction that writes it, and answers for collections up to
`FTS5_UP_TO` passages. It reads every passage that has any word of the question, which takes 10 ms at 100,000 passages
and ten times that at a million; tantivy passes over those that cannot be among the best (block-max WAND, Ding and Suel
2011) and takes well under a millisecond (`tests/bench/latency.py`). Both rank by BM25 over stemmed words.

A change to the database reaches the index before the next search: documents that went are taken out, new ones put in.
`words.json` says what the index holds, with the SHA-256 of each file; an index that is missing, damaged or cut off in
the middle of a change is built again. Where it cannot be written or is being written by another process for longer,
FTS5 answers.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ragkit import words
from ragkit.collection import Collection
from ragkit.projection import sha256_of
from ragkit.protocols import Scored
from ragkit.types import Problem

FTS5_UP_TO = 20_000
"""Passages up to which FTS5 answers: 2 ms there, and nothing to be kept beside the database."""

_FORMAT = 1
"""A change of the tokens or fields makes new files."""
_WAIT = 2.0
"""Seconds that a search waits for another process that writes the index."""
_HEAP = 64 << 20
"""Bytes that the writer collects before it puts them on disk."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Manifest:
    """What the files hold."""

    format: int
    documents: dict[str, str]
    """SHA-256 by document id (a string, as JSON keeps keys)."""
    files: dict[str, str]
    """SHA-256 by name."""


@dataclass(frozen=True, slots=True)
class _View:
    """One state that a search works on; replaced as a whole, never changed."""

    schema: Any
    searcher: Any
    sequence: int


class WordIndex:
    """BM25 over the passages of a collection. Safe to search from several threads while documents come and go."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._folder = collection.folder / "words"
        self._path = collection.folder / "words.json"
        self._lock = threading.Lock()
        self._view: _View | None = None
        self._sound: dict[str, str] = {}
        """Files that this process has checked or written, with their SHA-256."""

    def search(self, question: str, k: int, documents: Sequence[str] | None = None) -> Scored:
        """At most k chunks by BM25, best first, over everything that is in the database now.

        `documents` restricts the search to documents of these names.
        """
        view = self._refreshed()
        if view is None:
            return self._collection.search_words(question, k, documents)
        tantivy = _tantivy()
        query = _any_of(view.schema, words.content_words(question))
        if documents is not None:
            ids = [self._collection.document(name).id for name in documents]
            among = tantivy.Query.term_set_query(view.schema, "document", ids)
            silent = tantivy.Query.const_score_query(among, 0.0)
            query = tantivy.Query.boolean_query([(tantivy.Occur.Must, query), (tantivy.Occur.Must, silent)])
        hits = view.searcher.search(query, k, count=False).hits
        chunks = view.searcher.fast_field_values("chunk", [address for _, address in hits])
        found = zip(chunks, (score for score, _ in hits), strict=True)
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))

    def build(self, *, force: bool = False) -> None:
        """Bring the files up to date, where the collection is large enough to need them; anew with `force`."""
        if self._collection.count() > FTS5_UP_TO:
            with self._lock:
                try:
                    with FileLock(self._collection.folder / ".words.lock"):
                        if force:
                            self._remove()
                        self._view = self._catch_up()
                except OSError as error:
                    _log.warning("The word index could not be written: %s", error)
        elif self._path.exists():
            with FileLock(self._collection.folder / ".words.lock"):
                self._remove()

    def check(self) -> Iterator[Problem]:
        """What is wrong with the files; being behind the database is no problem."""
        if not self._path.exists():
            if self._collection.count() > FTS5_UP_TO:
                yield Problem("There is no word index although there are many passages", "words", repairable=True)
            return
        manifest = _read(self._path)
        if manifest is None:
            yield Problem(f"{self._path.name} cannot be read", "words", repairable=True)
            return
        for name, sha256 in manifest.files.items():
            if sha256_of(self._folder / name) != sha256:
                yield Problem(f"words/{name} is missing or was altered (its SHA-256 is off)", "words", repairable=True)

    def _refreshed(self) -> _View | None:
        """The current state; None where FTS5 has to answer."""
        sequence = self._collection.sequence
        view = self._view
        if view is not None and view.sequence == sequence:
            return view
        if self._collection.count() <= FTS5_UP_TO:
            return None
        with self._lock:
            view = self._view
            if view is not None and view.sequence == sequence:
                return view
            try:
                with FileLock(self._collection.folder / ".words.lock", timeout=_WAIT):
                    self._view = self._catch_up()
            except (OSError, Timeout) as error:
                _log.warning("The word index is out of reach, the database answers instead: %s", error)
                return None
            return self._view

    def _catch_up(self) -> _View:
        """Take out of the files what went and put in what came. Called with the file lock held."""
        schema = _schema()
        manifest = _read(self._path)
        index = self._open(schema) if manifest is not None and self._whole(manifest) else None
        if manifest is None or index is None:
            self._remove()
            manifest, index = _Manifest(_FORMAT, {}, {}), self._open(schema)
        with self._collection.snapshot():
            sequence = self._collection.sequence
            now = {str(document.id): document.sha256 for document in self._collection.documents()}
            stale = [each for each, sha256 in manifest.documents.items() if now.get(each) != sha256]
            new = [each for each, sha256 in now.items() if manifest.documents.get(each) != sha256]
            if stale or new or not manifest.files:
                self._write(index, stale, new)
                files = {path.name: self._hashed(path) for path in sorted(self._folder.iterdir()) if _kept(path)}
                self._sound = files
                text = json.dumps(asdict(_Manifest(_FORMAT, now, files)))
                temporary = self._path.with_suffix(".tmp")
                temporary.write_text(text)
                os.replace(temporary, self._path)
        index.reload()
        return _View(schema, index.searcher(), sequence)

    def _open(self, schema: Any) -> Any:  # noqa: ANN401 - a tantivy.Index
        """The files as an index, made if there are none; None if this version of tantivy cannot read them."""
        self._folder.mkdir(exist_ok=True)
        try:
            index = _tantivy().Index(schema, path=str(self._folder))
        except ValueError:
            return None
        index.register_tokenizer("english", _analyzer())
        return index

    def _write(self, index: Any, stale: Sequence[str], new: Sequence[str]) -> None:  # noqa: ANN401 - tantivy.Index
        tantivy = _tantivy()
        try:
            writer = index.writer(_HEAP, 1)
            for document in stale:
                writer.delete_documents_by_term("document", int(document))
            for document in new:
                for chunk, row in self._collection.each_chunk(int(document)):
                    entry = tantivy.Document()
                    entry.add_integer("chunk", chunk)
                    entry.add_integer("document", int(document))
                    entry.add_text("text", f"{row.context}\n{row.text}")
                    writer.add_document(entry)
            writer.commit()
            writer.wait_merging_threads()
        except ValueError as error:  # what tantivy says of a full disk or missing rights
            raise OSError(str(error)) from error

    def _whole(self, manifest: _Manifest) -> bool:
        """Whether every file is what it was when it was written; each is read once by a process."""
        if manifest.format != _FORMAT:
            return False
        for name, sha256 in manifest.files.items():
            path = self._folder / name
            if self._sound.get(name) == sha256 and name != "meta.json" and path.exists():
                continue
            if sha256_of(path) != sha256:
                return False
            self._sound[name] = sha256
        return True

    def _hashed(self, path: Path) -> str:
        """SHA-256 of a file; segments never change once written, so one that is known is not read again."""
        known = self._sound.get(path.name)
        return known if known and path.name != "meta.json" else sha256_of(path)

    def _remove(self) -> None:
        self._path.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._sound = {}


def _tantivy() -> Any:  # noqa: ANN401 - the module, loaded when a large collection needs it
    return import_module("tantivy")


def _schema() -> Any:  # noqa: ANN401
    builder = _tantivy().SchemaBuilder()
    builder.add_integer_field("chunk", fast=True)
    builder.add_integer_field("document", indexed=True)  # unsigned ones are not deleted: tantivy takes ints as signed
    builder.add_text_field("text", tokenizer_name="english", index_option="freq")
    return builder.build()


def _analyzer() -> Any:  # noqa: ANN401
    """Words as FTS5's `porter unicode61 remove_diacritics 2` sees them: split at what is no letter or digit, lower
    case, without accents, stemmed."""
    tantivy = _tantivy()
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    for step in (tantivy.Filter.lowercase(), tantivy.Filter.ascii_fold(), tantivy.Filter.stemmer("english")):
        builder = builder.filter(step)
    return builder.build()


def _any_of(schema: Any, content: Sequence[str]) -> Any:  # noqa: ANN401
    tantivy, analyzer = _tantivy(), _analyzer()
    terms = dict.fromkeys(term for word in content for term in analyzer.analyze(word))
    clauses = [(tantivy.Occur.Should, tantivy.Query.term_query(schema, "text", term)) for term in terms]
    return tantivy.Query.boolean_query(clauses) if clauses else tantivy.Query.empty_query()


def _kept(path: Path) -> bool:
    """Whether a file belongs to the index; locks do not, nor the list of files to be thrown away."""
    return not path.name.startswith(".")


def _read(path: Path) -> _Manifest | None:
    try:
        return _Manifest(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
