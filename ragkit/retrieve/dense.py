"""Search by meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ragkit.collection import Collection
from ragkit.projection import Projection
from ragkit.protocols import Embedder, Scored


class DenseRetriever:
    """Nearest vectors by cosine. Scores are cosines."""

    def __init__(self, collection: Collection, projection: Projection, embedder: Embedder, **_: Any) -> None:  # noqa: ANN401
        self._collection = collection
        self._projection = projection
        self._embedder = embedder

    def retrieve(self, question: str, k: int, documents: Sequence[str] | None = None) -> Scored:
        """At most k chunks by cosine, best first."""
        self._collection.check_embedder(self._embedder.fingerprint)
        only = None if documents is None else self._collection.ids_of(documents)
        return self._projection.search(self._embedder.embed([question], "query"), k, only)[0]

    def cosines(self, question: str, chunks: Sequence[int]) -> dict[int, float]:
        """Cosine of the question to each of these chunks, by id; chunks that are gone are left out."""
        self._collection.check_embedder(self._embedder.fingerprint)
        query = self._embedder.embed([question], "query")[0]
        return {chunk: float(vector @ query) for chunk, vector in self._projection.vectors_of(chunks).items()}
