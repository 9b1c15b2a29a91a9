"""The first half of an ingestion, in a thread of its own: hash, look up, parse in the cage, split."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.cage import Cage
from ingest.catalog import SPLITTERS
from ingest.files import Source
from ingest.weighed import WeighedQueue
from ragkit.collection import Collection
from ragkit.errors import Cancelled, LoadError
from ragkit.protocols import Embedder, Splitter
from ragkit.settings import IngestSettings
from ragkit.types import Chunk, Document, Page

AHEAD = 500_000
"""Characters of pages that wait for the embedder: about two seconds of its work. A page takes some eight times as many
bytes, its passages included."""
_SMALL = 1_000
"""Characters that the smallest page counts for."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A file turned out to be readable."""

    source: Source
    sha256: str
    kind: str
    title: str
    size: int
    total: int
    """Pages to come; 0 when that is not known."""


@dataclass(frozen=True, slots=True)
class Read:
    """A page and its passages."""

    page: Page
    chunks: Sequence[Chunk]


@dataclass(frozen=True, slots=True)
class Ended:
    """All pages of a file were read."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that does not become a document (also after some of its pages were read)."""

    source: Source
    reason: str


@dataclass(frozen=True, slots=True)
class Present:
    """A file whose bytes are in already, as this document."""

    source: Source
    document: Document


@dataclass(frozen=True, slots=True)
class Twin:
    """A file with the same bytes as an earlier one of this run."""

    source: Source
    first: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing more comes; `error` is what ended the thread early."""

    error: BaseException | None = None


Item = Begun | Read | Ended | Refused | Present | Twin | Finished


def _weight(item: Item) -> int:
    return max(len(item.page.text), _SMALL) if isinstance(item, Read) else _SMALL


def make_splitter(settings: IngestSettings, embedder: Embedder) -> Splitter:
    """The splitter of these settings, counting with this embedder."""
    return SPLITTERS.load(settings.splitter)(embedder.count_tokens, settings.chunk_tokens, settings.overlap_tokens)


class Reader:
    """Reads sources in order and puts what it finds into `items`; never more than AHEAD ahead."""

    def __init__(
        self,
        collection: Collection,
        sources: Sequence[Source],
        splitter: Splitter,
        should_stop: Callable[[], bool],
        cage: Cage | None = None,
    ) -> None:
        self._collection, self._sources, self._splitter = collection, sources, splitter
        self._stopped = threading.Event()
        self._should_stop = should_stop
        self._cage = cage or Cage()
        self._seen: dict[str, str] = {}
        self.items: queue.Queue[Item] = WeighedQueue(AHEAD, _weight)
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop reading. The thread ends at once, unless it is splitting a very long page; nobody waits for that."""
        self._stopped.set()
        self._thread.join(timeout=1.0)

    def _stopping(self) -> bool:
        return self._stopped.is_set() or self._should_stop()

    def _put(self, item: Item) -> None:
        while not self._stopped.is_set():
            try:
                self.items.put(item, timeout=0.2)
                return
            except queue.Full:
                continue
        raise Cancelled("Stopped.")

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            with self._cage:
                for source in self._sources:
                    if self._stopping():
                        break
                    self._one(source)
        except Cancelled:
            pass
        except BaseException as problem:  # noqa: BLE001 - carried to the other thread, which raises it
            error = problem
        finally:
            self._collection.close()
        while not self._stopped.is_set():
            try:
                self.items.put(Finished(error), timeout=0.2)
                return
            except queue.Full:
                continue

    def _one(self, source: Source) -> None:
        try:
            digest, size = sha256_of(source.path)
        except OSError as error:
            what = "There is no such file." if isinstance(error, FileNotFoundError) else f"It cannot be read: {error}."
            self._put(Refused(source, what))
            return
        present = self._collection.by_sha256(digest)
        if present is not None:
            self._put(Present(source, present))
        elif digest in self._seen:
            self._put(Twin(source, self._seen[digest]))
        else:
            self._seen[digest] = source.name
            self._parse(source, digest, size)

    def _parse(self, source: Source, digest: str, size: int) -> None:
        try:
            reading = self._cage.read(source.path, self._stopping)
            self._put(Begun(source, digest, reading.kind, reading.title, size, reading.total))
            for page in reading.pages:
                self._put(Read(page, self._splitter.split(page)))
            self._put(Ended())
        except LoadError as error:
            self._put(Refused(source, str(error)))
        except OSError as error:  # it went while it was being read
            self._put(Refused(source, f"It cannot be read: {error}."))


def sha256_of(path: Path) -> tuple[str, int]:
    """SHA-256 of a regular file and its size in bytes. Raises OSError."""
    if not path.is_file():
        if path.exists():
            raise OSError("it is no regular file")
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return digest, file.tell()
