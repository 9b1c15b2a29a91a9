"""All documents of a collection cut and embedded anew, from their stored pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ingest.events import Advanced, FileChanged, Listen, Planned, ignore
from ingest.meter import Meter
from ingest.pipeline import check_settings
from ingest.reader import make_splitter
from ingest.window import Window
from ragkit.collection import Collection
from ragkit.errors import Cancelled, CollectionError
from ragkit.jobs import JobFile
from ragkit.projection import Projection
from ragkit.protocols import Embedder
from ragkit.settings import IngestSettings
from ragkit.types import Chunk, Document, Vectors
from ragkit.word_index import WordIndex


def reembed(
    collection: Collection,
    settings: IngestSettings,
    embedder: Embedder,
    *,
    listen: Listen = ignore,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[JobFile]:
    """Split and embed everything again with these settings and this embedder; returns one result a document.

    The new passages replace the old ones in one transaction at the end; until then, and when it is stopped or killed,
    the collection stays as it was. Raises Cancelled when stopped, CollectionError when documents came or went
    meanwhile.
    """
    check_settings(settings, embedder)
    return _Reembedding(collection, settings, embedder, listen, should_stop).run()


class _Reembedding:
    def __init__(
        self,
        collection: Collection,
        settings: IngestSettings,
        embedder: Embedder,
        listen: Listen,
        should_stop: Callable[[], bool],
    ) -> None:
        self._collection, self._settings, self._embedder = collection, settings, embedder
        self._listen, self._should_stop = listen, should_stop
        self._splitter = make_splitter(settings, embedder)
        self._sequence = collection.sequence
        self._documents = collection.documents()
        self._meter = Meter({document.name: document.bytes for document in self._documents})
        self._counts: dict[int, int] = {}
        self._window: Window[int] = Window(embedder, self._deliver, self._between)

    def run(self) -> list[JobFile]:
        self._listen(Planned(tuple(document.name for document in self._documents)))
        tokens: list[int] = []
        with self._collection.writer() as self._writer, self._window:
            for document in self._documents:
                tokens.append(self._stage(document))
            self._window.flush()
            if self._collection.sequence != self._sequence:
                raise CollectionError(
                    "Documents came or went while the collection was being embedded again; nothing was changed.",
                    "Run it again when no ingestion is going on.",
                )
            self._writer.replace_all(tokens, self._settings, self._embedder.fingerprint)
        Projection(self._collection).build(force=True)
        WordIndex(self._collection).build(force=True)
        results = [
            JobFile(document.name, "replaced", "", document.pages, self._counts.get(token, 0))
            for document, token in zip(self._documents, tokens, strict=True)
        ]
        for result in results:
            self._meter.finished(result.file)
            self._listen(FileChanged(result))
        self._listen(Advanced(self._meter.progress()))
        return results

    def _stage(self, document: Document) -> int:
        token = self._writer.begin(document.name, document.sha256, document.kind, document.title, document.bytes)
        for page in self._collection.pages(document.id):
            self._between(0)
            self._writer.add_page(token, page)
            self._window.add(token, self._splitter.split(page))
            share = page.number / max(document.pages, 1)
            self._meter.reading(document.name, page.number, share)
        self._listen(FileChanged(JobFile(document.name, "reading", "", document.pages, self._counts.get(token, 0))))
        return token

    def _deliver(self, token: int, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        self._writer.add_chunks(token, chunks, vectors)
        self._counts[token] = self._counts.get(token, 0) + len(chunks)

    def _between(self, embedded: int) -> None:
        if self._should_stop():
            raise Cancelled("Stopped; the collection is as it was.")
        if embedded:
            self._meter.embedded(embedded)
            self._listen(Advanced(self._meter.progress()))
