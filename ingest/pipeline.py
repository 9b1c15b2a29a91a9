"""Files into a collection: one thread parses and splits, one embeds, this one writes.

A document is published when its last passage has its vector, together with the others that are whole by then, in one
transaction. Killing the process at any moment loses nothing that was reported, and the same files again do only what
is missing.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.cage import Cage
from ingest.events import Advanced, FileChanged, Listen, Planned, ignore
from ingest.files import Source, find_sources
from ingest.meter import Meter
from ingest.reader import Begun, Ended, Finished, Item, Present, Read, Reader, Refused, Twin, make_splitter
from ingest.window import Window
from ragkit.collection import Collection
from ragkit.errors import CollectionError, SettingsError
from ragkit.jobs import FileState, JobFile
from ragkit.projection import Projection
from ragkit.protocols import Embedder
from ragkit.settings import IngestSettings
from ragkit.types import Chunk, Vectors
from ragkit.word_index import WordIndex

KEEP_ORIGINAL = ("pdf",)
"""Kinds whose bytes are kept, for pictures of their pages."""


class StopRequested(Exception):  # noqa: N818 - no error: somebody asked to stop, and what was published stays
    """Ends a run early."""


@dataclass(eq=False)
class _Staged:
    """A document on its way in."""

    begun: Begun
    token: int
    pages: int = 0
    chunks: int = 0
    """Passages found so far."""
    embedded: int = 0
    characters: int = 0
    ended: bool = False


def check_settings(settings: IngestSettings, embedder: Embedder) -> None:
    """Raise SettingsError when the embedder would cut off the end of passages of this length."""
    limit, name = embedder.fingerprint.max_tokens, embedder.fingerprint.name
    if settings.chunk_tokens > limit:
        raise SettingsError(
            f"Passages of {settings.chunk_tokens} tokens are longer than the {limit} that {name} reads.",
            f"Set chunk_tokens to {limit} or less, or choose another embedding model.",
        )


def ingest(
    collection: Collection,
    paths: Iterable[Path | str | Source],
    embedder: Embedder,
    *,
    listen: Listen = ignore,
    should_stop: Callable[[], bool] = lambda: False,
    cage: Cage | None = None,
) -> list[JobFile]:
    """Bring files and folders into a collection; returns the result of each file, in the order they were done.

    States: `added`, `unchanged` (these bytes are in), `replaced` (other bytes under the same name), `refused` with the
    reason. When `should_stop` turns true (it is asked often, from two threads) the run ends within about two seconds,
    and files without a result are missing from the list. Raises EmbedderMismatch before anything is read when the
    collection was made by another embedder.
    """
    collection.check_embedder(embedder.fingerprint)
    check_settings(collection.settings, embedder)
    return _Ingestion(collection, find_sources(paths), embedder, listen, should_stop, cage).run()


class _Ingestion:
    """One run."""

    def __init__(
        self,
        collection: Collection,
        sources: Sequence[Source],
        embedder: Embedder,
        listen: Listen,
        should_stop: Callable[[], bool],
        cage: Cage | None,
    ) -> None:
        self._collection, self._embedder = collection, embedder
        self._listen, self._should_stop = listen, should_stop
        self._sources = sources
        self._cage = cage
        self._meter = Meter({source.name: size_of(source.path) for source in sources})
        self._window: Window[_Staged] = Window(embedder, self._deliver, self._between)
        self._current: _Staged | None = None
        self._whole: list[_Staged] = []
        """To be published."""
        self._twins: list[Twin] = []
        self._elsewhere: list[Present] = []
        self._results: dict[str, JobFile] = {}
        self._changed = False

    def run(self) -> list[JobFile]:
        self._listen(Planned(tuple(source.name for source in self._sources)))
        self._advanced()
        sources = self._sources
        try:
            with self._collection.writer() as self._writer, self._window:
                while sources:
                    self._consume(sources)
                    sources = self._overtaken()
        except StopRequested:
            pass
        if self._changed:
            Projection(self._collection).build()
            WordIndex(self._collection).build()
        self._advanced()
        return list(self._results.values())

    def _consume(self, sources: Sequence[Source]) -> None:
        """Read these and take what comes until the reader has finished."""
        splitter = make_splitter(self._collection.settings, self._embedder)
        reader = Reader(self._collection, sources, splitter, self._should_stop, self._cage)
        reader.start()
        try:
            while True:
                self._between(0)
                try:
                    item = reader.items.get(timeout=0.05)
                except queue.Empty:
                    self._window.rest()
                    continue
                if isinstance(item, Finished):
                    if item.error is not None:
                        raise item.error
                    self._between(0)  # a reader that was asked to stop finishes early
                    self._flush()
                    return
                self._take(item)
        finally:
            reader.stop()

    def _overtaken(self) -> list[Source]:
        """Files passed over as their bytes were in under another name, which got other bytes in this run."""
        elsewhere, self._elsewhere = self._elsewhere, []
        return [item.source for item in elsewhere if self._collection.by_sha256(item.document.sha256) is None]

    def _flush(self) -> None:
        """Embed and publish all that was read."""
        self._window.flush()
        self._publish()

    def _between(self, embedded: int) -> None:
        self._publish()
        if self._should_stop():
            raise StopRequested
        if embedded:
            self._meter.embedded(embedded)
            self._advanced()

    def _take(self, item: Item) -> None:
        staged = self._current
        match item:
            case Begun():
                self._begin(item)
            case Read() if staged:
                self._writer.add_page(staged.token, item.page)
                staged.pages += 1
                staged.chunks += len(item.chunks)
                staged.characters += len(item.page.text)
                self._report(staged)
                self._window.add(staged, item.chunks)
            case Ended() if staged:
                staged.ended = True
                self._current = None
                self._note_if_whole(staged)
            case Refused():
                if staged is not None:  # it turned out to be unreadable half way
                    self._window.drop(staged)
                    self._writer.discard(staged.token)
                    self._current = None
                self._result(JobFile(item.source.name, "refused", item.reason))
            case Present():
                self._present(item)
            case Twin():
                self._twins.append(item)

    def _begin(self, begun: Begun) -> None:
        original = begun.source.path if begun.kind in KEEP_ORIGINAL else None
        token = self._writer.begin(begun.source.name, begun.sha256, begun.kind, begun.title, begun.size, original)
        self._current = _Staged(begun, token)
        self._report(self._current)

    def _present(self, item: Present) -> None:
        """These bytes are in. Under another name they stay there; an older version under this name has ended."""
        name, document = item.source.name, item.document
        if document.name == name:
            self._result(JobFile(name, "unchanged", "", document.pages, document.chunks))
            return
        self._elsewhere.append(item)
        state: FileState = "unchanged"
        if self._holds(name):
            self._collection.remove(name)
            self._changed, state = True, "replaced"
        reason = f"The same bytes are in as {document.name!r}."
        self._result(JobFile(name, state, reason, document.pages, document.chunks))

    def _holds(self, name: str) -> bool:
        try:
            self._collection.document(name)
        except CollectionError:
            return False
        return True

    def _settle_twins(self) -> None:
        """The same bytes twice in one run: the second shares the fate of the first, once that is known."""
        waiting, self._twins = self._twins, []
        for item in waiting:
            first = self._results.get(item.first)
            if first is None:
                self._twins.append(item)
            elif first.state == "refused":
                self._result(JobFile(item.source.name, "refused", first.reason))
            else:
                reason = f"The same bytes are in as {item.first!r}."
                self._result(JobFile(item.source.name, "unchanged", reason, first.pages, first.chunks))

    def _deliver(self, staged: _Staged, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        self._writer.add_chunks(staged.token, chunks, vectors)
        staged.embedded += len(chunks)
        self._report(staged)
        self._note_if_whole(staged)

    def _note_if_whole(self, staged: _Staged) -> None:
        if staged.ended and staged.embedded == staged.chunks:
            self._whole.append(staged)

    def _publish(self) -> None:
        """Publish what is whole: together, or each alone if that fails, so that one does not hold up the others."""
        whole, self._whole = self._whole, []
        if whole and not self._published(whole):
            for staged in whole:
                self._published([staged])
        self._settle_twins()

    def _published(self, whole: Sequence[_Staged]) -> bool:
        """Whether these could be published; a single one that could not is refused."""
        try:
            states = self._writer.publish([staged.token for staged in whole], self._embedder.fingerprint)
        except (CollectionError, OSError) as error:  # re-embedded meanwhile; the file is gone or the disk is full
            for staged in whole if len(whole) == 1 else ():
                self._writer.discard(staged.token)
                self._result(JobFile(staged.begun.source.name, "refused", f"It could not be stored: {error}"))
            return False
        self._changed = True
        for staged, state in zip(whole, states, strict=True):
            self._result(JobFile(staged.begun.source.name, state, "", staged.pages, staged.chunks))
        return True

    # Reporting

    def _result(self, file: JobFile) -> None:
        self._results[file.file] = file
        self._meter.finished(file.file)
        self._listen(FileChanged(file))
        self._advanced()

    def _report(self, staged: _Staged) -> None:
        begun = staged.begun
        if begun.total:
            read = staged.pages / begun.total
        else:  # text: a character is about a byte
            read = min(staged.characters / max(begun.size, 1), 1.0)
        self._meter.reading(begun.source.name, staged.pages, read * staged.embedded / max(staged.chunks, 1))
        self._listen(FileChanged(JobFile(begun.source.name, "reading", "", staged.pages, staged.embedded)))

    def _advanced(self) -> None:
        self._listen(Advanced(self._meter.progress()))


def size_of(path: Path) -> int:
    """Bytes of a file, 0 when it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
