"""ragkit as it is out of the box: everything on disk, words indexed beside the vectors, hybrid search."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import psutil
from serve import SCRATCH, serve, timed

from ingest.cage import Cage
from ingest.pipeline import ingest
from ragkit.catalog import EMBEDDERS
from ragkit.collection import Collection
from ragkit.projection import Projection
from ragkit.settings import IngestSettings, RetrieveSettings
from ragkit.types import Chunk, Page
from ragkit.word_index import WordIndex
from ragkit.workbench import Workbench

TO_A_DOCUMENT = 50
"""Ready passages go in as documents of so many."""


class Ragkit:
    """See `serve.py` for what each method is asked for."""

    def load(self) -> None:
        self.settings = IngestSettings()
        self.embedder = EMBEDDERS.load(self.settings.embedder)(self.settings.embedder_model)
        self.embedder.embed(["warm"])
        self.cage = Cage()

    def ingest(self, files: list[str]) -> int:
        self._empty()
        results = ingest(self.collection, [Path(file) for file in files], self.embedder)
        return sum(each.chunks for each in results)

    def records(self, file: str) -> int:
        return self.ingest([file])

    def read(self, files: list[str]) -> int:
        """Pages out of the parsing process, which is up as the peers' libraries are imported."""
        return sum(1 for file in files for _ in self.cage.read(Path(file)).pages)

    def read_and_store(self, files: list[str]) -> int:
        """The whole way into a collection, cut and with its words indexed; with vectors that cost nothing."""
        self._empty(IngestSettings(embedder="hashing"))
        results = ingest(self.collection, [Path(file) for file in files], EMBEDDERS.load("hashing")())
        return sum(each.pages for each in results)

    def fill(self, texts: str, vectors: str) -> str:
        """Returns where it is, for `open`."""
        given, table = json.loads(Path(texts).read_text("utf-8")), np.load(vectors, mmap_mode="r")
        self._empty()
        with self.collection.writer() as writer:
            for start in range(0, len(given), TO_A_DOCUMENT):
                part = given[start : start + TO_A_DOCUMENT]
                token = writer.begin(f"{start}.txt", f"{start:064x}", "text", "", 1)
                for number, text in enumerate(part, start=1):
                    writer.add_page(token, Page(number, str(start + number - 1), text))
                chunks = [Chunk(number, 0, len(text), text, ()) for number, text in enumerate(part, start=1)]
                writer.add_chunks(token, chunks, table[start : start + len(part)])
                writer.publish([token], self.embedder.fingerprint)
        Projection(self.collection).build(force=True)
        WordIndex(self.collection).build()
        return str(self.collection.home)

    def open(self, home: str) -> None:
        """A filled collection, up to its first search."""
        self.collection = Collection.open(Path(home), "bench")
        self.workbench = Workbench(self.collection)
        self.workbench.retrieve("warm")

    def embedded(self) -> list[str]:
        return [
            chunk.embedded_text for document in self.collection.documents()
            for _, chunk in self.collection.chunks(document.id)
        ]  # fmt: skip

    def bare(self) -> float:
        """Seconds that the encoder alone takes for what was embedded last, sorted by length as suits it best."""
        texts = sorted(self.embedded(), key=len)
        begun = time.perf_counter()
        self.embedder.embed(texts)
        return time.perf_counter() - begun

    def search(self, questions: list[str], k: int, **settings: str | float) -> dict:
        wanted = replace(RetrieveSettings(k=k, abstain_below=0.0), **settings)
        return timed(
            questions, lambda text: [hit.page_label for hit in self.workbench.retrieve(text, wanted).hits]
        )

    def nearest(self, questions: list[str], k: int) -> list[list[int]]:
        """Places of the passages nearest by meaning, as the collection's index finds them."""
        found = Projection(self.collection).search(self.embedder.embed(questions, "query"), k)
        return [[chunk - 1 for chunk, _ in each] for each in found]

    def memory(self) -> dict[str, float]:
        """Megabytes of this process that are in memory now, and those of them that are no pages of files."""
        memory = psutil.Process().memory_info()
        return {"resident_mb": memory.rss / 2**20, "private_mb": (memory.rss - memory.shared) / 2**20}

    def about(self) -> dict[str, object]:
        """What the newest generation of the index says of itself."""
        newest = max(self.collection.folder.glob("vectors-*.json"))
        return {"manifest": json.loads(newest.read_text())}

    # The floor: the same embedder and faiss's exact index, nothing else

    def bare_fill(self, vectors: str) -> None:
        table = np.load(vectors)
        self.flat = faiss.IndexFlatIP(table.shape[1])
        self.flat.add(table)
        faiss.omp_set_num_threads(1)

    def bare_search(self, questions: list[str], k: int) -> dict:
        return timed(questions, lambda text: self.flat.search(self.embedder.embed([text], "query"), k)[1][0].tolist())

    def nearest_bare(self, questions: list[str], k: int) -> list[list[int]]:
        return self.flat.search(self.embedder.embed(questions, "query"), k)[1].tolist()

    def _empty(self, settings: IngestSettings | None = None) -> None:
        home = Path(tempfile.mkdtemp(dir=SCRATCH or None))
        self.collection = Collection.open(home, "bench", create=True, settings=settings or self.settings)
        self.workbench = Workbench(self.collection)


serve(Ragkit())
